"""The facts about candidates that follow from a search space, limits and an objective."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.architecture import Architecture, candidate_key
from nas.cost import Limits
from nas.objective import Objective
from nas.samplers._lesson import Lesson
from nas.samplers._oracle import Assignment, Preview, Taught
from nas.samplers._record import Record
from nas.search_space.preflight import Subject, draw_near, repair

REMEMBERED = 50_000  # previews


class SpaceOracle:
    """Knows architectures: the canonical one, its cost, the cost's part in the score, the limits.

    `features`, where given, measure proxies, which take longer than counting a cost; `learn` from
    these lessons of other studies.
    """

    def __init__(
        self,
        subject: Subject,
        limits: Limits,
        objective: Objective,
        features: Callable[[Architecture], tuple[float, ...]] | None = None,
        *,
        learn: Sequence[Lesson] = (),
    ) -> None:
        self.subject, self.objective, self.features = subject, objective, features
        self.learn = learn
        self.front = objective.kind == "pareto"
        self.limits = limits.tightest(subject.space.limits)
        self.parameters = subject.space.parameters()
        self.distributions: Mapping[str, CategoricalDistribution] = {
            p.name: CategoricalDistribution(p.choices) for p in self.parameters
        }
        self.record = Record()
        self._looks: dict[tuple[tuple[str, Any], ...], Preview] = {}

    @cached_property
    def lessons(self) -> Sequence[Taught]:
        """The models of the lessons, each fitted once."""
        from nas.samplers._transfer import LessonModel

        return [LessonModel(each, self.distributions) for each in self.learn]

    def draw(self, rng: random.Random, *, near_target: bool = False) -> Assignment:
        """Draw an assignment, cut down to the limits where they can be kept."""
        if near_target:
            values = draw_near(self.subject, self.objective, rng)
        else:
            values = self.subject.space.draw(rng)
        if self.look(values).allowed:
            return values
        return repair(self.subject, values, self.limits, rng) or values

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one active parameter; draw a value for each that the change activates."""
        free = [p for p in self.parameters if p.name in values and len(p.choices) > 1]
        if not free:
            return values
        changed = rng.choice(free)
        others = [choice for choice in changed.choices if choice != values[changed.name]]
        return self.complete({**values, changed.name: rng.choice(others)}, rng)

    def complete(self, values: Assignment, rng: random.Random) -> Assignment:
        """Keep the values of active parameters; draw those that are missing or none of theirs."""
        completed: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_active(completed):
                name, choices = parameter.name, parameter.choices
                known = name in values and values[name] in choices
                completed[name] = values[name] if known else rng.choice(choices)
        return completed

    def look(self, values: Assignment) -> Preview:
        """Preview an assignment's architecture."""
        at = tuple(values.items())
        if at not in self._looks:
            architecture = self.subject.decode(values)
            cost = self.subject.price(architecture)
            numbers = (
                self.objective.distance(cost),
                math.log(cost.params),
                float(len(architecture.rows)),
            )
            factor = self.objective.score(1.0, self.objective.amount(cost))
            allowed = self.limits.violation(cost) is None
            if len(self._looks) >= REMEMBERED:
                self._looks.clear()
            key = candidate_key(architecture.id, self.subject.space.recipe_values(values))
            self._looks[at] = Preview(key, factor, numbers, allowed, cost=numbers[0])
        return self._looks[at]

    def describe(self, values: Assignment) -> tuple[float, ...]:
        """Return an architecture's features; () without any. They are measured once."""
        return () if self.features is None else self.features(self.subject.decode(values))

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the key of the architecture and the values of the recipe that a trial has."""
        stored = trial.user_attrs.get("architecture_id")
        if stored is None:
            return self.look(trial.params).key
        return candidate_key(stored, self.subject.space.recipe_values(trial.params))

    def factor(self, trial: FrozenTrial) -> float:
        """Return what a trial's metric is multiplied by in its score."""
        try:
            return self.objective.factor(trial.user_attrs)
        except KeyError:  # a trial that is not of the store
            return self.look(trial.params).factor if trial.params else 1.0
