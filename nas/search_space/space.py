"""A search space and what can be asked of it."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from nas import blocks, network
from nas.architecture import Architecture, Row, Value
from nas.blocks.rounding import round_channels
from nas.cost import Cost, Limits
from nas.errors import SpaceError, unknown
from nas.search_space import interchange, rules
from nas.search_space.nodes import Choice, Description, PerLayer, Scaled, Stage
from nas.search_space.parameters import Assignment, Conjunction, Parameter, count, in_order
from nas.search_space.scaling import Coefficients

MAX_DRAWS = 10_000
SMALL_IMAGES = 32  # pixels
NO_LIMITS = Limits()
Ask = Callable[[str, Choice], Any]
Outline = tuple[int, int]  # width and stride


class _Unset(SpaceError):
    """A parameter was asked for that has no value."""

    def __init__(self, name: str, chosen: Choice) -> None:
        super().__init__(f"Parameter {name} has no value; one of {rules.names(chosen.labels)}.")
        self.name, self.chosen = name, chosen


@dataclass(frozen=True)
class SearchSpace(Description):
    """A set of architectures: stem, stages, head, and what else may vary.

    `recipe` holds choices by a recipe's keys: an assignment has their values too, and they are no
    part of its architecture. With `fit_kernels` a kernel that is larger than 2 s - 1 on an s x s
    map is one of 2 s - 1: its other taps meet no pixel. `in_channels` and `classes` are the
    defaults for an architecture that nobody asked for at other ones; a study takes both from its
    data. Raises SpaceError, naming the stage and the option, where the description breaks a rule.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        rules.check(self)

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return in_order(rules.declare(self))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(parameter.name for parameter in self._parameters)

    def parameters(self) -> tuple[Parameter, ...]:
        """Return every parameter with its choices and when it is active, parents first."""
        return self._parameters

    def size(self) -> int:
        """Count the assignments of active parameters exactly, before constraints."""
        return count(self._parameters)

    def architectures(self) -> int:
        """Count the assignments of what is the network's: the recipe's choices are left out."""
        return count(p for p in self._parameters if not p.name.startswith(rules.RECIPE))

    def decode(
        self, values: Assignment, *, in_channels: int | None = None, classes: int | None = None
    ) -> Architecture:
        """Return the canonical architecture of an assignment.

        Raises SpaceError where a parameter is missing or has a value that is not one of its
        choices, or where the space has no parameter of a name. Values of inactive parameters and
        of the recipe are ignored.
        """
        if foreign := values.keys() - self._names:
            raise SpaceError(
                unknown("parameter", min(foreign), self._names, listing="nas space show")
            )
        in_channels = self.in_channels if in_channels is None else in_channels
        classes = self.classes if classes is None else classes
        ask = _reader(values)
        parts: dict[str, list[Row]] = {"stem": [], "stages": [], "head": []}
        for part, item in self._walk(ask, in_channels, classes):
            if isinstance(item, Row):
                parts[part].append(item)
        stem, body, head = (tuple(rows) for rows in parts.values())
        return Architecture(in_channels, self._resolution(ask), classes, stem, body, head)

    def recipe_options(self) -> dict[str, tuple[Value, ...]]:
        """Return the choices among values of the recipe, by the recipe's keys."""
        return {key: chosen.options for key, chosen in self.recipe.items()}

    def recipe_values(self, values: Assignment) -> dict[str, Value]:
        """Return the values of an assignment that are the recipe's, by the recipe's keys.

        Raises SpaceError where one is missing or not one of its choices.
        """
        ask = _reader(values)
        return {key: ask(rules.RECIPE + key, chosen) for key, chosen in self.recipe.items()}

    def encode(
        self, architecture: Architecture, recipe: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Return an assignment that decodes to this architecture; SpaceError if there is none.

        A value of the recipe that is not given is the first of its choices.
        """
        values = self._match(blocks.canonical(architecture))
        if values is None:
            raise SpaceError(f"Architecture {architecture.id} is not in space {self.name!r}.")
        first = {key: chosen.options[0] for key, chosen in self.recipe.items()}
        chosen = {rules.RECIPE + key: value for key, value in (first | dict(recipe or {})).items()}
        self.recipe_values(chosen)
        return values | chosen

    def sample(self, rng: random.Random, *, limits: Limits = NO_LIMITS) -> dict[str, Value]:
        """Draw an assignment uniformly choice by choice, within the space's limits and these.

        Raises SpaceError when 10,000 draws give none, with the draw that comes closest.
        """
        limits = self.limits.tightest(limits)
        if limits == NO_LIMITS:
            return self.draw(rng)
        closest: Cost | None = None
        for _ in range(MAX_DRAWS):
            values = self.draw(rng)
            cost = network.cost(self.decode(values))
            if limits.violation(cost) is None:
                return values
            if closest is None or limits.excess(cost) < limits.excess(closest):
                closest = cost
        violation = limits.violation(closest) if closest else "there was none"
        raise SpaceError(
            f"None of {MAX_DRAWS:,} samples of {self.name} keeps the limits; the closest has"
            f" {violation}."
        )

    def draw(self, rng: random.Random) -> dict[str, Value]:
        """Draw an assignment uniformly choice by choice, whatever the limits say."""
        values: dict[str, Value] = {}
        for parameter in self._parameters:
            if parameter.is_active(values):
                values[parameter.name] = rng.choice(parameter.choices)
        return values

    def neighbours(self, values: Assignment) -> Iterator[dict[str, Value]]:
        """Yield the assignments with one active parameter changed to any of its other values.

        A parameter that thereby comes to exist takes its first choice.
        """
        self.decode(values)  # says what is wrong with them
        self.recipe_values(values)
        for parameter in self._parameters:
            if parameter.is_active(values):
                for other in parameter.choices:
                    if other != values[parameter.name]:
                        yield self.complete({**values, parameter.name: other})

    def complete(self, values: Assignment) -> dict[str, Value]:
        """Drop inactive parameters; give active ones without a value their first choice."""
        active: dict[str, Value] = {}
        for parameter in self._parameters:
            if parameter.is_active(active):
                active[parameter.name] = values.get(parameter.name, parameter.choices[0])
        return active

    def for_images(self, native: int) -> tuple["SearchSpace", tuple[int, ...]]:
        """Leave out resolutions that do not suit images of this size; return the rest, and those.

        Over twice the images' own size there is nothing more to see, and images of under 32 px are
        not shrunk. The nearest always stays; a resolution that is no choice, or one shared with
        other places, stays as it is.
        """
        if not isinstance(self.resolution, Choice) or self._shares(self.resolution):
            return self, ()
        options = self.resolution.options
        lowest = native if native < SMALL_IMAGES else 0
        kept = tuple(size for size in options if lowest <= size <= 2 * native)
        kept = kept or (min(options, key=lambda size: abs(size - native)),)
        left_out = tuple(size for size in options if size not in kept)
        if not left_out:
            return self, ()
        labels = zip(options, self.resolution.labels, strict=True)
        written = self.resolution.written and tuple(label for size, label in labels if size in kept)
        return replace(self, resolution=Choice(kept, self.resolution.name, written)), left_out

    def _shares(self, chosen: Choice) -> bool:
        """Whether another place than the resolution has this choice as well."""
        places = [path for other, path, _ in rules.choices(self) if other.name == chosen.name]
        return chosen.name is not None and places != ["resolution"]

    def fitting(self) -> "SearchSpace":
        """Return this space with kernels that fit their maps."""
        return replace(self, fit_kernels=True)

    def at_resolution(self, resolution: int) -> "SearchSpace":
        """Fix the resolution, which no scaling changes then."""
        scaling = self.scaling and replace(self.scaling, gamma=1.0)
        return replace(self, resolution=resolution, scaling=scaling)

    def describe(self) -> list[str]:
        """Return one readable line per parameter: its name, its choices, when it exists.

        Where the choices are labels, what they stand for follows, place by place.
        """
        lines = []
        for parameter in self._parameters:
            line = f"{parameter.name} = {_alternatives(parameter.choices)}"
            if meant := self._meanings.get(parameter.name):
                line += f" ({', '.join(meant)})"
            if parameter.parents:
                line += "  if " + ", or ".join(self._condition(pairs) for pairs in parameter.when)
            lines.append(line)
        return lines

    @cached_property
    def _meanings(self) -> dict[str, list[str]]:
        """What each label of a parameter stands for, at every place that has labels."""
        meanings: dict[str, list[str]] = {}
        for chosen, path, _ in rules.choices(self):
            if chosen.written is not None:
                meant = f"{path} {_alternatives(replace(chosen, written=None).labels)}"
                meanings.setdefault(chosen.name or path, []).append(meant)
        return meanings

    def _condition(self, conjunction: Conjunction) -> str:
        choices = {parameter.name: parameter.choices for parameter in self._parameters}
        kept = ((name, [c for c in choices[name] if c in allowed]) for name, allowed in conjunction)
        return " and ".join(f"{name} = {_alternatives(values)}" for name, values in kept)

    def to_json(self) -> dict[str, Any]:
        """Return the space as plain data that follows `nas/search_space/schema.json`."""
        return interchange.to_json(self)

    def lines(self) -> list[str]:
        """Say that the space is valid, and its size."""
        recipe = f", with the recipe's {', '.join(self.recipe)}" if self.recipe else ""
        return [f"{self.name} is valid: {self.size():,} assignments{recipe}."]

    @classmethod
    def from_json(cls, data: Any) -> "SearchSpace":
        """Read a space back; raises SpaceError where it breaks a rule."""
        return cls(**interchange.from_json(data))

    def _coefficients(self, ask: Ask) -> Coefficients:
        if self.scaling is None:
            return Coefficients()
        names = Coefficients._fields
        values = (_value(getattr(self.scaling, name), f"scaling.{name}", ask) for name in names)
        return Coefficients(*values)

    def _resolution(self, ask: Ask) -> int:
        return self._coefficients(ask).resolution(_value(self.resolution, "resolution", ask))

    def _walk(self, ask: Ask, channels: int, classes: int) -> Iterator[tuple[str, Row | Outline]]:
        """Yield each stage's outline and then its canonical rows, asking for values when needed.

        The order of the questions lets `encode` see early that it is on a wrong path.
        """
        scale = self._coefficients(ask)
        size = self._resolution(ask) if self.fit_kernels else 0
        for part, path, stage in self.places():
            width = scale.width(_width(stage.width, path, ask))
            stride = _value(stage.stride, f"{path}.stride", ask)
            yield part, (width, stride)
            layer, layers = 1, 1
            while layer <= layers:
                block, options = _layer(stage, path, layer, ask)
                row = Row(block, width, stride if layer == 1 else 1, options)
                row = _placed(row, channels, path, size)
                yield part, row
                channels, size = width, size and blocks.out_size(row, size)
                layers = scale.depth(_value(stage.depth, f"{path}.depth", ask))
                layer += 1
        ending = [
            (name, _value(value, f"classifier.{name}", ask))
            for name, value in self.ending().items()
        ]
        classifier = Row("classifier", classes, 1, tuple(sorted(ending)))
        yield "head", _placed(classifier, channels, "classifier", size)

    @cached_property
    def _alignment(self) -> frozenset[str]:
        """Names of the parameters on which it depends which row of a network is whose."""
        places = {f"{path}.depth": stage.depth for _, path, stage in self.places()}
        if self.scaling:
            places |= {f"scaling.{name}": value for name, value in vars(self.scaling).items()}
        return frozenset(
            value.name or path for path, value in places.items() if isinstance(value, Choice)
        )

    def _match(self, target: Architecture) -> dict[str, Value] | None:
        """Follow the walk while it agrees with the target; where it asks, try every answer.

        Where it does not agree, some parameters can't have the values they have now, whatever the
        others are: the answers to other questions are not tried again on their account.
        """
        values: dict[str, Value] = {}
        tries: list[tuple[str, Iterator[Value], set[str]]] = []
        while True:
            blamed: set[str] = set()
            try:
                if self._agrees(target, _reader(values, blamed), blamed):
                    return values
            except _Unset as unset:
                labels = iter(unset.chosen.labels)
                values[unset.name] = next(labels)
                tries.append((unset.name, labels, set()))
                continue
            if not _back_up(values, tries, blamed):
                return None

    def _agrees(self, target: Architecture, ask: Ask, asked: set[str]) -> bool:
        """Say whether the walk gives the target; keep in `asked` what its last step depends on."""
        parts = {"stem": target.stem, "stages": target.body, "head": target.head}
        expected = [(part, row) for part, rows in parts.items() for row in rows]
        if self._resolution(ask) != target.resolution:
            return False
        reached, before = 0, set(asked)
        for part, item in self._walk(ask, target.in_channels, target.classes):
            if reached == len(expected) or part != expected[reached][0]:
                return False
            if not _fits(item, expected[reached][1]):
                return False
            reached += isinstance(item, Row)
            before |= asked
            asked.clear()
            asked |= before & self._alignment
        return reached == len(expected)


def _back_up(
    values: dict[str, Value], tries: list[tuple[str, Iterator[Value], set[str]]], blamed: set[str]
) -> bool:
    """Give the last blamed parameter its next value; False where none is left."""
    while tries:
        name, labels, gathered = tries[-1]
        if name in blamed:
            gathered |= blamed
            for label in labels:
                values[name] = label
                return True
            blamed = gathered - {name}
        tries.pop()
        del values[name]
    return False


def _fits(item: Row | Outline, expected: Row) -> bool:
    outline = (expected.out_channels, expected.stride)
    return item == (expected if isinstance(item, Row) else outline)


def _reader(values: Assignment, asked: set[str] | None = None) -> Ask:
    """Return a function that looks the chosen option up, and notes the name in `asked`."""

    def ask(path: str, chosen: Choice) -> Any:
        name = chosen.name or path
        if asked is not None:
            asked.add(name)
        if name not in values:
            raise _Unset(name, chosen)
        try:
            return chosen.option(values[name])
        except (KeyError, TypeError):  # a list, say, is no key
            known = rules.names(chosen.labels)
            raise SpaceError(f"Parameter {name} is one of {known}, not {values[name]!r}.") from None

    return ask


def _value(value: Any, path: str, ask: Ask) -> Any:
    return ask(path, value) if isinstance(value, Choice) else value


def _width(width: Any, path: str, ask: Ask) -> int:
    if isinstance(width, Scaled):
        multiplier = _value(width.multiplier, f"{path}.width_multiplier", ask)
        return round_channels(width.base * multiplier, width.divisor)
    return int(_value(width, f"{path}.width", ask))


def _layer(
    stage: Stage, path: str, layer: int, ask: Ask
) -> tuple[str, tuple[tuple[str, Value], ...]]:
    """Return the block of one layer and its options."""
    layer_path = f"{path}.layer{layer}"
    block = stage.block
    if isinstance(block, PerLayer):
        path, block = layer_path, block.choice
    spec = _value(block, f"{path}.block", ask)
    own, own_layer = (spec.at(place, chosen=stage.has_block_choice) for place in (path, layer_path))
    options = (
        (name, _value(value.choice, f"{own_layer}.{name}", ask))
        if isinstance(value, PerLayer)
        else (name, _value(value, f"{own}.{name}", ask))
        for name, value in spec.options
    )
    return spec.name, tuple(options)


def _alternatives(values: Iterable[Value]) -> str:
    return " | ".join(str(value) for value in values)


def _placed(row: Row, channels: int, path: str, size: int) -> Row:
    """Return the canonical row, fitted to its map where that has a size; an error says where."""
    try:
        return _canonical(row, channels, size)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


@lru_cache(maxsize=65536)
def _canonical(row: Row, channels: int, size: int) -> Row:
    row = blocks.canonical_row(row, channels)
    return blocks.fitted_row(row, channels, size) if size else row
