"""Scalarisation: one number from a metric and a cost.

Source: MnasNet, arXiv:1807.11626, section 3; the weight -0.07 and FLOPs in place of latency are
EfficientNet's, arXiv:1905.11946, section 5.
"""

from dataclasses import dataclass
from typing import Any

from nas.errors import UserError, unknown

DEFAULT_WEIGHT = {"soft": -0.07, "hard": -1.0}


@dataclass(frozen=True)
class Objective:
    """`metric x (macs / target)^w`: soft on both sides of the target, hard only above it."""

    target_flops: int
    kind: str = "soft"
    weight: float = DEFAULT_WEIGHT["soft"]

    def score(self, value: float, macs: int) -> float:
        """Return the score of a network with this metric value (0 to 1) and this many macs."""
        if self.kind == "hard" and macs <= self.target_flops:
            return value
        return float(value * (macs / self.target_flops) ** self.weight)

    def describe(self, metric: str = "accuracy") -> str:
        """Print the formula with its numbers."""
        side = "" if self.kind == "soft" else ", 0 at or under T"
        return f"{metric} x (FLOPs / T)^w, T = {self.target_flops:,}, w = {self.weight:g}{side}"

    def to_json(self) -> dict[str, Any]:
        """Return the objective as plain data."""
        return {"target_flops": self.target_flops, "kind": self.kind, "weight": self.weight}


def objective(target_flops: float, kind: str = "soft", weight: float | None = None) -> Objective:
    """Build an objective from user input.

    Raises UserError for a target under 1, an unknown kind, or a weight above 0 (which would reward
    cost).
    """
    if kind not in DEFAULT_WEIGHT:
        raise UserError(unknown("objective", kind, DEFAULT_WEIGHT))
    if isinstance(target_flops, bool) or not 1 <= target_flops < float("inf"):
        raise UserError(
            f"A FLOPs target is a number of at least 1, such as 2M, not {target_flops!r}."
        )
    chosen = DEFAULT_WEIGHT[kind] if weight is None else weight
    if not -10 <= chosen <= 0:
        raise UserError(
            f"The objective's w lies between -10 and 0 (-0.07 is usual), not {weight!r}."
        )
    return Objective(int(target_flops), kind, float(chosen))
