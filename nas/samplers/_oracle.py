"""The facts about candidates that a sampler has before one is trained.

An oracle draws, changes and previews assignments. `SpaceOracle` (in `_space.py`) knows a search
space; `StudyOracle` knows only the trials of an Optuna study.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.samplers._history import choices_of
from nas.samplers._record import Floats, Record

Assignment = Mapping[str, Any]
RECENT = 200  # trials that show which parameters exist when


class Preview(NamedTuple):
    """A candidate before its training: equal keys are equal architectures.

    The score is the metric times `factor`; `cost` is on the scale on which a front is drawn (log
    macs, say); `numbers` describe the candidate to the model; `allowed` tells whether it keeps the
    limits.
    """

    key: Any
    factor: float = 1.0
    numbers: tuple[float, ...] = ()
    allowed: bool = True
    cost: float = 0.0


class Taught(Protocol):
    """A model of another study: `LessonModel` in `_transfer.py`."""

    study: str
    assignments: Sequence[Assignment]  # of its trials

    def expect(self, assignments: Sequence[Assignment]) -> Floats:
        """Return the metric that each assignment would have there, in spreads from the mean."""

    def metric(self, expected: Floats) -> Floats:
        """Return the metric of what was expected in spreads."""


class Oracle(Protocol):
    """The questions of a sampler.

    With `front` the sampler improves the front of metric and cost instead of the best score.
    `record` holds the study's trials between two proposals, `lessons` the models of other studies.
    """

    record: Record

    @property
    def lessons(self) -> Sequence[Taught]:
        """The models of other studies; none by default."""

    distributions: Mapping[str, CategoricalDistribution]
    front: bool

    def draw(self, rng: random.Random, *, near_target: bool = False) -> Assignment:
        """Draw an assignment; a study opens with those near the target."""

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one active parameter."""

    def complete(self, values: Assignment, rng: random.Random) -> Assignment:
        """Keep the values of an assignment that exist here; draw the others."""

    def look(self, values: Assignment) -> Preview | None:
        """Preview a candidate; None for an assignment that is foreign to the oracle."""

    def describe(self, values: Assignment) -> tuple[float, ...]:
        """Return numbers too dear to measure for every candidate: () without any."""

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's architecture."""

    def factor(self, trial: FrozenTrial) -> float:
        """Return what a trial's metric is multiplied by in its score."""


class StudyOracle:
    """Knows the choices of a study's trials, and nothing else.

    A choice that only some trials have exists with certain values of one other choice, its parent;
    without such a parent it exists always.
    """

    front = False
    lessons: Sequence[Taught] = ()

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self.record = Record()
        recent = trials[-RECENT:]
        if distributions is None:
            distributions = {n: d for trial in recent for n, d in trial.distributions.items()}
        choices = choices_of(distributions)
        self.parents = _parents(list(choices), [trial.params for trial in recent if trial.params])
        ordered = sorted(choices, key=self._depth)
        self.distributions: Mapping[str, CategoricalDistribution] = {n: choices[n] for n in ordered}

    def _depth(self, name: str) -> int:
        ancestors = [name]
        while ancestors[-1] in self.parents:
            parent = self.parents[ancestors[-1]][0]
            if parent in ancestors:
                break
            ancestors.append(parent)
        return len(ancestors)

    def complete(self, values: Assignment, rng: random.Random) -> dict[str, Any]:
        """Keep the values of choices that exist; draw the others."""
        completed: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            parent, absent = self.parents.get(name, ("", frozenset()))
            if parent and (parent not in completed or completed[parent] in absent):
                continue
            known = name in values and values[name] in distribution.choices
            completed[name] = values[name] if known else rng.choice(distribution.choices)
        return completed

    def draw(self, rng: random.Random, *, near_target: bool = False) -> Assignment:  # noqa: ARG002
        """Draw parameter by parameter, each uniformly; there is no target."""
        return self.complete({}, rng)

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one choice to any of its other values."""
        choices = self.distributions  # an old trial may have a choice that no longer exists
        free = [name for name in values if name in choices and not choices[name].single()]
        if not free:
            return values
        name = rng.choice(free)
        other = rng.choice([each for each in choices[name].choices if each != values[name]])
        return self.complete({**values, name: other}, rng)

    def look(self, values: Assignment) -> Preview:
        """Return the key: the parameters themselves."""
        return Preview(tuple(map(values.get, self.distributions)))

    def describe(self, values: Assignment) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: only the parameters are known."""
        return ()

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's parameters."""
        return self.look(trial.params).key

    def factor(self, trial: FrozenTrial) -> float:  # noqa: ARG002
        """Return 1: the cost is not known."""
        return 1.0


def _parents(
    names: Sequence[str], trials: Sequence[Assignment]
) -> dict[str, tuple[str, frozenset[Any]]]:
    """Return, for choices that only some trials have, the parent and its values without them."""
    parents: dict[str, tuple[str, frozenset[Any]]] = {}
    for name in names:
        having = [values for values in trials if name in values]
        lacking = [values for values in trials if name not in values]
        if not lacking:
            continue
        for parent in names:
            if parent == name or parents.get(parent, ("",))[0] == name:
                continue
            present = {values.get(parent) for values in having}
            absent = {values[parent] for values in lacking if parent in values}
            if None not in present and not present & absent:
                parents[name] = (parent, frozenset(absent))
                break
    return parents
