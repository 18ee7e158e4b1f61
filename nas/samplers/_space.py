"""What a search space, limits and an objective tell a sampler about candidates."""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.architecture import Architecture
from nas.cost import Limits
from nas.objective import Objective
from nas.samplers._oracle import Assignment, Preview
from nas.samplers._record import Record
from nas.search_space.preflight import Subject, draw_near, repair

KEPT = 50_000  # looks that are remembered


class SpaceOracle:
    """Knows networks: the canonical one, its cost, the cost's part in the score, the limits.

    `features`, where given, are what costs more to know of a network than to count it: proxies.
    """

    def __init__(
        self,
        subject: Subject,
        limits: Limits,
        objective: Objective,
        features: Callable[[Architecture], tuple[float, ...]] | None = None,
    ) -> None:
        self.subject, self.objective, self.features = subject, objective, features
        self.front = objective.kind == "pareto"
        self.limits = limits.tightest(subject.space.limits)
        self.parameters = subject.space.parameters()
        self.distributions: Mapping[str, CategoricalDistribution] = {
            p.name: CategoricalDistribution(p.choices) for p in self.parameters
        }
        self.record = Record()
        self._looks: dict[tuple[tuple[str, Any], ...], Preview] = {}

    def begin(self, rng: random.Random) -> Assignment:
        """Draw an assignment near the target, within the limits where they can be kept."""
        return self._within(draw_near(self.subject, self.objective, rng), rng)

    def draw(self, rng: random.Random) -> Assignment:
        """Draw an assignment, cut down to the limits where they can be kept."""
        return self._within(self.subject.space.draw(rng), rng)

    def _within(self, values: Assignment, rng: random.Random) -> Assignment:
        if self.look(values).allowed:
            return values
        return repair(self.subject, dict(values), self.limits, rng) or values

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one active parameter; those that thereby come to exist take any value."""
        free = [p for p in self.parameters if p.name in values and len(p.choices) > 1]
        if not free:
            return values
        changed = rng.choice(free)
        others = [choice for choice in changed.choices if choice != values[changed.name]]
        wanted = {**values, changed.name: rng.choice(others)}
        kept: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_active(kept):
                name = parameter.name
                kept[name] = wanted[name] if name in wanted else rng.choice(parameter.choices)
        return kept

    def look(self, values: Assignment) -> Preview:
        """Return what is known of a network."""
        at = tuple(values.items())
        found = self._looks.get(at)
        if found is None:
            architecture = self.subject.decode(values)
            cost = self.subject.price(architecture)
            numbers = (
                self.objective.distance(cost),
                math.log(cost.params),
                float(len(architecture.rows)),
            )
            factor = self.objective.score(1.0, self.objective.amount(cost))
            allowed = self.limits.violation(cost) is None
            if len(self._looks) >= KEPT:
                self._looks.clear()
            found = Preview(architecture.id, factor, numbers, allowed, cost=numbers[0])
            self._looks[at] = found
        return found

    def describe(self, values: Assignment) -> tuple[float, ...]:
        """Return a network's features; () when none are asked for.

        The first time a network takes as long as its proxies do; then they are remembered.
        """
        return () if self.features is None else self.features(self.subject.decode(values))

    def identify(self, trial: FrozenTrial) -> Any:
        """Return the id of the architecture that a trial evaluates."""
        stored = trial.user_attrs.get("architecture_id")
        return stored if stored is not None else self.look(trial.params).key
