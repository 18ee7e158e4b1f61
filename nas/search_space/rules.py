"""What a space's description must keep, and the flat parameters that it declares."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

from nas import blocks
from nas.architecture import Value
from nas.errors import SpaceError
from nas.scaling import Coefficients, round_channels
from nas.search_space.nodes import (
    BlockSpec,
    Choice,
    Compound,
    Description,
    PerLayer,
    Scaled,
    Stage,
)
from nas.search_space.parameters import ALWAYS, Conjunction, Parameter, both

MAX_STRUCTURES = 20_000
Place = tuple[Choice, str, tuple[Conjunction, ...]]


def literals(value: Any) -> tuple[Any, ...]:
    """Return the values that may stand here."""
    if isinstance(value, PerLayer):
        value = value.choice
    return value.options if isinstance(value, Choice) else (value,)


def coefficients(space: Description) -> Iterator[tuple[Conjunction, Coefficients]]:
    """Yield the compound-scaling coefficients that may be chosen, with the condition for each."""
    scaling = space.scaling or Compound()
    values = [getattr(scaling, name) for name in Coefficients._fields]
    for chosen in product(*(literals(value) for value in values)):
        conjunction = tuple(
            (value.name or f"scaling.{name}", frozenset([option]))
            for name, value, option in zip(Coefficients._fields, values, chosen, strict=True)
            if isinstance(value, Choice)
        )
        yield conjunction, Coefficients(*chosen)


def widths(width: Any, space: Description) -> set[int]:
    """Return the numbers of channels a stage may have."""
    if isinstance(width, Scaled):
        plain = {round_channels(width.base * m, width.divisor) for m in literals(width.multiplier)}
    else:
        plain = set(literals(width))
    return {scale.width(channels) for _, scale in coefficients(space) for channels in plain}


def layer_exists(depth: Any, path: str, layer: int, space: Description) -> tuple[Conjunction, ...]:
    """Return when a stage has this many layers: ALWAYS, never (empty), or for which values."""
    found: list[Conjunction] = []
    certain = True
    for conjunction, scale in coefficients(space):
        enough = [layers for layers in literals(depth) if scale.depth(layers) >= layer]
        certain = certain and len(enough) == len(literals(depth))
        if isinstance(depth, Choice) and enough:
            found.append((*conjunction, (depth.name or f"{path}.depth", frozenset(enough))))
        elif enough:
            found.append(conjunction)
    return ALWAYS if certain else tuple(found)


def max_depth(depth: Any, space: Description) -> int:
    """Return how many layers a stage may have at the most."""
    return max(
        scale.depth(layers) for _, scale in coefficients(space) for layers in literals(depth)
    )


def declare(space: Description) -> list[Parameter]:
    """List the parameters of a space in the order of their places; shared ones once."""
    found: dict[str, Parameter] = {}
    for chosen, path, when in _places(space):
        name = chosen.name or path
        before = found.get(name)
        if before is None:
            found[name] = Parameter(name, chosen.labels, when)
            continue
        if chosen.name is None:
            raise SpaceError(f"{path}: two choices have this place.")
        if before.choices != chosen.labels:
            raise SpaceError(f"{path}: the shared choice {name!r} has other options elsewhere.")
        merged = ALWAYS if ALWAYS in (when, before.when) else before.when + when
        found[name] = Parameter(name, chosen.labels, merged)
    return list(found.values())


def _places(space: Description) -> Iterator[Place]:
    yield from _if_choice(space.resolution, "resolution", ALWAYS)
    if space.scaling:
        for name in Coefficients._fields:
            yield from _if_choice(getattr(space.scaling, name), f"scaling.{name}", ALWAYS)
    for _, path, stage in space.places():
        yield from _stage_places(stage, path, space)
    yield from _if_choice(space.dropout, "classifier.dropout", ALWAYS)


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
            yield from _block_places(stage.block.choice, f"{path}.layer{layer}", when)
        return
    yield from _block_places(stage.block, path, ALWAYS)
    for spec in stage.blocks():
        when_chosen = _chosen(stage.block, path, spec, ALWAYS)
        for name, value in spec.options:
            for layer, when in exists.items() if isinstance(value, PerLayer) else ():
                where = spec.at(f"{path}.layer{layer}", chosen=stage.has_block_choice)
                yield from _if_choice(value.choice, f"{where}.{name}", both(when, when_chosen))


def _block_places(block: Any, path: str, when: tuple[Conjunction, ...]) -> Iterator[Place]:
    yield from _if_choice(block, f"{path}.block", when)
    for spec in literals(block):
        where = spec.at(path, chosen=isinstance(block, Choice))
        for name, value in spec.options:
            yield from _if_choice(value, f"{where}.{name}", _chosen(block, path, spec, when))


def _chosen(
    block: Any, path: str, spec: BlockSpec, when: tuple[Conjunction, ...]
) -> tuple[Conjunction, ...]:
    if not isinstance(block, Choice):
        return when
    return both(when, [((block.name or f"{path}.block", frozenset([spec.name])),)])


def check(space: Description) -> None:
    """Check a whole description; raises SpaceError naming the stage and the option."""
    if not isinstance(space.name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", space.name):
        raise SpaceError(f"A space's name is letters, digits, '_', '-', '.', not {space.name!r}.")
    if not space.stages:
        raise SpaceError(f"Space {space.name!r} has no stage; it needs at least one.")
    _check_numbers("resolution", space.resolution, _is_count, "whole numbers of pixels")
    for name in ("in_channels", "classes"):
        _check_numbers(name, getattr(space, name), _is_count, "a whole number of at least 1")
    for name in Coefficients._fields if space.scaling else ():
        value = getattr(space.scaling, name)
        _check_numbers(f"scaling.{name}", value, _is_number, "a number from 0 to 16")
    for dropout in _options("classifier.dropout", space.dropout):
        with _within("classifier.dropout"):
            _check_option("classifier", "dropout", dropout)
    channels = {space.in_channels}
    for _, path, stage in space.places():
        _check_stage(path, stage)
        channels = _check_structure(path, stage, channels, space)
    for parameter in declare(space):
        if parameter.parents and any(not conjunction for conjunction in parameter.when):
            raise SpaceError(f"{parameter.name}: conditions contradict each other.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 16


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000


def _options(path: str, value: Any, line: int | None = None) -> tuple[Any, ...]:
    """Return the values that may stand here, refusing a choice that is none."""
    options = literals(value)
    if isinstance(value, PerLayer) and value.choice.name:
        raise SpaceError(f"{path}: a choice per layer can't be shared under a name.", line)
    chosen = value.choice if isinstance(value, PerLayer) else value
    if isinstance(chosen, Choice):
        if not options:
            raise SpaceError(f"{path}: a choice needs at least one option.", line)
        labels = [(type(label) is bool, label) for label in chosen.labels]
        if any(labels.count(label) > 1 for label in labels):
            raise SpaceError(f"{path}: the options of a choice differ from each other.", line)
    for option in options:
        if isinstance(option, (Choice, PerLayer, Scaled)):
            raise SpaceError(f"{path}: a choice can't stand inside another here.", line)
    return options


def _check_numbers(
    path: str, value: Any, valid: Callable[[Any], bool], rule: str, line: int | None = None
) -> None:
    for option in _options(path, value, line):
        if not valid(option):
            raise SpaceError(f"{path}: {rule}, not {option!r}.", line)


def _check_stage(path: str, stage: Stage) -> None:
    width = stage.width
    if isinstance(width, Scaled):
        _check_numbers(f"{path}.width", width.base, _is_count, "a number of channels", stage.line)
        _check_numbers(f"{path}.width", width.divisor, _is_count, "a whole divisor", stage.line)
        multiplier = f"{path}.width_multiplier"
        _check_numbers(multiplier, width.multiplier, _is_number, "a number to 16", stage.line)
    else:
        _check_numbers(f"{path}.width", width, _is_count, "a number of channels", stage.line)
    for name in ("depth", "stride"):
        value = getattr(stage, name)
        _check_numbers(
            f"{path}.{name}", value, _is_count, "a whole number of at least 1", stage.line
        )
    for spec in _options(f"{path}.block", stage.block, stage.line):
        if not isinstance(spec, BlockSpec):
            raise SpaceError(f"{path}.block is block(...), not {spec!r}.", stage.line)
        with _within(path, spec.line):
            blocks.get(spec.name)
        for name, value in spec.options:
            for option in _options(f"{path}.{name}", value, spec.line):
                with _within(path, spec.line):
                    _check_option(spec.name, name, option)


def _check_option(block: str, name: str, value: Value) -> None:
    if not isinstance(value, Value):
        raise SpaceError(f"{block}.{name} is text, a number or true/false, not {value!r}.")
    blocks.get(block).check(name, value)


@contextmanager
def _within(path: str, line: int | None = None) -> Iterator[None]:
    """Put the place in front of what a rule says."""
    try:
        yield
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}", line) from None


def _check_structure(path: str, stage: Stage, channels: set[int], space: Description) -> set[int]:
    """Try every block at every width the stage may have; return the widths it may give."""
    own = widths(stage.width, space)
    pairs = set(product(channels, own)) | (
        {(w, w) for w in own} if _repeats(stage, space) else set()
    )
    for spec in stage.blocks():
        block = blocks.get(spec.name)
        given = {name: literals(value) for name, value in spec.options}
        structural = [name for name, option in block.options.items() if option.structural]
        values = [given.get(name, (block.options[name].default,)) for name in structural]
        tried = product(sorted(pairs), *values)
        for number, ((before, after), *chosen) in enumerate(tried):
            if number >= MAX_STRUCTURES:
                raise SpaceError(
                    f"{path}: over {MAX_STRUCTURES:,} combinations of widths.", spec.line
                )
            options = block.complete(dict(zip(structural, chosen, strict=True)))
            with _within(path, spec.line):
                block.arguments(options, before, after, 1)
    return own


def _repeats(stage: Stage, space: Description) -> bool:
    return max_depth(stage.depth, space) > 1


def names(values: Iterable[Any]) -> str:
    """List values for a message."""
    return ", ".join(repr(value) for value in values)
