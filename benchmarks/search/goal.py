"""What a search on a table is after: what a sampler is told, and what it is measured in."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.study import StudyDirection

from benchmarks.search.table import Floats, Table
from nas import pareto
from nas.errors import UserError, unknown
from nas.objective import DEFAULT_WEIGHT

KINDS = ("accuracy", "scalarised", "pareto")
WEIGHT = DEFAULT_WEIGHT["soft"]


@dataclass(frozen=True)
class Goal:
    """An objective on a table.

    `accuracy` is the score itself, `scalarised` is score x (macs / T)^-0.07, `pareto` is the score
    and, to be minimised, the logarithm of macs.
    """

    table: Table
    kind: str = "accuracy"
    target_macs: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(unknown("objective", self.kind, KINDS))
        if self.kind == "scalarised" and not self.target_macs:
            raise UserError("--objective scalarised needs --target-macs T, such as 300M.")

    @property
    def key(self) -> str:
        """Return what names the objective in a cache."""
        return f"scalarised:{self.target_macs:g}:{WEIGHT}" if self.target_macs else self.kind

    @property
    def directions(self) -> list[StudyDirection]:
        """Return the directions of the study."""
        cost = [StudyDirection.MINIMIZE] if self.kind == "pareto" else []
        return [StudyDirection.MAXIMIZE, *cost]

    @cached_property
    def factor(self) -> Floats:
        """Return what each row's score is multiplied by."""
        return np.array([self.factor_at(macs) for macs in self.table.macs.tolist()])

    def factor_at(self, macs: float) -> float:
        """Return what the score of an architecture with so many macs is multiplied by."""
        if self.kind != "scalarised" or self.target_macs is None:
            return 1.0
        return float((macs / self.target_macs) ** WEIGHT)

    @cached_property
    def seen(self) -> Floats:
        """Return each row's score as samplers see it."""
        return self.table.search * self.factor

    @cached_property
    def true(self) -> Floats:
        """Return each row's score as it is measured."""
        return self.table.test * self.factor

    @cached_property
    def points(self) -> list[pareto.Point]:
        """Return each row's test score and the logarithm of its macs."""
        numbers = zip(self.table.test.tolist(), np.log(self.table.macs).tolist(), strict=True)
        return [pareto.Point(*pair) for pair in numbers]

    @cached_property
    def reference(self) -> pareto.Point:
        """Return what hypervolumes reach to: the table's worst test score and largest macs."""
        return pareto.worst(self.points)

    @cached_property
    def whole_area(self) -> float:
        """Return the hypervolume of all rows."""
        return pareto.hypervolume(self.points, self.reference)

    def told(self, row: int) -> list[float]:
        """Return what the study is told of a row."""
        values = [float(self.seen[row])]
        if self.kind == "pareto":
            values.append(float(np.log(self.table.macs[row])))
        return values
