"""The facts that our sampler has of a table before an evaluation: all but the scores."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from benchmarks.search.goal import Goal
from nas.samplers._acquisition import Acquisition, Observation
from nas.samplers._lesson import Lesson
from nas.samplers._oracle import Assignment, Oracle, Preview, Taught
from nas.samplers._record import Record
from nas.samplers._surrogate import Points
from nas.samplers._transfer import Foresight, LessonModel
from nas.samplers.nas import STARTUP, Candidates, NasSampler

ROWS = 5_000  # of a pool that are candidates


class TableOracle:
    """Knows the rows of a table: assignments, and their factors and costs.

    `factors` and `costs`, where given, have an entry per row: see `Preview`.
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
            raise ValueError("A table has at least one assignment.")
        names = list(rows[0])
        choices = {name: tuple(dict.fromkeys(row[name] for row in rows)) for name in names}
        self.distributions: Mapping[str, CategoricalDistribution] = {
            name: CategoricalDistribution(options) for name, options in choices.items()
        }
        self.rows, self._names, self.front = rows, names, front
        self.record = Record()
        self.lessons: Sequence[Taught] = ()
        factors = factors if factors is not None else [1.0] * len(rows)
        costs = costs if costs is not None else [0.0] * len(rows)
        keys = [self._key(row) for row in rows]
        self._looks = {
            key: Preview(key, float(factor), cost=float(cost))
            for key, factor, cost in zip(keys, factors, costs, strict=True)
        }

    def _key(self, values: Assignment) -> Any:
        return tuple(values.get(name) for name in self._names)

    def draw(self, rng: random.Random, *, near_target: bool = False) -> Assignment:  # noqa: ARG002
        """Draw a row."""
        return rng.choice(self.rows)

    def change(self, values: Assignment, rng: random.Random) -> Assignment:  # noqa: ARG002
        """Draw a row: neighbours of a row need not be in the table."""
        return self.draw(rng)

    def complete(self, values: Assignment, rng: random.Random) -> Assignment:
        """Return a row that is in the table, for another one any."""
        return values if self.look(values) is not None else self.draw(rng)

    def look(self, values: Assignment) -> Preview | None:
        """Preview at a row; None for an assignment that is not in the table."""
        return self._looks.get(self._key(values))

    def describe(self, values: Assignment) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: the table has said it all."""
        return ()

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of a trial's row."""
        return self._key(trial.params)

    def factor(self, trial: FrozenTrial) -> float:
        """Return what the metric of a trial's row is multiplied by in its score."""
        look = self.look(trial.params)
        return 1.0 if look is None else look.factor


class WholeTable(TableOracle):
    """Knows a table that has all assignments: it is searched as a space, not as a list."""

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one choice."""
        name = rng.choice([name for name, each in self.distributions.items() if not each.single()])
        others = [each for each in self.distributions[name].choices if each != values[name]]
        return {**values, name: rng.choice(others)}

    def complete(self, values: Assignment, rng: random.Random) -> Assignment:
        """Keep the choices that the table has; draw the others."""
        return {
            name: values[name] if values.get(name) in each.choices else rng.choice(each.choices)
            for name, each in self.distributions.items()
        }


class PoolSampler(NasSampler):
    """Our sampler where nothing but the rows of a table can be proposed, each once."""

    def __init__(self, seed: int, table: TableOracle, *, startup: int = STARTUP) -> None:
        super().__init__(seed, oracle=table, startup=startup)
        self._pool = table.rows
        self._points: Points | None = None

    def candidates(
        self,
        model: Acquisition | Foresight,
        oracle: Oracle,
        observed: list[Observation],  # noqa: ARG002
        tried: set[Any],
        rng: random.Random,
    ) -> Candidates:
        """Return the rows that have no trial, or some of them where there are many."""
        pool = self._pool
        looks = [look for values in pool if (look := oracle.look(values)) is not None]
        if self._points is None:
            self._points = model.encoder.encode(pool, looks)
        left = [index for index, look in enumerate(looks) if look.key not in tried]
        if len(left) > ROWS:
            left = sorted(rng.sample(left, ROWS))
        return Candidates(
            [pool[i] for i in left], [looks[i] for i in left], self._points.take(left)
        )


def oracle(goal: Goal) -> TableOracle:
    """Return the facts of a goal's table: choices, costs, and the cost's part in the score."""
    table = goal.table
    rows: Sequence[Assignment] = [table.assignment(row) for row in range(len(table))]
    target = goal.target_macs or float(np.median(table.macs))
    macs = np.log(table.macs / target)
    made = (TableOracle if table.is_pool else WholeTable)(
        rows,
        factors=goal.factor.tolist(),
        costs=macs.tolist(),
        front=goal.kind == "pareto",
    )
    made.distributions = dict(table.distributions)  # the same order of choices as in the study
    return made


def lesson(goal: Goal, rows: Sequence[int]) -> Lesson:
    """Return what a search on a goal's table has found in these rows: its seen metrics."""
    table = goal.table
    results = [(table.assignment(row), float(table.search[row])) for row in rows]
    return Lesson.of(table.name, len(rows) - 1, table.choices, results)


def sampler(goal: Goal, seed: int, learn: Lesson | None = None) -> NasSampler:
    """Return our sampler for a table, told the facts of it, and a lesson where there is one."""
    known = oracle(goal)
    if learn is not None:
        known.lessons = [LessonModel(learn, known.distributions)]
    return PoolSampler(seed, known) if goal.table.is_pool else NasSampler(seed, oracle=known)
