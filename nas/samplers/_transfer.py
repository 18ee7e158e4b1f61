"""What a study learns from other studies: a model of each is a number of every network.

A lesson's Gaussian process over the choices that both spaces have predicts the metric of that
study, in its own spreads. The study's own model has these predictions as a mean function, whose
slopes are uncertain and learnt with all else (Rasmussen and Williams, section 2.7). So a lesson
counts as much as the study's own trials bear it out, and one that misleads soon counts nothing.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from nas.samplers._acquisition import Encoder, Observation, capped, levelled
from nas.samplers._lesson import Lesson
from nas.samplers._oracle import Assignment, Oracle, Preview
from nas.samplers._surrogate import FITTED, Floats, Points, Surrogate

ALIKE = 2  # values that a parameter of the same name has in both spaces to mean the same
OPENED = (0, 2, 4)  # the proposals of an opening that the lessons make
REMEMBERED = 50_000  # predictions


def shared(
    parameters: Mapping[str, Sequence[Any]], others: Mapping[str, Sequence[Any]]
) -> dict[str, tuple[Any, ...]]:
    """Return the parameters of one space that mean the same in another, with all their values.

    Such a parameter has the same name and at least two of its values in both.
    """
    return {
        name: tuple(dict.fromkeys((*choices, *others[name])))
        for name, choices in parameters.items()
        if name in others and len(set(choices) & set(others[name])) >= ALIKE
    }


class LessonModel:
    """A model of a lesson on the choices that a space shares with it."""

    def __init__(
        self, lesson: Lesson, distributions: Mapping[str, CategoricalDistribution]
    ) -> None:
        self.study = lesson.study
        own = {name: each.choices for name, each in distributions.items()}
        common = shared(own, lesson.parameters)
        self.encoder = Encoder({n: CategoricalDistribution(each) for n, each in common.items()})
        self.assignments: Sequence[Assignment] = lesson.assignments()
        metrics = np.array(lesson.metrics)
        points = self._encoded(self.assignments)
        self.scaling = self.encoder.scaling(points.numbers)
        rng = random.Random(lesson.study)
        fitted = sorted(capped(metrics, (FITTED // 2, 0, FITTED // 2), rng))
        no_noise = np.zeros(len(metrics))
        self.surrogate = Surrogate(self.scaling.of(points), levelled(metrics), no_noise, fitted)
        self._expected: dict[tuple[Any, ...], float] = {}

    def _encoded(self, assignments: Sequence[Assignment]) -> Points:
        return self.encoder.encode(assignments, [Preview(None)] * len(assignments))

    def expect(self, assignments: Sequence[Assignment]) -> Floats:
        """Return the metric that each assignment would have there, in spreads from the mean."""
        names = list(self.encoder.distributions)
        keys = [tuple(map(values.get, names)) for values in assignments]
        if len(self._expected) >= REMEMBERED:
            self._expected.clear()
        new = {
            key: values
            for key, values in zip(keys, assignments, strict=True)
            if key not in self._expected
        }
        if new:
            points = self.scaling.of(self._encoded(list(new.values())))
            self._expected |= zip(new, self.surrogate.expect(points).tolist(), strict=True)
        return np.array([self._expected[key] for key in keys])

    def metric(self, expected: Floats) -> Floats:
        """Return the metric of what was expected in spreads."""
        return np.asarray(self.surrogate.mean + self.surrogate.spread * expected)


class Foresight:
    """The lessons' mean expectation of candidates, before a study has trials of its own."""

    def __init__(self, encoder: Encoder, *, front: bool) -> None:
        self.encoder, self.is_front = encoder, front

    def improvement(
        self, points: Points, looks: Sequence[Preview]
    ) -> tuple[Floats, Floats, Floats]:
        """Return each candidate's worth (for sorting), its metric's mean and no spread.

        The worth is the score under the study's own objective, at its own costs. Where the aim is a
        front, it is the distance from the front of metric and cost, along the metric.
        """
        lessons = self.encoder.lessons
        expected = points.numbers[:, -len(lessons) :].T
        pairs = zip(lessons, expected, strict=True)
        mean = np.mean([lesson.metric(each) for lesson, each in pairs], axis=0)
        if not self.is_front:
            return mean * np.array([look.factor for look in looks]), mean, np.zeros(len(mean))
        order = np.argsort([look.cost for look in looks], kind="stable")
        reached = np.empty(len(mean))
        reached[order] = np.maximum.accumulate(mean[order])
        return mean - reached, mean, np.zeros(len(mean))

    def learnt(self) -> dict[str, float]:
        """Return how much each lesson counts, by its study: all the same."""
        return {each.study: 1 / len(self.encoder.lessons) for each in self.encoder.lessons}

    def observed(self, oracle: Oracle, rng: random.Random) -> list[Observation]:
        """Return the lessons' trials as if they were of this space, with their expected scores.

        What a lesson's trial lacks is drawn at random.
        """
        pairs: list[tuple[Assignment, Preview]] = []
        for lesson in self.encoder.lessons:
            for values in lesson.assignments:
                carried = oracle.complete(values, rng)
                look = oracle.look(carried)
                if look is not None:
                    pairs.append((carried, look))
        if not pairs:
            return []
        looks = [look for _, look in pairs]
        points = self.encoder.encode([values for values, _ in pairs], looks)
        mean = self.improvement(points, looks)[1]
        return [
            Observation(values, look, float(metric) * look.factor)
            for (values, look), metric in zip(pairs, mean, strict=True)
        ]
