"""What a candidate promises: expected improvement of a score of which the cost's part is known."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from scipy.special import ndtr

from nas.samplers._oracle import Assignment, Look, unit
from nas.samplers._surrogate import FITTED, Floats, Points, Surrogate

OUTLIER = 2.0  # spreads under the median from which a score is taken for an outlier
KNOTS = 9  # places in a range of numbers between which values are like their neighbours
CAPS = (150, 100, 150)  # of the trials that the model sees: best, most recent, any others
FARTHEST = 2.0  # standard deviations at which a description is cut off, since it is extrapolated


@dataclass(frozen=True)
class Observation:
    """What a trial showed, higher being better; `extra` is the variance of what it did not show."""

    values: Assignment
    look: Look
    score: float
    extra: float = 0.0


class Encoder:
    """Turns assignments into the rows that the model compares.

    A choice has a column per value and one for not existing; a range of numbers has knots. Beside
    them, of choices with equal options it is counted how many have which: the number of layers that
    are skipped, say. With `described`, the looks' own numbers come beside these counts.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], *, described: bool = False
    ) -> None:
        self.described = described
        self.distributions = {n: d for n, d in distributions.items() if not d.single()}
        owner: list[int] = []
        self.starts: dict[str, int] = {}
        self.columns: dict[str, dict[Any, int]] = {}
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, (name, distribution) in enumerate(self.distributions.items()):
            self.starts[name] = len(owner)
            if isinstance(distribution, FloatDistribution | IntDistribution):
                width = KNOTS
            else:
                choices = distribution.choices  # type: ignore[attr-defined]
                width = len(choices)
                self.columns[name] = {choice: i for i, choice in enumerate(choices)}
                groups.setdefault(choices, []).append(len(owner))
            owner += [index] * (width + 1)
        self.owner = np.array(owner, dtype=np.intp)
        self.groups = [(starts, len(key)) for key, starts in groups.items() if len(starts) > 1]

    def encode(self, assignments: Sequence[Assignment], looks: Sequence[Look]) -> Points:
        """Return a row per assignment; the descriptions are not scaled yet."""
        values = np.zeros((len(assignments), len(self.owner)))
        rows = np.arange(len(assignments))
        for name, start in self.starts.items():
            given = [assignment.get(name) for assignment in assignments]
            columns = self.columns.get(name)
            if columns is None:
                self._spread(values[:, start : start + KNOTS + 1], self.distributions[name], given)
            else:
                absent = len(columns)
                values[rows, [start + columns.get(value, absent) for value in given]] = 1.0
        counts = [
            values[:, [start + option for start in starts]].sum(axis=1)
            for starts, options in self.groups
            for option in range(options)
        ]
        width = len(looks[0].numbers) if looks and self.described else 0
        told = np.array([look.numbers[:width] for look in looks], dtype=float)
        told = told.reshape(len(looks), width)
        numbers = np.column_stack([told, *counts]) if counts else told
        return Points(values, numbers, self.owner)

    @staticmethod
    def _spread(block: Floats, distribution: BaseDistribution, given: Sequence[Any]) -> None:
        """Write numbers as shares of the two knots they lie between, at length 1."""
        for row, value in zip(block, given, strict=True):
            if value is None:
                row[KNOTS] = 1.0
                continue
            at = unit(distribution, value) * (KNOTS - 1)
            left = min(int(at), KNOTS - 2)
            right = at - left
            row[left : left + 2] = np.array([1 - right, right]) / math.hypot(1 - right, right)


class Acquisition:
    """Expected improvement over what the model holds to be the best of the trials so far.

    The metric is modelled, and each look's factor turns it into the score. How bad the worst are
    says little about the best: far under the median, differences count less and less (after the
    warping in Google Vizier, arXiv:2408.11527).
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        pending: Sequence[tuple[Assignment, Look]],
        encoder: Encoder,
        rng: random.Random,
    ) -> None:
        self.encoder = encoder
        looks = [seen.look for seen in observations]
        factors = np.array([look.factor for look in looks])
        scores = np.array([seen.score for seen in observations])
        extra = np.array([seen.extra for seen in observations]) / factors**2
        points = encoder.encode([seen.values for seen in observations], looks)
        self.centre = points.numbers.mean(axis=0)
        self.scale = np.maximum(points.numbers.std(axis=0), 1e-9)
        points = self._scaled(points)
        fitted = sorted(chosen(scores, (FITTED // 2, FITTED // 4, FITTED // 4), rng))
        self.surrogate = Surrogate(points, levelled(scores) / factors, extra, fitted)
        means = self.surrogate.predict(points)[0] * factors
        self.best = float(means[extra == 0].max() if (extra == 0).any() else means.max())
        if pending:
            self.surrogate.believe(self._points(*zip(*pending, strict=True)))

    def _scaled(self, points: Points) -> Points:
        numbers = np.clip((points.numbers - self.centre) / self.scale, -FARTHEST, FARTHEST)
        return Points(points.values, numbers, points.owner)

    def _points(self, assignments: Sequence[Assignment], looks: Sequence[Look]) -> Points:
        return self._scaled(self.encoder.encode(assignments, looks))

    def scores(self, points: Points, looks: Sequence[Look]) -> tuple[Floats, Floats]:
        """Return the predicted mean and spread of the scores at unscaled points."""
        factors = np.array([look.factor for look in looks])
        mean, spread = self.surrogate.predict(self._scaled(points))
        return mean * factors, spread * factors

    def improvement(self, points: Points, looks: Sequence[Look]) -> tuple[Floats, Floats, Floats]:
        """Return how promising each is (for sorting), and its score's mean and spread."""
        mean, spread = self.scores(points, looks)
        z = (mean - self.best) / spread
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        expected = spread * (z * ndtr(z) + density)
        if expected.max(initial=0.0) <= 1e-12 * max(1.0, abs(self.best)):
            return z, mean, spread  # nothing left to expect: the least unlikely
        return expected, mean, spread


def levelled(scores: Floats) -> Floats:
    """Bring scores far under the median nearer: beyond two spreads of the upper half, logarithms.

    What lies within them is left as it is.
    """
    middle = float(np.median(scores))
    spread = float(np.sqrt(np.mean((scores[scores >= middle] - middle) ** 2)))
    if spread <= 0:
        return scores
    below = (middle - scores) / spread
    far = np.maximum(below - OUTLIER, 0.0)
    result: Floats = np.where(far > 0, middle - spread * (OUTLIER + np.log1p(far)), scores)
    return result


def chosen(scores: Floats, caps: tuple[int, int, int], rng: random.Random) -> list[int]:
    """Choose the best, the most recent and any others, so that a model stays fast."""
    count = len(scores)
    if count <= sum(caps):
        return list(range(count))
    order: NDArray[np.intp] = np.argsort(-scores, kind="stable")
    kept = set(order[: caps[0]].tolist())
    kept |= set([i for i in range(count - 1, -1, -1) if i not in kept][: caps[1]])
    rest = [i for i in range(count) if i not in kept]
    return sorted(kept | set(rng.sample(rest, min(caps[2], len(rest)))))
