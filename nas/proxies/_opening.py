"""How a search opens with a pre-filter: with the draws that a proxy promises most of.

The warm-up of Abdelfattah et al., arXiv:2101.08134, section 5: many networks are ranked at next to
no cost, and those on top are trained first.
"""

import random
from collections.abc import Container
from typing import NamedTuple

from nas.architecture import Value
from nas.cost import Limits
from nas.objective import Objective
from nas.proxies._features import Features
from nas.search_space.preflight import Subject, draw_near, repair

DRAWS = 100  # networks that are ranked, for the whole opening


class Ranked(NamedTuple):
    """A network that was drawn, and what the proxy says of it."""

    architecture_id: str
    values: dict[str, Value]
    promise: float


class Opening:
    """The draws of a study in a proxy's order, ranked when the first is asked for.

    They are near the objective's target and within the limits; equal networks are one. `features`
    has one proxy. The order depends on the seed alone, so that every worker has the same.
    """

    def __init__(
        self, subject: Subject, limits: Limits, objective: Objective, features: Features
    ) -> None:
        self.subject, self.limits, self.features = subject, limits, features
        self.objective = objective
        self._ranked: list[Ranked] | None = None

    @property
    def ranked(self) -> list[Ranked]:
        """The draws, the most promising first."""
        if self._ranked is None:
            self._ranked = sorted(self._drawn().values(), key=lambda one: -one.promise)
        return self._ranked

    def next(self, known: Container[str]) -> Ranked | None:
        """Return the most promising whose id is not known; None when all are."""
        return next((one for one in self.ranked if one.architecture_id not in known), None)

    def _drawn(self) -> dict[str, Ranked]:
        rng = random.Random(f"{self.features.seed}:opening")
        found: dict[str, Ranked] = {}
        for _ in range(DRAWS):
            drawn = draw_near(self.subject, self.objective, rng)
            values = repair(self.subject, drawn, self.limits, rng)
            if values is None:
                continue
            architecture = self.subject.decode(values)
            if architecture.id not in found:
                (promise,) = self.features(architecture)
                found[architecture.id] = Ranked(architecture.id, values, promise)
        return found
