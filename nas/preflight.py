"""What can be known of a search before it begins: the space's size, its costs, what is in reach.

Everything here is bounded: a fixed number of samples, and descents of a fixed number of steps.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nas import network
from nas.architecture import Architecture, Value
from nas.cost import Cost, Limits
from nas.errors import UserError
from nas.search_space import Assignment, SearchSpace

SAMPLES = 1000
NEAR = 0.1  # a cost is near the target within 10 %
MAX_STEPS = 200
OPENING_DRAWS = 16


@dataclass(frozen=True)
class Subject:
    """A search space for certain images and classes."""

    space: SearchSpace
    in_channels: int
    classes: int

    def decode(self, values: Assignment) -> Architecture:
        """Return the architecture of an assignment."""
        return self.space.decode(values, in_channels=self.in_channels, classes=self.classes)

    def cost(self, values: Assignment) -> Cost:
        """Return the cost of an assignment's architecture."""
        return network.cost(self.decode(values))


@dataclass(frozen=True)
class Preflight:
    """The size of a space and the range of its costs, seen from a target and limits.

    The range is that of random samples and of a descent from them: it can be wider, not narrower.
    `near_target` and `within_limits` are shares of the samples; `example` is the sample nearest
    the target (any sample without one), as an architecture's JSON.
    """

    space: str
    parameters: int
    size: int
    samples: int
    macs: tuple[int, int]
    params: tuple[int, int]
    target_flops: int | None
    near_target: float | None
    within_limits: float
    example: Mapping[str, Any]
    example_notation: list[str]
    example_macs: int

    def to_json(self) -> dict[str, Any]:
        """Return the pre-flight as plain data."""
        return asdict(self)


def survey(
    subject: Subject, *, target: int | None = None, limits: Limits | None = None, seed: int = 0
) -> Preflight:
    """Sample a space and find the ends of its cost range.

    Raises UserError when no architecture in reach keeps the limits, or when the target lies
    outside the range of those that do, naming the nearest that can be reached.
    """
    limits = (limits or Limits()).tightest(subject.space.limits)
    rng = random.Random(seed)
    free = [subject.space.draw(rng) for _ in range(SAMPLES)]
    costs = [subject.cost(values) for values in free]
    ends = [_ends(subject, free, costs, index) for index in range(2)]
    macs, params = ((low, high) for low, high in ends)
    kept = [i for i, cost in enumerate(costs) if limits.violation(cost) is None]
    if target is not None:
        _check_reach(subject, target, limits, (macs, free, costs))
    wanted = kept or range(len(free))
    near = min(wanted, key=lambda i: abs(costs[i].macs - (target or costs[i].macs)))
    example = subject.decode(free[near])
    return Preflight(
        space=subject.space.name,
        parameters=len(subject.space.parameters()),
        size=subject.space.size(),
        samples=SAMPLES,
        macs=macs,
        params=params,
        target_flops=target,
        near_target=None if target is None else _share(costs, target),
        within_limits=len(kept) / SAMPLES,
        example=example.to_json(),
        example_notation=example.notation(),
        example_macs=network.cost(example).macs,
    )


def draw_near(subject: Subject, target: int, rng: random.Random) -> dict[str, Value]:
    """Draw the assignment nearest the target of a few: how a search opens."""
    draws = [subject.space.draw(rng) for _ in range(OPENING_DRAWS)]
    return min(draws, key=lambda values: abs(math.log(subject.cost(values).macs / target)))


def repair(
    subject: Subject, values: Assignment, limits: Limits, rng: random.Random
) -> dict[str, Value] | None:
    """Change one parameter after another until the limits are kept; None where that gets stuck.

    Of the single changes that keep the limits the one that stays largest is taken, so that a
    proposal is cut down no further than it must be.
    """
    limits = limits.tightest(subject.space.limits)
    current = dict(values)
    excess = limits.excess(subject.cost(current))
    for _ in range(MAX_STEPS):
        if not excess:
            return current
        neighbours = list(subject.space.neighbours(current))
        rng.shuffle(neighbours)
        costed = [(subject.cost(neighbour), neighbour) for neighbour in neighbours]
        keeping = [pair for pair in costed if not limits.excess(pair[0])]
        better = keeping or [pair for pair in costed if limits.excess(pair[0]) < excess]
        if not better:
            return None
        cost, current = max(better, key=lambda p: p[0].macs) if keeping else rng.choice(better)
        excess = limits.excess(cost)
    return None


def _ends(
    subject: Subject, samples: list[dict[str, Value]], costs: list[Cost], index: int
) -> tuple[int, int]:
    """Return the lowest and the highest value of one field of the cost that were found."""
    order = sorted(range(len(samples)), key=lambda i: costs[i][index])
    low = _descend(subject, samples[order[0]], lambda cost: cost[index])
    high = _descend(subject, samples[order[-1]], lambda cost: -cost[index])
    return subject.cost(low)[index], subject.cost(high)[index]


def _descend(
    subject: Subject, values: dict[str, Value], height: Callable[[Cost], float]
) -> dict[str, Value]:
    lowest = height(subject.cost(values))
    for _ in range(MAX_STEPS):
        neighbours = [(height(subject.cost(n)), n) for n in subject.space.neighbours(values)]
        best = min(neighbours, key=lambda pair: pair[0], default=None)
        if best is None or best[0] >= lowest:
            return values
        lowest, values = best
    return values


def _check_reach(
    subject: Subject,
    target: int,
    limits: Limits,
    found: tuple[tuple[int, int], list[dict[str, Value]], list[Cost]],
) -> None:
    (low, high), samples, costs = found
    _check_range(subject, target, low, high)
    cheapest = samples[min(range(len(samples)), key=lambda i: (limits.excess(costs[i]), costs[i]))]
    if repair(subject, cheapest, limits, random.Random(0)) is None:
        closest = _descend(subject, cheapest, limits.excess)
        raise UserError(
            f"No architecture of {subject.space.name} in reach keeps the limits: at the least, "
            f"{limits.violation(subject.cost(closest))}. Raise the limit or choose another space."
        )
    if limits.macs is not None:
        _check_range(subject, target, low, min(high, limits.macs))


def _check_range(subject: Subject, target: int, low: int, high: int) -> None:
    if not low / (1 + NEAR) <= target <= high * (1 + NEAR):
        nearest = low if target < low else high
        raise UserError(
            f"Space {subject.space.name} can't reach {target:,} FLOPs: its architectures have "
            f"{low:,} to {high:,}; the nearest target is {nearest:,}."
        )


def _share(costs: list[Cost], target: int) -> float:
    return sum(abs(cost.macs / target - 1) <= NEAR for cost in costs) / len(costs)
