"""What a space's description must keep, and the flat parameters that it declares."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from math import prod
from operator import eq
from typing import Any

from nas import blocks
from nas.architecture import MAX_DEPTH, MAX_WIDTH, Value
from nas.blocks.rounding import round_channels
from nas.errors import SpaceError
from nas.quantities import MAX_RESOLUTION
from nas.search_space.nodes import (
    BlockSpec,
    Choice,
    Compound,
    Description,
    PerLayer,
    Scaled,
    Stage,
    literals,
)
from nas.search_space.parameters import ALWAYS, Conjunction, Parameter, both, either
from nas.search_space.scaling import Coefficients

RECIPE = "recipe."  # a parameter's name begins with it where its value is the recipe's
MAX_STRUCTURES = 200_000
# Of what a space of any size is checked for, one by one; all of it is counted before.
MAX_COMBINATIONS = 1_000  # of two coefficients of scaling
MAX_STEPS = 1_000_000  # widths, depths and resolutions, each under all coefficients
MAX_OPTIONS = 10_000  # of a choice
MAX_STAGES = 1_000
MAX_PARAMETERS = 10_000
MAX_SIZE = 10**300  # assignments
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
NAME_RULE = "letters, digits, '_', '-', '.', a letter or digit first"
FACTOR = "a number over 0, to 16"
WIDTH_SCALE = ("beta", "phi")
DEPTH_SCALE = ("alpha", "phi")
RESOLUTION_SCALE = ("gamma", "phi")
Place = tuple[Choice, str, tuple[Conjunction, ...]]


def coefficients(
    space: Description, used: tuple[str, ...]
) -> Iterator[tuple[Conjunction, Coefficients]]:
    """Yield the values that these coefficients of scaling may have, each with its condition."""
    scaling = space.scaling or Compound()
    values = {name: getattr(scaling, name) for name in used}
    for chosen in product(*(literals(value) for value in values.values())):
        found: tuple[Conjunction, ...] = ALWAYS
        for (name, value), option in zip(values.items(), chosen, strict=True):
            if isinstance(value, Choice):
                allowed = value.labels_of(partial(eq, option))
                found = both(found, [((value.name or f"scaling.{name}", allowed),)])
        for conjunction in found:  # none where one shared choice would have two values
            yield conjunction, Coefficients(**dict(zip(used, chosen, strict=True)))


def widths(width: Any, space: Description) -> list[set[int]]:
    """Return the numbers of channels a stage may have, for each way to scale widths."""
    if isinstance(width, Scaled):
        plain = {round_channels(width.base * m, width.divisor) for m in literals(width.multiplier)}
    else:
        plain = set(literals(width))
    scales = coefficients(space, WIDTH_SCALE)
    return [{scale.width(channels) for channels in plain} for _, scale in scales]


def layer_exists(depth: Any, path: str, layer: int, space: Description) -> tuple[Conjunction, ...]:
    """Return when a stage has this many layers: ALWAYS, never (empty), or for which values."""
    found: list[Conjunction] = []
    certain = True
    for conjunction, scale in coefficients(space, DEPTH_SCALE):
        enough = [layers for layers in literals(depth) if scale.depth(layers) >= layer]
        certain = certain and len(enough) == len(literals(depth))
        if isinstance(depth, Choice) and enough:
            chosen = ((depth.name or f"{path}.depth", depth.labels_of(enough.__contains__)),)
            found += both([conjunction], [chosen])
        elif enough:
            found.append(conjunction)
    return ALWAYS if certain else either(found, ())


def max_depth(depth: Any, space: Description) -> int:
    """Return how many layers a stage may have at the most."""
    scales = [scale for _, scale in coefficients(space, DEPTH_SCALE)]
    return max(scale.depth(layers) for scale in scales for layers in literals(depth))


def declare(space: Description) -> list[Parameter]:
    """List the parameters of a space in the order of their places; shared ones once."""
    parameters: dict[str, Parameter] = {}
    unnamed: set[str] = set()
    for chosen, path, when in choices(space):
        name = chosen.name or path
        before = parameters.get(name)
        if before is None:
            parameters[name] = Parameter(name, chosen.labels, when)
        elif chosen.name is None or name in unnamed:
            raise SpaceError(f"{path}: {name!r} is both a place and the name of a shared choice.")
        elif _typed(before.choices) != _typed(chosen.labels):
            raise SpaceError(
                f"{path}: the shared choice {name!r} has other options elsewhere:"
                f" {names(before.choices)}, not {names(chosen.labels)}."
            )
        else:
            parameters[name] = replace(before, when=either(before.when, when))
        if chosen.name is None:
            unnamed.add(name)
        if len(parameters) > MAX_PARAMETERS:
            raise SpaceError(f"A space has at most {MAX_PARAMETERS:,} parameters, this one more.")
    return list(parameters.values())


def _typed(labels: Iterable[Value]) -> list[tuple[bool, Value]]:
    """Tell true from 1 and false from 0, which are equal in Python."""
    return [(isinstance(label, bool), label) for label in labels]


def choices(space: Description) -> Iterator[Place]:
    """Yield every choice with its place and when it is active."""
    yield from _if_choice(space.resolution, "resolution", ALWAYS)
    if space.scaling:
        for name in Coefficients._fields:
            yield from _if_choice(getattr(space.scaling, name), f"scaling.{name}", ALWAYS)
    for _, path, stage in space.places():
        yield from _stage_places(stage, path, space)
    for name, value in space.ending().items():
        yield from _if_choice(value, f"classifier.{name}", ALWAYS)
    for key, chosen in space.recipe.items():
        yield chosen, f"{RECIPE}{key}", ALWAYS


def _if_choice(value: Any, path: str, when: tuple[Conjunction, ...]) -> Iterator[Place]:
    if isinstance(value, Choice) and when:
        yield value, path, when


def _stage_places(stage: Stage, path: str, space: Description) -> Iterator[Place]:
    if isinstance(stage.width, Scaled):
        yield from _if_choice(stage.width.multiplier, f"{path}.width_multiplier", ALWAYS)
    else:
        yield from _if_choice(stage.width, f"{path}.width", ALWAYS)
    yield from _if_choice(stage.stride, f"{path}.stride", ALWAYS)
    yield from _if_choice(stage.depth, f"{path}.depth", ALWAYS)
    layers = range(1, max_depth(stage.depth, space) + 1)
    exists = {n: layer_exists(stage.depth, path, n, space) for n in layers}
    if isinstance(stage.block, PerLayer):
        for layer, when in exists.items():
            yield from _block_places(
                stage.block.choice, f"{path}.layer{layer}", when, each_layer=True
            )
        return
    yield from _block_places(stage.block, path, ALWAYS, each_layer=False)
    for spec in stage.blocks():
        when_chosen = _chosen(stage.block, path, spec, ALWAYS)
        for name, value in spec.options:
            for layer, when in exists.items() if isinstance(value, PerLayer) else ():
                where = spec.at(f"{path}.layer{layer}", chosen=stage.has_block_choice)
                yield from _if_choice(value.choice, f"{where}.{name}", both(when, when_chosen))


def _block_places(
    block: Any, path: str, when: tuple[Conjunction, ...], *, each_layer: bool
) -> Iterator[Place]:
    yield from _if_choice(block, f"{path}.block", when)
    for spec in literals(block):
        where = spec.at(path, chosen=isinstance(block, Choice))
        for name, value in spec.options:
            # Where the layers choose their block, their options are the layer's own in any case.
            value = value.choice if each_layer and isinstance(value, PerLayer) else value
            yield from _if_choice(value, f"{where}.{name}", _chosen(block, path, spec, when))


def _chosen(
    block: Any, path: str, spec: BlockSpec, when: tuple[Conjunction, ...]
) -> tuple[Conjunction, ...]:
    if not isinstance(block, Choice):
        return when
    allowed = block.labels_of(lambda other: other is spec)
    return both(when, [((block.name or f"{path}.block", allowed),)])


def check(space: Description) -> None:
    """Check a whole description; raises SpaceError naming the stage and the option."""
    if not isinstance(space.name, str) or not NAME.fullmatch(space.name):
        raise SpaceError(f"A space's name is {NAME_RULE}, not {space.name!r}.")
    if not space.stages:
        raise SpaceError(f"Space {space.name!r} has no stage; it needs at least one.")
    for name in ("in_channels", "classes"):
        if not _is_count(getattr(space, name)):
            raise SpaceError(f"{name}: a whole number of 1 or more, not {getattr(space, name)!r}.")
    _check_numbers("resolution", space.resolution, _is_size, "whole numbers of pixels to 16,384")
    if len(list(space.places())) > MAX_STAGES:
        raise SpaceError(f"A space has at most {MAX_STAGES:,} stages, this one more.")
    _check_scaling(space)
    _check_steps(space)
    _check_resolutions(space)
    for name, value in space.ending().items():
        for option in _options(f"classifier.{name}", value):
            with within(f"classifier.{name}"):
                _check_option("classifier", str(name), option)
    for key, chosen in space.recipe.items():
        _check_recipe_choice(f"{RECIPE}{key}", chosen)
    channels = [{space.in_channels} for _ in coefficients(space, WIDTH_SCALE)]
    for _, path, stage in space.places():
        _check_stage(path, stage, space)
        channels = _check_structure(path, stage, channels, space)
    ending = BlockSpec("classifier", tuple(sorted(space.ending().items())))
    last = frozenset((width, space.classes, 1) for scaled in channels for width in scaled)
    with within("classifier"):
        _check_block_structure(ending, last)
    if prod(len(parameter.choices) for parameter in declare(space)) > MAX_SIZE:
        raise SpaceError("A space has at most 10^300 assignments, this one more.")


def _check_steps(space: Description) -> None:
    """Refuse a space that would take too long to check, before anything is enumerated."""
    wide, deep, large = (
        prod(len(literals(getattr(space.scaling or Compound(), name))) for name in pair)
        for pair in (WIDTH_SCALE, DEPTH_SCALE, RESOLUTION_SCALE)
    )
    if max(wide, deep, large) > MAX_COMBINATIONS:
        raise SpaceError(
            f"scaling: {max(wide, deep, large):,} combinations of phi and another coefficient, "
            f"over {MAX_COMBINATIONS:,}."
        )
    steps = large * len(literals(space.resolution))
    for _, _, stage in space.places():
        width = stage.width.multiplier if isinstance(stage.width, Scaled) else stage.width
        depths = literals(stage.depth)
        deepest = max((d for d in depths if isinstance(d, int)), default=1)
        steps += wide * len(literals(width)) + deep * len(depths) * min(deepest, MAX_DEPTH)
    if steps > MAX_STEPS:
        raise SpaceError(
            f"{steps:,} widths, depths and resolutions with all coefficients of scaling, over "
            f"{MAX_STEPS:,}: give fewer choices."
        )


def _check_scaling(space: Description) -> None:
    if space.scaling is None:
        return
    if not isinstance(space.scaling, Compound):
        raise SpaceError(f"scaling is Compound(...), not {space.scaling!r}.")
    for name in Coefficients._fields:
        valid, rule = (_is_phi, "a number from 0 to 16") if name == "phi" else (_is_factor, FACTOR)
        _check_numbers(f"scaling.{name}", getattr(space.scaling, name), valid, rule)


def _check_resolutions(space: Description) -> None:
    for _, scale in coefficients(space, RESOLUTION_SCALE):
        for resolution in literals(space.resolution):
            if not _is_size(scale.resolution(resolution)):
                raise SpaceError(
                    f"scaling.gamma: {resolution} px become {scale.resolution(resolution):,}, over"
                    f" 16,384."
                )


def _check_recipe_choice(path: str, chosen: Any) -> None:
    """Check the form; which keys and values a recipe has is known where it is composed."""
    if not NAME.fullmatch(path.removeprefix(RECIPE)):
        raise SpaceError(f"{path}: a recipe's key is {NAME_RULE}.")
    if not isinstance(chosen, Choice):
        raise SpaceError(
            f"{path}: a choice of values, not {chosen!r}; one value stands in the recipe itself."
        )
    if chosen.name is not None or chosen.written is not None:
        raise SpaceError(f"{path}: a choice of the recipe has no name and no labels.")
    _check_choice(path, chosen, None)
    for option in chosen.options:
        if not isinstance(option, Value):
            raise SpaceError(f"{path}: text, numbers or true/false, not {option!r}.")


def _is_count(value: Any, largest: int = MAX_WIDTH) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest


_is_size = partial(_is_count, largest=MAX_RESOLUTION)
_is_depth = partial(_is_count, largest=MAX_DEPTH)


def _is_phi(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= 16


def _is_factor(value: Any) -> bool:
    return _is_phi(value) and value > 0


def _options(
    path: str, value: Any, line: int | None = None, *, layers: bool = False
) -> tuple[Any, ...]:
    """Return the values that may stand here, refusing a choice that is none.

    Where `layers` is true, each layer may have a choice of its own.
    """
    chosen = value
    if isinstance(value, PerLayer):
        chosen = value.choice
        if not layers:
            raise SpaceError(f"{path}: only a block and its options are chosen per layer.", line)
        if not isinstance(chosen, Choice):
            raise SpaceError(f"{path}: per_layer(...) holds a choice, not {chosen!r}.", line)
        if chosen.name is not None:
            raise SpaceError(f"{path}: a choice per layer can't be shared under a name.", line)
    if isinstance(chosen, Choice):
        _check_choice(path, chosen, line)
    for option in literals(value):
        if isinstance(option, (Choice, PerLayer)):
            raise SpaceError(f"{path}: a choice can't stand inside another.", line)
        if isinstance(option, Scaled):
            raise SpaceError(f"{path}: scaled(...) stands for a width, outside a choice.", line)
    return literals(value)


def _check_choice(path: str, chosen: Choice, line: int | None) -> None:
    name = chosen.name
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise SpaceError(f"{path}: a shared choice's name is {NAME_RULE}, not {name!r}.", line)
    if not 1 <= len(chosen.options) <= MAX_OPTIONS:
        few = "at least one option" if not chosen.options else f"at most {MAX_OPTIONS:,} options"
        raise SpaceError(f"{path}: a choice needs {few}.", line)
    if chosen.written is not None and not (
        len(chosen.written) == len(chosen.options)
        and all(isinstance(label, Value) for label in chosen.written)
    ):
        raise SpaceError(
            f"{path}: labels are text, numbers or true/false, one for each of the"
            f" {len(chosen.options)} options, not {chosen.written!r}.",
            line,
        )
    counted = Counter(label for label in chosen.labels if isinstance(label, Value))
    twice = [label for label, times in counted.items() if times > 1]  # True is 1 to a sampler
    if twice:
        raise SpaceError(
            f"{path}: the options of a choice differ from each other; {twice[0]!r} is there twice.",
            line,
        )


def _check_numbers(
    path: str, value: Any, valid: Callable[[Any], bool], rule: str, line: int | None = None
) -> None:
    for option in _options(path, value, line):
        if not valid(option):
            raise SpaceError(f"{path}: {rule}, not {option!r}.", line)


def _check_stage(path: str, stage: Stage, space: Description) -> None:
    width, line = stage.width, stage.line
    if isinstance(width, Scaled):
        base, divisor = f"{path}.width's base", f"{path}.width's divisor"
        for where, value in ((base, width.base), (divisor, width.divisor)):
            if not _is_count(value):
                raise SpaceError(f"{where}: a whole number of 1 or more, not {value!r}.", line)
        _check_numbers(f"{path}.width_multiplier", width.multiplier, _is_factor, FACTOR, line)
    else:
        _check_numbers(f"{path}.width", width, _is_count, "a number of channels", line)
    rule = f"a whole number of layers from 1 to {MAX_DEPTH}"
    _check_numbers(f"{path}.depth", stage.depth, _is_depth, rule, line)
    _check_numbers(f"{path}.stride", stage.stride, _is_count, "a whole number of 1 or more", line)
    if max_depth(stage.depth, space) > MAX_DEPTH:
        raise SpaceError(f"{path}.depth: scaled, it is over {MAX_DEPTH} layers.", line)
    if not all(_is_count(channels) for scaled in widths(width, space) for channels in scaled):
        raise SpaceError(f"{path}.width: scaled, it is over 1,000,000 channels.", line)
    for spec in _options(f"{path}.block", stage.block, line, layers=True):
        if not isinstance(spec, BlockSpec):
            raise SpaceError(f"{path}.block is block(...), not {spec!r}.", line)
        _check_block(path, spec)


def _check_block(path: str, spec: BlockSpec) -> None:
    with within(path, spec.line):
        if blocks.get(spec.name).name == "classifier":
            raise SpaceError("the classifier ends every network by itself; it is no stage's block.")
    for name, value in spec.options:
        for option in _options(f"{path}.{name}", value, spec.line, layers=True):
            with within(path, spec.line):
                _check_option(spec.name, name, option)


def _check_option(block: str, name: str, value: Value) -> None:
    if not isinstance(value, Value):
        raise SpaceError(f"{block}.{name} is text, a number or true/false, not {value!r}.")
    blocks.get(block).check(name, value)


@contextmanager
def within(path: str, line: int | None = None) -> Iterator[None]:
    """Put the place in front of what a rule says."""
    try:
        yield
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}", line) from None


def _check_structure(
    path: str, stage: Stage, channels: list[set[int]], space: Description
) -> list[set[int]]:
    """Try every block at every width the stage may have; return the widths it may give."""
    own = widths(stage.width, space)
    pairs = sum(len(before) * len(after) for before, after in zip(channels, own, strict=True))
    if pairs * len(literals(stage.stride)) > MAX_STEPS:
        raise SpaceError(f"{path}: over {MAX_STEPS:,} combinations of widths.", stage.line)
    seen = {
        (*pair, stride)
        for before, after in zip(channels, own, strict=True)
        for pair in product(before, after)
        for stride in literals(stage.stride)
    }
    if max_depth(stage.depth, space) > 1:
        seen |= {(width, width, 1) for scaled in own for width in scaled}
    for spec in stage.blocks():
        with within(path, spec.line):
            _check_block_structure(spec, frozenset(seen))
    return own


@lru_cache(maxsize=4096)  # a command makes a space anew for its images and its kernels
def _check_block_structure(spec: BlockSpec, seen: frozenset[tuple[int, int, int]]) -> None:
    """Try a block's structural options at every input width, output width and stride it may see."""
    block = blocks.get(spec.name)
    given = {name: literals(value) for name, value in spec.options}
    structural = [name for name, option in block.options.items() if option.structural]
    values = [given.get(name, (block.options[name].default,)) for name in structural]
    if prod(map(len, values)) * len(seen) > MAX_STRUCTURES:
        raise SpaceError(f"over {MAX_STRUCTURES:,} combinations of widths.")
    options = [
        block.complete(dict(zip(structural, chosen, strict=True))) for chosen in product(*values)
    ]
    for place, tried in product(sorted(seen), options):
        block.arguments(dict(tried), blocks.Place(*place))


def names(values: Iterable[Any]) -> str:
    """List values for a message."""
    return ", ".join(repr(value) for value in values)
