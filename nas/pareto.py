"""The front of two aims, a value to be raised and a cost to be lowered, and the area under it.

A point dominates another when it is no worse in both and not its equal. The hypervolume of a set is
the area that it dominates as far as a reference point: Zitzler and Thiele, PPSN V (1998), "the size
of the space covered". In two dimensions one sort gives it exactly. Where costs are to count by
their ratio, give their logarithms.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """What was measured, the higher the better, and what it costs, the lower the better."""

    value: float
    cost: float


def front(points: Sequence[Point]) -> list[int]:
    """Return which points none dominates, the cheapest first; of equal ones the first.

    What is not a number is on no front.
    """
    valid = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    kept: list[int] = []
    for index in sorted(valid, key=lambda i: (points[i].cost, -points[i].value)):
        if not kept or points[index].value > points[kept[-1]].value:
            kept.append(index)
    return kept


def knee(points: Sequence[Point]) -> int:
    """Return which point of the front bulges most: from there on more costs much and gives little.

    It is the farthest from the chord between the front's ends, value and cost brought to 0..1
    between them; of equals the cheapest. Source: Das, "On characterizing the knee of the Pareto
    curve", Structural Optimization 18 (1999). Raises ValueError without a valid point.
    """
    kept = front(points)
    if not kept:
        raise ValueError("A knee needs at least one point that is a number.")
    first, last = points[kept[0]], points[kept[-1]]
    rise, run = last.value - first.value, last.cost - first.cost

    def bulge(index: int) -> float:
        value, cost = points[index]
        return (value - first.value) / rise - (cost - first.cost) / run

    return max(kept, key=bulge) if len(kept) > 2 else kept[0]


def is_beyond(point: Point, others: Sequence[Point]) -> bool:
    """Tell whether a point lies beyond the others' front: none is as good and as cheap."""
    return not any(other.value >= point.value and other.cost <= point.cost for other in others)


def worst(points: Sequence[Point]) -> Point:
    """Return the lowest value and the highest cost: as a reference point, all others count."""
    return Point(min(point.value for point in points), max(point.cost for point in points))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the area that the points dominate, as far as the reference; what is beyond is cut."""
    area, height = 0.0, reference.value
    for value, cost in (points[index] for index in front(points)):
        if value > height and cost < reference.cost:
            area += (value - height) * (reference.cost - cost)
            height = value
    return area


def growth(points: Sequence[Point], reference: Point) -> list[float]:
    """Return the hypervolume of the first point, of the first two, and so on."""
    areas: list[float] = []
    kept: list[Point] = []
    for point in points:
        if is_beyond(point, kept):
            kept = [*kept, point]
            kept = [kept[index] for index in front(kept)]
            areas.append(hypervolume(kept, reference))
        else:
            areas.append(areas[-1])
    return areas
