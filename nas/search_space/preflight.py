"""What can be known of a search before it begins: the space's size, its costs, what is in reach.

Everything here is bounded: a fixed number of samples, and descents of a fixed number of steps.
"""

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, TypeVar

from nas import network
from nas.architecture import Architecture, CandidateKey, Value, candidate_key
from nas.blocks.notation import notation
from nas.cost import AnyCost, Limits, TimedCost
from nas.errors import UserError
from nas.objective import Objective
from nas.search_space import Assignment, SearchSpace

SAMPLES = 1000
NEAR = 0.1  # a cost is near the target within 10 %
MAX_STEPS = 200
OPENING_DRAWS = 16
COUNTED = 20  # draws whose equals are counted; each takes as many decodings as there are choices
Number = TypeVar("Number", int, float)


class LatencyPredictor(Protocol):
    """A model of inference time: see `nas.latency.table`."""

    def milliseconds(self, architecture: Architecture) -> float:
        """Predict the milliseconds of one inference."""


@dataclass(frozen=True)
class Subject:
    """A search space for certain images and classes; with `latency`, costs have one."""

    space: SearchSpace
    in_channels: int
    classes: int
    latency: LatencyPredictor | None = None

    def decode(self, values: Assignment) -> Architecture:
        """Return the architecture of an assignment."""
        return self.space.decode(values, in_channels=self.in_channels, classes=self.classes)

    def key(self, values: Assignment) -> CandidateKey:
        """Return the key of an assignment's architecture and values of the recipe."""
        return candidate_key(self.decode(values).id, self.space.recipe_values(values))

    def cost(self, values: Assignment) -> AnyCost:
        """Return the cost of an assignment's architecture."""
        return self.price(self.decode(values))

    def price(self, architecture: Architecture) -> AnyCost:
        """Return the cost of an architecture."""
        counted = network.cost(architecture)
        if self.latency is None:
            return counted
        return TimedCost(*counted, self.latency.milliseconds(architecture))


@dataclass(frozen=True)
class Preflight:
    """The size of a space and the range of its costs, seen from a target and limits.

    The range is that of random samples and of a descent from them: it can be wider, not narrower.
    `near_target` and `within_limits` are shares of the samples, as are those of `within` that keep
    one of the `limits`, and `fitted`, whose kernels are cut to their maps; `example` is the sample
    nearest the target (any sample without one), as an architecture's JSON. Latencies are in
    milliseconds, predicted, None where none is.
    """

    space: str
    parameters: int
    size: int
    samples: int
    macs: tuple[int, int]
    params: tuple[int, int]
    latency_ms: tuple[float, float] | None
    target_flops: int | None
    target_latency_ms: float | None
    near_target: float | None
    within_limits: float
    limits: Mapping[str, float]
    within: Mapping[str, float]
    fitted: float
    example: Mapping[str, Any]
    example_notation: list[str]
    example_macs: int

    @property
    def fitted_line(self) -> str:
        """Say how many of the assignments have kernels that are cut."""
        return f"{self.fitted:.0%} with kernels larger than their maps, which are cut to fit"

    def to_json(self) -> dict[str, Any]:
        """Return the pre-flight as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Preflight":
        """Read a pre-flight back, which may stand among other data."""
        return cls(**{each.name: plain[each.name] for each in fields(cls)})


def survey(
    subject: Subject,
    *,
    objective: Objective | None = None,
    limits: Limits | None = None,
    seed: int = 0,
) -> Preflight:
    """Sample a space and find the ends of its cost range.

    Raises UserError when no architecture in reach keeps the limits, or when the target lies
    outside the range of those that do, naming the nearest that can be reached.
    """
    limits = (limits or Limits()).tightest(subject.space.limits)
    rng = random.Random(seed)
    free = [subject.space.draw(rng) for _ in range(SAMPLES)]
    architectures = [subject.decode(values) for values in free]
    costs = [subject.price(architecture) for architecture in architectures]
    macs = _ends(subject, free, costs, lambda cost: cost.macs)
    params = _ends(subject, free, costs, lambda cost: cost.params)
    latency = None
    if subject.latency is not None:
        latency = _ends(subject, free, costs, _milliseconds)
    kept = [i for i, cost in enumerate(costs) if limits.violation(cost) is None]
    wanted = kept or range(len(free))
    near, share = wanted[0], None
    about = latency if latency and objective and objective.target_latency_ms else macs
    _check_reach(subject, objective, limits, (about, free, costs))
    if objective is not None:
        gaps = [abs(objective.amount(cost) / objective.target - 1) for cost in costs]
        near = min(wanted, key=lambda i: gaps[i])
        share = sum(gap <= NEAR for gap in gaps) / len(gaps)
    example = architectures[near]
    printed = replace(subject, space=replace(subject.space, fit_kernels=False))
    pairs = zip(architectures, map(printed.decode, free), strict=True)
    fitted = sum(ours != theirs for ours, theirs in pairs)
    binding = {name: limit for name, limit in limits.to_json().items() if limit is not None}
    return Preflight(
        space=subject.space.name,
        parameters=len(subject.space.parameters()),
        size=subject.space.size(),
        samples=SAMPLES,
        macs=macs,
        params=params,
        latency_ms=latency,
        target_flops=None if objective is None else objective.target_flops,
        target_latency_ms=None if objective is None else objective.target_latency_ms,
        near_target=share,
        within_limits=len(kept) / SAMPLES,
        limits=binding,
        within={
            name: sum(getattr(cost, name, 0) <= limit for cost in costs) / SAMPLES
            for name, limit in binding.items()
        },
        fitted=fitted / SAMPLES,
        example=example.to_json(),
        example_notation=notation(example),
        example_macs=network.cost(example).macs,
    )


def different_networks(subject: Subject, *, seed: int = 0) -> int:
    """Estimate how many different networks the assignments give.

    That number is the sum, over all assignments, of one over how many give the same network. For
    each of a few draws these are counted parameter by parameter: the product of the numbers of
    values that leave the network as it is. A draw counts by one over its probability.
    """
    space, rng, parts = subject.space, random.Random(seed), []
    for _ in range(COUNTED):
        values = space.draw(rng)
        architecture, ways, equals = subject.decode(values), 1, 1
        for parameter in space.parameters():
            if parameter.name in values:
                others = (space.complete({**values, parameter.name: v}) for v in parameter.choices)
                ways *= len(parameter.choices)
                equals *= sum(subject.decode(other) == architecture for other in others)
        parts.append(ways / equals)
    return round(statistics.fmean(parts))


def draw_near(subject: Subject, objective: Objective, rng: random.Random) -> dict[str, Value]:
    """Draw a few assignments and return the nearest to the target: how a search opens.

    Under a hard objective that is the dearest one at or below the target.
    """
    draws = [subject.space.draw(rng) for _ in range(OPENING_DRAWS)]
    return min(draws, key=lambda values: objective.nearness(subject.cost(values)))


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


def _milliseconds(cost: AnyCost) -> float:
    return cost.latency_ms if isinstance(cost, TimedCost) else 0.0


def _ends(
    subject: Subject,
    samples: list[dict[str, Value]],
    costs: list[AnyCost],
    part: Callable[[AnyCost], Number],
) -> tuple[Number, Number]:
    """Return the lowest and the highest value of one part of the cost that were found."""
    order = sorted(range(len(samples)), key=lambda i: part(costs[i]))
    low = _descend(subject, samples[order[0]], part)
    high = _descend(subject, samples[order[-1]], lambda cost: -part(cost))
    return part(subject.cost(low)), part(subject.cost(high))


def _descend(
    subject: Subject, values: dict[str, Value], height: Callable[[AnyCost], float]
) -> dict[str, Value]:
    """Give one parameter after the other its lowest value, until none can be lower alone."""
    space, lowest = subject.space, height(subject.cost(values))
    for _ in range(MAX_STEPS):
        before = lowest
        for parameter in space.parameters():
            if parameter.name not in values:
                continue
            for other in parameter.choices:
                changed = space.complete({**values, parameter.name: other})
                if (found := height(subject.cost(changed))) < lowest:
                    lowest, values = found, changed
        if lowest == before:
            return values
    return values


def _check_reach(
    subject: Subject,
    objective: Objective | None,
    limits: Limits,
    found: tuple[tuple[float, float], list[dict[str, Value]], list[AnyCost]],
) -> None:
    (low, high), samples, costs = found
    if objective is not None:
        _check_range(subject, objective, low, high)
    cheapest = samples[min(range(len(samples)), key=lambda i: (limits.excess(costs[i]), costs[i]))]
    if repair(subject, cheapest, limits, random.Random(0)) is None:
        closest = _descend(subject, cheapest, limits.excess)
        raise UserError(
            f"No architecture of {subject.space.name} in reach keeps the limits: at the least, "
            f"{limits.violation(subject.cost(closest))}. Raise the limit or choose another space."
        )
    if objective is not None:
        limit = limits.macs if objective.target_latency_ms is None else limits.latency_ms
        _check_range(subject, objective, low, high if limit is None else min(high, limit))


def _check_range(subject: Subject, objective: Objective, low: float, high: float) -> None:
    target = objective.target
    if not low / (1 + NEAR) <= target <= high * (1 + NEAR):
        nearest, *ends = (
            objective.write(one) for one in (low if target < low else high, low, high)
        )
        raise UserError(
            f"Space {subject.space.name} can't reach {objective.write(target)}: its architectures"
            f" have {' to '.join(ends)}; the nearest target is {nearest}."
        )
