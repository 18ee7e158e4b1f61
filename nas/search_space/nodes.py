"""What a search space is written with: choices, blocks, stages, the bare description."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas.architecture import Value
from nas.cost import Limits
from nas.errors import SpaceError, UserError


@dataclass(frozen=True)
class Choice:
    """A value to be chosen among options; one with a name is shared by all places that use it.

    A study stores an option's label: one of `written`, else a block's name, else the option itself.
    Places that share a choice have the same labels, and may have other options under them.
    """

    options: tuple[Any, ...]
    name: str | None = None
    written: tuple[Value, ...] | None = None

    @cached_property
    def labels(self) -> tuple[Value, ...]:
        """The options as a study stores them."""
        if self.written is not None:
            return self.written
        return tuple(
            option.name if isinstance(option, BlockSpec) else option for option in self.options
        )

    @cached_property
    def _labelled(self) -> dict[tuple[bool, Value], Any]:
        pairs = zip(self.labels, self.options, strict=True)
        return {(isinstance(label, bool), label): option for label, option in pairs}

    def option(self, label: Value) -> Any:
        """Return the option of a label; raises KeyError where there is none. True is not 1."""
        return self._labelled[isinstance(label, bool), label]

    def labels_of(self, wanted: Callable[[Any], bool]) -> frozenset[Value]:
        """Return the labels of the options that are wanted."""
        pairs = zip(self.options, self.labels, strict=True)
        return frozenset(label for option, label in pairs if wanted(option))


@dataclass(frozen=True)
class PerLayer:
    """A choice that every layer of a stage makes for itself."""

    choice: Choice


def literals(value: Any) -> tuple[Any, ...]:
    """Return the values that may stand where a value, a choice or a choice per layer stands."""
    if isinstance(value, PerLayer):
        value = value.choice
    return value.options if isinstance(value, Choice) else (value,)


@dataclass(frozen=True)
class Scaled:
    """A width as a multiple of a base, rounded to a multiple of `divisor` as scaling rounds."""

    base: int
    multiplier: Any
    divisor: int = 8


@dataclass(frozen=True)
class BlockSpec:
    """A block with values or choices for its options."""

    name: str
    options: tuple[tuple[str, Any], ...]
    line: int | None = field(default=None, compare=False, repr=False)

    def at(self, path: str, *, chosen: bool) -> str:
        """Return the path of the options' names: with the block's name where it is a choice."""
        return f"{path}.{self.name}" if chosen else path


@dataclass(frozen=True)
class Stage:
    """Layers of one block at one width; the first layer has the stride."""

    block: Any
    width: Any
    depth: Any = 1
    stride: Any = 1
    line: int | None = field(default=None, compare=False, repr=False)

    def blocks(self) -> tuple[BlockSpec, ...]:
        """Return the blocks that the stage may consist of."""
        return literals(self.block)

    @property
    def has_block_choice(self) -> bool:
        """Whether the block itself is chosen, by the stage or by each layer."""
        return isinstance(self.block, (Choice, PerLayer))


@dataclass(frozen=True)
class Compound:
    """Compound-scaling coefficients of a space, as values or choices."""

    alpha: Any = 1.0
    beta: Any = 1.0
    gamma: Any = 1.0
    phi: Any = 0.0


@dataclass(frozen=True)
class Description:
    """What a space's file says, before anything is asked of it."""

    name: str
    stages: Sequence[Stage]
    resolution: Any = 224
    stem: Stage | Sequence[Stage] = ()
    head: Stage | Sequence[Stage] = ()
    dropout: Any = 0.0
    classifier: Mapping[str, Any] = field(default_factory=dict)
    scaling: Compound | None = None
    limits: Limits = field(default_factory=Limits)
    in_channels: int = 3
    classes: int = 1000
    recipe: Mapping[str, Any] = field(default_factory=dict)
    fit_kernels: bool = False

    def __post_init__(self) -> None:
        for part in ("stem", "stages", "head"):
            given = getattr(self, part)
            stages = (given,) if isinstance(given, Stage) else given
            if not isinstance(stages, Sequence) or not all(isinstance(s, Stage) for s in stages):
                raise SpaceError(f"{part} is a stage or a list of stages, not {given!r}.")
            object.__setattr__(self, part, tuple(stages))
        object.__setattr__(self, "limits", _limits(self.limits))
        if not isinstance(self.classifier, Mapping) or "dropout" in self.classifier:
            raise SpaceError(
                "classifier is a mapping of the classifier's options; dropout, a field of its own,"
                f" is not among them. Not {self.classifier!r}."
            )

        if not isinstance(self.recipe, Mapping):
            raise SpaceError(f"recipe is a mapping of a recipe's keys, not {self.recipe!r}.")
        if not isinstance(self.fit_kernels, bool):
            raise SpaceError(f"fit_kernels is true or false, not {self.fit_kernels!r}.")

    def ending(self) -> dict[str, Any]:
        """Return the classifier's options, dropout first."""
        return {"dropout": self.dropout, **self.classifier}

    def places(self) -> Iterator[tuple[str, str, Stage]]:
        """Yield (part of the architecture, path in parameter names, stage) in order."""
        for part, named in (("stem", "stem"), ("stages", "stage"), ("head", "head")):
            stages: tuple[Stage, ...] = getattr(self, part)
            for number, stage in enumerate(stages, start=1):
                alone = part != "stages" and len(stages) == 1
                yield part, named if alone else f"{named}{number}", stage


per_layer, scaled = PerLayer, Scaled


def _limits(given: Any) -> Limits:
    """Check limits, given as Limits or as a mapping; a float such as 1e6 becomes a whole number."""
    limits = given._asdict() if isinstance(given, Limits) else given
    if not isinstance(limits, Mapping):
        raise SpaceError(f"limits is Limits(...), not {given!r}.")
    try:
        return Limits.checked(**limits)
    except UserError as error:
        raise SpaceError(f"limits: {error}") from None


def choice(*options: Any, name: str | None = None, labels: Sequence[Value] | None = None) -> Choice:
    """Choose one of the options; give a name to share one choice among several places.

    `labels`, one for each option, are what a study stores instead of the options. Places that share
    a name and labels may differ in their options: one decision then changes all of them.
    """
    if labels is not None and (isinstance(labels, str) or not isinstance(labels, Sequence)):
        raise SpaceError(f"A choice's labels are a list or a tuple, not {labels!r}.")
    return Choice(tuple(options), name, None if labels is None else tuple(labels))


def block(name: str, /, **options: Any) -> BlockSpec:
    """Name a block; each option is a value, a choice, or a choice per layer."""
    return BlockSpec(name, tuple(sorted(options.items())), _line())


def stage(block: Any, /, *, width: Any, depth: Any = 1, stride: Any = 1) -> Stage:
    """Describe a stage; `block` is a block, a choice of blocks, or one chosen per layer."""
    return Stage(block, width, depth, stride, _line())


def _line() -> int:
    """Return the line of a space's file that called the DSL, for messages."""
    return sys._getframe(2).f_lineno
