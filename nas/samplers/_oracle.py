"""The facts about candidates that a sampler has before one is trained.

An oracle draws and changes assignments and looks at one: its architecture, the factor of its score,
its cost. `SpaceOracle` (in `_space.py`) knows a search space. `StudyOracle` knows the trials of an
Optuna study alone.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.samplers._history import draw
from nas.samplers._record import Record

Assignment = Mapping[str, Any]
RECENT = 200  # trials that show which parameters exist when


class Preview(NamedTuple):
    """A candidate before its training: equal keys are equal architectures.

    The score is the metric times `factor`; `cost` is on the scale on which a front is drawn (log
    macs, say); `numbers` describe the candidate to the model; `allowed` says whether it keeps the
    limits.
    """

    key: Any
    factor: float = 1.0
    numbers: tuple[float, ...] = ()
    allowed: bool = True
    cost: float = 0.0


class Oracle(Protocol):
    """The questions of a sampler.

    With `front` the sampler is after the front of metric and cost instead of the best score.
    `record` holds the study's trials between two proposals.
    """

    record: Record

    distributions: Mapping[str, CategoricalDistribution]
    front: bool

    def begin(self, rng: random.Random) -> Assignment:
        """Draw an assignment for the opening, when nothing is known yet."""

    def draw(self, rng: random.Random) -> Assignment:
        """Draw any assignment."""

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one active parameter."""

    def look(self, values: Assignment) -> Preview | None:
        """Preview at a candidate; None for one that is foreign to the oracle."""

    def describe(self, values: Assignment) -> tuple[float, ...]:
        """Return numbers too dear to measure for every candidate: () without any."""

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of what a trial evaluates."""


class StudyOracle:
    """Knows the choices that a study's trials had, and nothing else.

    A choice that only some trials have exists with certain values of one other choice, its parent;
    without such a parent it exists always.
    """

    front = False

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self.record = Record()
        recent = trials[-RECENT:]
        if distributions is None:
            distributions = {n: d for trial in recent for n, d in trial.distributions.items()}
        choices = {
            name: distribution
            for name, distribution in distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        self.parents = _parents(choices, [trial.params for trial in recent])
        in_order = sorted(choices.items(), key=lambda pair: self._depth(pair[0]))
        self.distributions: Mapping[str, CategoricalDistribution] = dict(in_order)

    def _depth(self, name: str) -> int:
        depth, seen = 0, {name}
        while name in self.parents and (name := self.parents[name][0]) not in seen:
            seen.add(name)
            depth += 1
        return depth

    def _complete(self, values: Assignment, rng: random.Random) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            parent, absent = self.parents.get(name, ("", frozenset()))
            if parent and (parent not in kept or kept[parent] in absent):
                continue
            kept[name] = values[name] if name in values else draw(distribution, rng)
        return kept

    def begin(self, rng: random.Random) -> Assignment:
        """Draw any assignment."""
        return self.draw(rng)

    def draw(self, rng: random.Random) -> Assignment:
        """Draw parameter by parameter, each uniformly."""
        return self._complete({}, rng)

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one choice to any of its other values."""
        known = self.distributions  # a choice may be gone that an old trial has
        free = [name for name in values if name in known and not known[name].single()]
        if not free:
            return values
        name = rng.choice(free)
        other = rng.choice([each for each in known[name].choices if each != values[name]])
        return self._complete({**values, name: other}, rng)

    def look(self, values: Assignment) -> Preview | None:
        """Return the key: the parameters themselves."""
        return Preview(self._key(values))

    def describe(self, values: Assignment) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: parameters are all that is known."""
        return ()

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's parameters."""
        return self._key(trial.params)

    def _key(self, values: Assignment) -> Any:
        return tuple(map(values.get, self.distributions))


def _parents(
    seen: Mapping[str, CategoricalDistribution], trials: Sequence[Assignment]
) -> dict[str, tuple[str, frozenset[Any]]]:
    """Return, for choices that only some trials have, the parent and its values without them."""
    parents: dict[str, tuple[str, frozenset[Any]]] = {}
    trials = [values for values in trials if values]
    for name in seen:
        having = [values for values in trials if name in values]
        lacking = [values for values in trials if name not in values]
        if not lacking:
            continue
        for parent in seen:
            if parent == name or parents.get(parent, ("",))[0] == name:
                continue
            present = {values.get(parent) for values in having}
            absent = {values[parent] for values in lacking if parent in values}
            if None not in present and not present & absent:
                parents[name] = (parent, frozenset(absent))
                break
    return parents
