"""What a study tries next: what is known already, what opens a search, what its sampler asks for.

All of it follows from the configuration and from the study's trials, so that any worker can propose
at any time, and one that is resumed goes on as it would have.
"""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from optuna import Study
from optuna.distributions import CategoricalDistribution

from nas import network, samplers
from nas.architecture import Architecture, Value
from nas.blocks.notation import notation
from nas.config import Config
from nas.data import DataSet
from nas.errors import UserError
from nas.proxies._features import Features
from nas.proxies._opening import Opening
from nas.samplers._space import SpaceOracle
from nas.search_space.preflight import draw_near, repair
from nas.store.queries import Known, Tried
from nas.store.records import Proposal

WALK = 200  # steps in search of a network without a trial
OPENING = 10  # networks near the target before a sampler is asked that draws none itself
RECALLED = 50  # networks of other studies, the best, that a search begins with


@dataclass(frozen=True)
class Idea:
    """An assignment to try, and what is expected of it: attributes of its trial."""

    values: dict[str, Value]
    expected: dict[str, float]


class Proposer:
    """Proposes for one study.

    `images` loads the data, when a proxy first needs it; `elsewhere` returns what other studies
    trained under this study's recipe, `tried` the study's own trials from a number on.
    """

    def __init__(
        self,
        config: Config,
        study: Study,
        images: Callable[[], DataSet],
        elsewhere: Callable[[], list[Known]],
        tried: Callable[[int], list[Tried]],
    ) -> None:
        self.config, self.study, self.elsewhere, self.tried = config, study, elsewhere, tried

        def features(*names: str) -> Features:
            return Features(names, images, config.seed)

        self.oracle = SpaceOracle(
            config.subject,
            config.limits,
            config.objective,
            features(*config.features) if config.features else None,
        )
        self.opening = (
            Opening(config.subject, config.limits, config.objective, features(config.prefilter))
            if config.prefilter is not None
            else None
        )
        self._known: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._next = 0  # number of the first trial that was not counted yet
        self._recalled: list[dict[str, Value]] | None = None

    def known(self) -> Counter[str]:
        """Count the study's trials by their architecture's id."""
        self._count()
        return self._known

    def _count(self) -> None:
        for trial in self.tried(self._next):  # a trial's network is its own from the beginning
            self._known[trial.architecture_id] += 1
            if not trial.is_reused:
                self._begun.add(trial.architecture_id)
            self._next = trial.number + 1

    def begun(self) -> int:
        """Count the networks that this study began itself."""
        self._count()
        return len(self._begun)

    def propose(self, rng: random.Random) -> Idea:
        """Return what to try, within the limits.

        What other studies know comes first. Then a model-based sampler has nothing to go by
        for the first trials: they are drawn near the target, so that what is learnt first is learnt
        about networks of the cost that was asked for. Samplers without a model stay what they are.
        With a pre-filter every sampler's first trials are those that the proxy ranks best.
        """
        idea = self._idea(rng)
        kept = self._within(idea.values, rng)
        return idea if kept == idea.values else Idea(kept, {})

    def _idea(self, rng: random.Random) -> Idea:
        config = self.config
        if known := self._recall():
            return Idea(known, {})
        if self.opening is not None and self.begun() < OPENING:
            best = self.opening.next(self.known())
            if best is not None:
                return Idea(best.values, {f"proxy_{config.prefilter}": best.promise})
        opens = config.sampler not in (*samplers.PLAIN, *samplers.OPENERS)
        if opens and len(self.known()) < OPENING:
            return Idea(draw_near(config.subject, config.objective, rng), {})
        sampler = samplers.get(config.sampler, rng.randrange(2**31), self.oracle)
        values = samplers.propose(config.space, self.study, sampler)
        return Idea(values, samplers.expected(sampler))

    def _recall(self) -> dict[str, Value] | None:
        """Return a network that another study trained under this recipe; None when there is none.

        It costs no training, and the sampler begins with what is known. A study that has trained
        something itself recalls no more.
        """
        if self._recalled is None:
            first = self.config.warm_start and not self.begun()
            self._recalled = self._known_elsewhere() if first else []
        while self._recalled:
            values = self._recalled.pop(0)
            if self.config.subject.decode(values).id not in self.known():
                return values
        return None

    def _known_elsewhere(self) -> list[dict[str, Value]]:
        """Return assignments of the best networks of other studies that are in this space."""
        config = self.config
        limits = config.limits.tightest(config.space.limits)
        scored: list[tuple[float, dict[str, Value]]] = []
        for one in self.elsewhere():
            try:
                architecture = Architecture.from_json(one.architecture)
                values = config.space.encode(architecture)
            except UserError:  # of another space, or of a block that is not known here
                continue
            score = config.score(one.metrics, one.cost, one.architecture)
            if (
                not math.isnan(score)
                and limits.violation(config.subject.price(architecture)) is None
            ):
                scored.append((score, values))
        scored.sort(key=lambda pair: -pair[0])
        return [values for _, values in scored[:RECALLED]]

    def _within(self, values: dict[str, Value], rng: random.Random) -> dict[str, Value]:
        """Cut a proposal down to the limits where it breaks them."""
        for _ in range(WALK):
            kept = repair(self.config.subject, values, self.config.limits, rng)
            if kept is not None:
                return kept
            values = self.config.space.draw(rng)
        raise UserError(f"No architecture of {self.config.space.name} in reach keeps the limits.")

    def unseen(self, values: dict[str, Value], rng: random.Random) -> dict[str, Value] | None:
        """Walk from neighbour to neighbour, within the limits, to an architecture without trial."""
        known = self.known()
        limits = self.config.limits.tightest(self.config.space.limits)
        for _ in range(WALK):
            inside = []
            neighbours = list(self.config.space.neighbours(values))
            rng.shuffle(neighbours)
            for neighbour in neighbours:
                architecture = self.config.subject.decode(neighbour)
                if limits.violation(self.config.subject.price(architecture)) is None:
                    if architecture.id not in known:
                        return neighbour
                    inside.append(neighbour)
            if not inside:
                return None
            values = rng.choice(inside)
        return None

    def proposal(self, idea: Idea, fidelity: Callable[[str], int]) -> Proposal:
        """Return an idea as it is stored; `fidelity` gives an id's first number of epochs."""
        architecture = self.config.subject.decode(idea.values)
        choices = {p.name: p.choices for p in self.config.space.parameters()}
        table = self.config.latency
        return Proposal(
            architecture_id=architecture.id,
            architecture=architecture.to_json(),
            notation="\n".join(notation(architecture)),
            cost=network.cost(architecture),
            recipe_hash=self.config.recipe.hash,
            fidelity=fidelity(architecture.id),
            params=idea.values,
            distributions={name: CategoricalDistribution(choices[name]) for name in idea.values},
            prediction=idea.expected,
            latency_ms=None if table is None else table.milliseconds(architecture),
        )
