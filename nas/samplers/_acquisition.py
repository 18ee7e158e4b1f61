"""Expected improvement of a score whose cost's part is known exactly."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from scipy.special import ndtr

from nas import pareto
from nas.samplers._oracle import Assignment, Preview, Taught
from nas.samplers._surrogate import FITTED, Floats, Points, Surrogate

OUTLIER = 2.0  # spreads under the median from which a score is taken for an outlier
CAPS = (120, 60, 70)  # of the trials that the model sees: best, most recent, any others
EDGE = 0.1  # of the scale of costs, by which a front's last step is longer than the dearest
FARTHEST = 2.0  # standard deviations at which a description is cut off, since it is extrapolated
SLOPE = 0.5  # of this study's spreads to one of a lesson's: expected before there are trials


@dataclass(frozen=True)
class Observation:
    """A trial's score, higher is better; `extra` is the part of its variance that is known.

    A training that is not `whole` was cut short, and its score is estimated.
    """

    values: Assignment
    look: Preview
    score: float
    extra: float = 0.0
    whole: bool = True


class Encoder:
    """Turns assignments into the rows that the model compares.

    A choice has a column per value and one for not existing. Of choices with equal options, each
    option is counted: the number of layers that are skipped, say. With `described`, the previews'
    own numbers stand before these counts. The expectations of the `lessons` stand last, unscaled.
    """

    def __init__(
        self,
        distributions: Mapping[str, CategoricalDistribution],
        *,
        described: bool = False,
        lessons: Sequence[Taught] = (),
    ) -> None:
        self.described, self.lessons = described, lessons
        self.distributions = {n: d for n, d in distributions.items() if not d.single()}
        owner: list[int] = []
        self.starts: dict[str, int] = {}
        self.columns: dict[str, dict[Any, int]] = {}
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, (name, distribution) in enumerate(self.distributions.items()):
            self.starts[name] = len(owner)
            choices = distribution.choices
            self.columns[name] = {choice: i for i, choice in enumerate(choices)}
            groups.setdefault(choices, []).append(len(owner))
            owner += [index] * (len(choices) + 1)
        self.owner = np.array(owner, dtype=np.intp)
        self.groups = [(starts, len(key)) for key, starts in groups.items() if len(starts) > 1]

    def encode(self, assignments: Sequence[Assignment], looks: Sequence[Preview]) -> Points:
        """Return a row per assignment; the descriptions are not scaled yet."""
        values = np.zeros((len(assignments), len(self.owner)))
        rows = np.arange(len(assignments))
        for name, start in self.starts.items():
            columns = self.columns[name]
            places = [columns.get(each.get(name), len(columns)) for each in assignments]
            values[rows, [start + place for place in places]] = 1.0
        counts = [
            values[:, [start + option for start in starts]].sum(axis=1)
            for starts, options in self.groups
            for option in range(options)
        ]
        width = len(looks[0].numbers) if looks and self.described else 0
        described = np.array([look.numbers[:width] for look in looks], dtype=float)
        expected = [lesson.expect(assignments) for lesson in self.lessons]
        numbers = np.column_stack([described.reshape(len(looks), width), *counts, *expected])
        own = width + bool(counts) + np.arange(len(expected))
        group = np.concatenate([np.arange(width), np.full(len(counts), width), own])
        return Points(values, numbers, self.owner, group.astype(np.intp))

    def scaling(self, numbers: Floats) -> "Scaling":
        """Return how numbers (n, descriptors) are scaled: those of lessons stay as they are."""
        centre, scale = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)
        farthest = np.full(len(centre), FARTHEST)
        slopes = np.zeros(len(centre))
        if count := len(self.lessons):
            centre[-count:], scale[-count:], farthest[-count:] = 0.0, 1.0, np.inf
            slopes[-count:] = SLOPE / count
        return Scaling(centre, scale, farthest, slopes)


class Scaling(NamedTuple):
    """What numbers (n, descriptors) are scaled by and cut off at, and their slopes' prior means."""

    centre: Floats
    scale: Floats
    farthest: Floats
    slopes: Floats

    def of(self, points: Points) -> Points:
        """Return points with scaled numbers."""
        numbers = (points.numbers - self.centre) / self.scale
        return points._replace(numbers=np.clip(numbers, -self.farthest, self.farthest))


class Acquisition:
    """The expected improvement of candidates on the best so far, or on the front.

    The metric is modelled, and each preview's factor turns it into the score. Scores far under the
    median say little about the best: there differences count less and less (after the warping in
    Google Vizier, arXiv:2408.11527).
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        pending: Sequence[tuple[Assignment, Preview]],
        encoder: Encoder,
        rng: random.Random,
        *,
        front: bool = False,
    ) -> None:
        self.encoder, self.is_front = encoder, front
        looks = [each.look for each in observations]
        scaling = np.array([look.factor for look in looks])
        factors = self._factors(looks)
        scores = np.array([each.score for each in observations]) / scaling * factors
        extra = np.array([each.extra for each in observations]) / scaling**2
        points = encoder.encode([each.values for each in observations], looks)
        self.scaling = encoder.scaling(points.numbers)
        points = self.scaling.of(points)
        fitted = sorted(capped(scores, (FITTED // 2, FITTED // 4, FITTED // 4), rng))
        targets, slopes = levelled(scores) / factors, self.scaling.slopes
        self.worst = float(targets.min())
        self.surrogate = Surrogate(points, targets, extra, fitted, slopes)
        means = self.surrogate.predict(points)[0] * factors
        whole = np.array([each.whole for each in observations])
        whole = whole if whole.any() else np.full(len(whole), True)
        self.best = float(means[whole].max())
        self.stairs = stairs(np.array([look.cost for look in looks])[whole], means[whole])
        if pending:
            waiting = encoder.encode(*zip(*pending, strict=True))
            self.surrogate.believe(self.scaling.of(waiting))

    def _factors(self, looks: Sequence[Preview]) -> Floats:
        """Return what the metric is multiplied by to be improved: 1 where the aim is a front."""
        return np.array([1.0 if self.is_front else look.factor for look in looks])

    def learnt(self) -> dict[str, float]:
        """Return how much each lesson counts, by its study; see `Surrogate.learnt`."""
        studies = [lesson.study for lesson in self.encoder.lessons]
        worth = self.surrogate.learnt()[len(self.scaling.slopes) - len(studies) :]
        return dict(zip(studies, worth.tolist(), strict=True))

    def improvement(
        self, points: Points, looks: Sequence[Preview]
    ) -> tuple[Floats, Floats, Floats]:
        """Return each candidate's worth (for sorting), and its metric's mean and spread."""
        mean, spread = self.surrogate.predict(self.scaling.of(points))
        if self.is_front:
            costs = np.array([look.cost for look in looks])
            return self._beyond_front(mean, spread, costs), mean, spread
        factors = self._factors(looks)
        expected = expected_improvement(mean * factors, spread * factors, self.best)
        if expected.max(initial=0.0) <= 1e-12 * max(1.0, abs(self.best)):
            expected = (mean * factors - self.best) / (spread * factors)  # the least unlikely
        return expected, mean, spread

    def _beyond_front(self, mean: Floats, spread: Floats, costs: Floats) -> Floats:
        """Return the expected growth of the area under the front, from the worst metric."""
        end = max(float(self.stairs[0][-1]), float(costs.max(initial=-np.inf))) + EDGE
        return growth(self.stairs, self.worst, end, np.array([mean, spread, costs]))


def expected_improvement(mean: Floats, spread: Floats, best: float | Floats) -> Floats:
    """Return the expected excess of a normal variable over the best."""
    z = (mean - best) / spread
    return np.asarray(spread * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)))


def stairs(costs: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Return the cost at which each step of a front begins, rising, and the step's height."""
    points = [pareto.Point(*pair) for pair in zip(heights.tolist(), costs.tolist(), strict=True)]
    members = pareto.front(points)
    return costs[members], heights[members]


def growth(front: tuple[Floats, Floats], floor: float, end: float, candidates: Floats) -> Floats:
    """Return the expected growth of the area under a front, from `floor` up and to the cost `end`.

    `candidates` (3, n) are the metric's mean and spread, and the cost, which is certain. The growth
    is the sum, over the steps of the front that a candidate reaches, of the step's width times the
    expected improvement on its height: Emmerich et al. (CEC 2006) have the general form.
    """
    mean, spread, costs = candidates
    first = min(float(front[0][0]), float(costs.min(initial=np.inf)))
    begins, heights = np.append(first, front[0]), np.append(floor, front[1])
    ends = np.append(front[0], end)
    widths = np.maximum(0.0, ends - np.maximum(begins, costs[:, None]))
    gains = expected_improvement(mean[:, None], spread[:, None], heights)
    return np.asarray((widths * gains).sum(axis=1))


def levelled(scores: Floats) -> Floats:
    """Bring outliers under the median nearer: beyond two spreads of the upper half, logarithms."""
    middle = float(np.median(scores))
    spread = float(np.sqrt(np.mean((scores[scores >= middle] - middle) ** 2)))
    if spread <= 0:
        return scores
    below = (middle - scores) / spread
    far = np.maximum(below - OUTLIER, 0.0)
    result: Floats = np.where(far > 0, middle - spread * (OUTLIER + np.log1p(far)), scores)
    return result


def capped(scores: Floats, caps: tuple[int, int, int], rng: random.Random) -> list[int]:
    """Return the indices of the best, of the most recent and of some others, up to these numbers.

    A model of all trials would be slow.
    """
    count = len(scores)
    if count <= sum(caps):
        return list(range(count))
    order: NDArray[np.intp] = np.argsort(-scores, kind="stable")
    left = np.full(count, True)
    left[order[: caps[0]]] = False
    left[np.flatnonzero(left)[::-1][: caps[1]]] = False
    rest = np.flatnonzero(left)
    left[rest[rng.sample(range(len(rest)), min(caps[2], len(rest)))]] = False
    return [int(index) for index in np.flatnonzero(~left)]
