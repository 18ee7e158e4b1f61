"""What a sampler may know about candidates before one is trained, and two that can tell.

An oracle draws and changes assignments, and looks at one: which network it is, what is known of
its score, what describes it. `StudyOracle` reads all that there is to read from a study's own
trials; `TableOracle` knows a list of rows; `SpaceOracle` (in `_space.py`) knows a search space.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from nas.samplers._history import draw
from nas.samplers._record import Record

Assignment = Mapping[str, Any]
RECENT = 200  # trials from which it is learnt which parameters exist when
STEP = 0.1  # standard deviation of a small change of a number, as a share of its range


class Look(NamedTuple):
    """What is known of a candidate: equal keys are equal networks.

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
    """What the sampler asks. With a `pool` nothing but its assignments is proposed.

    With `front` the sampler is after the front of metric and cost instead of the best score.
    `record` is what the sampler keeps of the study's trials as long as there is the oracle.
    """

    record: Record

    distributions: Mapping[str, BaseDistribution]
    pool: Sequence[Assignment] | None
    front: bool

    def begin(self, rng: random.Random) -> Assignment:
        """Draw an assignment for the opening, when nothing is known yet."""

    def draw(self, rng: random.Random) -> Assignment:
        """Draw any assignment."""

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one active parameter."""

    def look(self, values: Assignment) -> Look | None:
        """Return what is known of a candidate; None of one that is foreign to the oracle."""

    def describe(self, values: Assignment) -> tuple[float, ...]:
        """Return what is too dear to be known of every candidate: () where there is nothing."""

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of what a trial evaluates."""


class StudyOracle:
    """Knows the parameters that a study's trials had, and nothing else.

    Where trials differ in the parameters that exist, one parent is looked for whose values tell
    when a parameter exists; without one it is taken to exist always.
    """

    pool: Sequence[Assignment] | None = None
    front = False

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self.record = Record()
        seen: dict[str, BaseDistribution] = dict(distributions or {})
        if distributions is None:
            for trial in trials[-RECENT:]:
                seen |= trial.distributions
        recent = [trial.params for trial in trials[-RECENT:]]
        self.parents = _parents(seen, recent)
        in_order = sorted(seen.items(), key=lambda pair: self._depth(pair[0]))
        self.distributions: Mapping[str, BaseDistribution] = dict(in_order)

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
        """Change one parameter; numbers move a little or anywhere, as likely."""
        known = self.distributions  # a parameter may be gone that an old trial has
        free = [name for name in values if name in known and not known[name].single()]
        if not free:
            return values
        name = rng.choice(free)
        return self._complete(
            {**values, name: altered(self.distributions[name], values[name], rng)}, rng
        )

    def look(self, values: Assignment) -> Look | None:
        """Return the key: the parameters themselves."""
        return Look(self._key(values))

    def describe(self, values: Assignment) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: parameters are all that is known."""
        return ()

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's parameters."""
        return self._key(trial.params)

    def _key(self, values: Assignment) -> Any:
        return tuple(map(values.get, self.distributions))


class TableOracle:
    """Knows a list of assignments, of which one is proposed after the other.

    `factors` and `costs`, where given, have an entry per row: see `Look`.
    """

    def __init__(
        self,
        rows: Sequence[Assignment],
        *,
        factors: Sequence[float] | None = None,
        costs: Sequence[float] | None = None,
        front: bool = False,
    ) -> None:
        if not rows:
            raise ValueError("A pool has at least one assignment.")
        names = list(rows[0])
        choices = {name: tuple(dict.fromkeys(row[name] for row in rows)) for name in names}
        self.distributions: Mapping[str, BaseDistribution] = {
            name: CategoricalDistribution(options) for name, options in choices.items()
        }
        self.pool: Sequence[Assignment] | None = rows
        self._rows, self._names, self.front = rows, names, front
        self.record = Record()
        factors = factors if factors is not None else [1.0] * len(rows)
        costs = costs if costs is not None else [0.0] * len(rows)
        keys = [self._key(row) for row in rows]
        self._looks = {
            key: Look(key, float(factor), cost=float(cost))
            for key, factor, cost in zip(keys, factors, costs, strict=True)
        }

    def _key(self, values: Assignment) -> Any:
        return tuple(values.get(name) for name in self._names)

    def begin(self, rng: random.Random) -> Assignment:
        """Draw a row."""
        return self.draw(rng)

    def draw(self, rng: random.Random) -> Assignment:
        """Draw a row."""
        return rng.choice(self._rows)

    def change(self, values: Assignment, rng: random.Random) -> Assignment:  # noqa: ARG002
        """Draw a row: neighbours of a row need not be in the table."""
        return self.draw(rng)

    def look(self, values: Assignment) -> Look | None:
        """Return what is known of a row; None for what is not in the table."""
        return self._looks.get(self._key(values))

    def describe(self, values: Assignment) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: the table has said it all."""
        return ()

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's row."""
        return self._key(trial.params)


def _parents(
    seen: Mapping[str, BaseDistribution], trials: Sequence[Assignment]
) -> dict[str, tuple[str, frozenset[Any]]]:
    """Return, for parameters that only some trials have, the parent and its values without them."""
    found: dict[str, tuple[str, frozenset[Any]]] = {}
    trials = [values for values in trials if values]
    for name in seen:
        having = [values for values in trials if name in values]
        lacking = [values for values in trials if name not in values]
        if not lacking:
            continue
        for parent in seen:
            if parent == name or found.get(parent, ("",))[0] == name:
                continue
            present = {values.get(parent) for values in having}
            absent = {values[parent] for values in lacking if parent in values}
            if None not in present and not present & absent:
                found[name] = (parent, frozenset(absent))
                break
    return found


def unit(distribution: BaseDistribution, value: Any) -> float:
    """Return where a number lies in its range, from 0 to 1."""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"{distribution} is not a range of numbers.")
    low, high, at = float(distribution.low), float(distribution.high), float(value)
    if distribution.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.0


def _at(distribution: FloatDistribution | IntDistribution, share: float) -> Any:
    """Return the number that lies at a share of the range."""
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if distribution.step is not None:
        value = low + round((value - low) / distribution.step) * distribution.step
    value = min(high, max(low, value))
    return round(value) if isinstance(distribution, IntDistribution) else value


def altered(distribution: BaseDistribution, value: Any, rng: random.Random) -> Any:
    """Return another value: any other choice; a number near by or anywhere, as likely."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice([choice for choice in distribution.choices if choice != value])
    near = isinstance(distribution, FloatDistribution | IntDistribution) and rng.random() < 0.5
    if near:
        share = unit(distribution, value) + rng.gauss(0.0, STEP)
        return _at(distribution, min(1.0, max(0.0, share)))  # type: ignore[arg-type]
    return draw(distribution, rng)
