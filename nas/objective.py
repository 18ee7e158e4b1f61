"""Scalarisation: one number from a metric and a cost.

Source: MnasNet, arXiv:1807.11626, section 3, for latency; FLOPs in its place, under the same
weight of -0.07, are EfficientNet's, arXiv:1905.11946, section 5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas import quantities
from nas.cost import AnyCost, TimedCost
from nas.errors import UserError, unknown

DEFAULT = "hard"
DEFAULT_WEIGHT = {"soft": -0.07, "hard": -1.0, "pareto": -0.07}
NOTES = {
    "soft": "",
    "hard": ", 0 at or under T",
    "pareto": "; after the front of {metric} and {cost}",
}


@dataclass(frozen=True)
class Objective:
    """`metric x (cost / target)^w`: soft on both sides of the target, hard only above it.

    The cost is macs, or the latency that a table predicts where there is a target for that; `table`
    is the table's hash. A pareto one scores as a soft one does, since a pruner needs one number;
    what it is after is the front of metric and cost.
    """

    target_flops: int | None
    kind: str = "soft"
    weight: float = DEFAULT_WEIGHT["soft"]
    target_latency_ms: float | None = None
    table: str | None = None

    @property
    def target(self) -> float:
        """The target of the cost that this is about: macs, or milliseconds."""
        target = self.target_flops if self.target_latency_ms is None else self.target_latency_ms
        if target is None:
            raise ValueError("An objective has a target, of FLOPs or of latency.")
        return target

    def amount(self, cost: AnyCost) -> float:
        """Return the part of a cost that this is about: macs, or milliseconds."""
        if self.target_latency_ms is None:
            return cost.macs
        if not isinstance(cost, TimedCost):
            raise TypeError("An objective on latency needs a cost with a latency.")
        return cost.latency_ms

    def distance(self, cost: AnyCost) -> float:
        """Return how far a cost is from the target: the logarithm of their ratio, 0 on it."""
        return math.log(self.amount(cost) / self.target)

    def nearness(self, cost: AnyCost) -> tuple[bool, float]:
        """Return a key that sorts costs: those that the user asked for come first.

        A hard objective charges for what is above the target: such a cost comes after all others.
        """
        distance = self.distance(cost)
        return self.kind == "hard" and distance > 0, abs(distance)

    def score(self, value: float, amount: float) -> float:
        """Return the score of a network with this metric value (0 to 1) and this much cost."""
        if self.kind == "hard" and amount <= self.target:
            return value
        return float(value * (amount / self.target) ** self.weight)

    def factor(self, facts: Mapping[str, Any]) -> float:
        """Return what the metric is multiplied by, from a stored trial's `macs` or `latency_ms`."""
        return self.score(1.0, facts["macs" if self.target_latency_ms is None else "latency_ms"])

    def short(self) -> str:
        """Write the target briefly, as it may stand in a name: 2M, 5ms."""
        if self.target_latency_ms is None:
            return quantities.short(self.target)
        return f"{self.target_latency_ms:g}ms"

    def write(self, amount: float) -> str:
        """Write an amount with its unit."""
        if self.target_latency_ms is None:
            return f"{amount:,.0f} FLOPs"
        return f"{amount:.3g} ms"

    def describe(self, metric: str = "accuracy") -> str:
        """Print the formula with its numbers."""
        if self.target_latency_ms is not None:
            what, target = "latency", f"{self.target_latency_ms:g} ms"
        else:
            what, target = "FLOPs", f"{self.target:,}"
        formula = f"{metric} x ({what} / T)^w, T = {target}, w = {self.weight:g}"
        return formula + NOTES[self.kind].format(metric=metric, cost=what)

    def to_json(self) -> dict[str, Any]:
        """Return the objective as plain data."""
        shape = {"kind": self.kind, "weight": self.weight}
        if self.target_latency_ms is None:
            return {"target_flops": self.target_flops, **shape}
        about = {"target_latency_ms": self.target_latency_ms, "table": self.table}
        return {"target_flops": self.target_flops, **shape, **about}


def objective(target_flops: float, kind: str = DEFAULT, weight: float | None = None) -> Objective:
    """Build an objective on FLOPs from user input.

    Raises UserError for a target under 1, an unknown kind, or a weight above 0 (which would reward
    cost).
    """
    chosen = _weight(kind, weight)
    if isinstance(target_flops, bool) or not 1 <= target_flops < float("inf"):
        raise UserError(
            f"A FLOPs target is a number of at least 1, such as 2M, not {target_flops!r}."
        )
    return Objective(int(target_flops), kind, chosen)


def latency_objective(
    target_ms: float, table: str | None, kind: str = DEFAULT, weight: float | None = None
) -> Objective:
    """Build an objective on the latency that a table, named by its hash, predicts.

    Raises UserError as `objective` does, and for the kind pareto: fronts are of macs.
    """
    chosen = _weight(kind, weight)
    if kind == "pareto":
        raise UserError("--objective pareto is after the front of FLOPs: give --target-flops.")
    if not 0 < target_ms < math.inf:
        raise UserError(f"A latency target is a time above 0, such as 5ms, not {target_ms!r}.")
    return Objective(None, kind, chosen, float(target_ms), table)


def _weight(kind: str, weight: float | None) -> float:
    if kind not in DEFAULT_WEIGHT:
        raise UserError(unknown("objective", kind, DEFAULT_WEIGHT))
    chosen = DEFAULT_WEIGHT[kind] if weight is None else weight
    if not -10 <= chosen <= 0:
        raise UserError(
            f"The objective's w lies between -10 and 0 (-0.07 is usual), not {weight!r}."
        )
    return float(chosen)
