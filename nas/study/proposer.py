"""The next proposal of a study: opening, limits and novelty are decided here, before any sampler.

A proposal follows from the configuration, the study's trials and the number of the trial alone, so
that any worker can propose at any time, and a resumed study goes on as it would have.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

from optuna import Study
from optuna.distributions import CategoricalDistribution

from nas import network, samplers
from nas.architecture import Architecture, Value
from nas.blocks.notation import notation
from nas.config import Config
from nas.data import DataSet
from nas.errors import UserError
from nas.proxies._features import Features
from nas.samplers._space import SpaceOracle
from nas.search_space.preflight import draw_near, repair
from nas.store.queries import Known, Tried
from nas.store.records import Proposal
from nas.study.inheritance import Inheritance
from nas.training import recipe_choices
from nas.training.recipe import Recipe

WALK = 200  # steps in search of an architecture without a trial
PATIENCE = 3  # known architectures in a row, until the proposer itself looks for an unknown one
RECALLED = 50  # architectures of other studies, the best, that a search begins with
PREFILTERED = 10  # architectures that a study with a pre-filter trains from the proxy's ranking
RANKED = 100  # draws that a pre-filter ranks

Assignment = dict[str, Value]
Pair = tuple[str, str]  # an architecture's id, a recipe's hash


class NothingNew(Exception):
    """Every architecture within reach has a trial already."""


class Idea(NamedTuple):
    """An assignment to try; `expected` are attributes of its trial, such as the predicted mean."""

    values: Assignment
    expected: dict[str, Any]


class Proposer:
    """Proposes for one study.

    A worker calls `propose(number, repeats)` for the trial of this number, where `repeats` counts
    the proposals in a row, just before, that brought no new architecture. `known()` counts the
    study's trials by architecture id and recipe hash: a trial brought a new pair where the count
    is 1.

    `images` loads the data when a proxy first needs it. `elsewhere` returns the evaluations of
    other studies under recipes of these hashes, `recipes` the recipes of all studies by their
    hashes, `tried` the study's trials from a number on, `fidelity` the epochs of a first
    evaluation, and `inheritance` the weights that trials start from, where they inherit.
    """

    def __init__(
        self,
        config: Config,
        study: Study,
        *,
        images: Callable[[], DataSet],
        elsewhere: Callable[[Collection[str]], list[Known]],
        recipes: Callable[[], Mapping[str, Mapping[str, Any]]],
        tried: Callable[[int], list[Tried]],
        fidelity: Callable[[Pair], int],
        inheritance: Inheritance | None = None,
    ) -> None:
        self.config, self.study, self.images = config, study, images
        self.elsewhere, self.recipes = elsewhere, recipes
        self.tried, self.fidelity, self.inheritance = tried, fidelity, inheritance
        features = Features(config.features, images, config.seed) if config.features else None
        self.oracle = SpaceOracle(
            config.subject, config.limits, config.objective, features, learn=config.lessons
        )
        self.limits = config.limits.tightest(config.space.limits)
        self._known: Counter[Pair] = Counter()
        self._begun: set[Pair] = set()
        self._hashes: dict[Pair, str] = {}  # of recipes with what a pair's first trial inherited
        self._next = 0  # number of the first trial that was not counted yet
        self._recalled: list[Assignment] | None = None

    def known(self) -> Counter[Pair]:
        """Count the study's trials by `pair_of` their architecture and recipe."""
        for trial in self.tried(self._next):  # neither of a trial ever changes
            pair = self.pair_of(trial.architecture_id, trial.recipe_hash)
            self._known[pair] += 1
            self._hashes.setdefault(pair, trial.recipe_hash)
            if not trial.is_reused:
                self._begun.add(pair)
            self._next = trial.number + 1
        return self._known

    def pair_of(self, architecture_id: str, recipe_hash: str) -> Pair:
        """Return an architecture's id and its recipe's hash, whatever weights it started from."""
        if self.inheritance is None:
            return architecture_id, recipe_hash
        return architecture_id, self.inheritance.own_hash(recipe_hash)

    def begun(self) -> int:
        """Count the architectures, with their recipes, that this study began itself."""
        self.known()
        return len(self._begun)

    def propose(self, number: int, repeats: int = 0) -> Proposal:
        """Return the proposal for a trial; raise NothingNew when no new one is within reach.

        A proposal keeps the limits. After `PATIENCE` repeats it is an architecture without trial.
        """
        if self.config.finalists:
            return self._finalist(number)
        rng = random.Random(f"{self.config.seed}:{number}:{repeats}")
        idea = self._idea(rng)
        inside = self._within(idea.values, rng)
        if inside != idea.values:
            idea = Idea(inside, {})
        if repeats >= PATIENCE:
            idea = Idea(self._unseen(idea.values, rng), {})
        return self._proposal(*self._with_weights(idea), number)

    def _with_weights(self, idea: Idea) -> tuple[Idea, Recipe]:
        """Return an idea with its recipe: that of its network's first trial, or of a relative."""
        recipe = self.config.recipe_of(idea.values)
        if self.inheritance is None:
            return idea, recipe
        architecture_id, _ = pair = self._pair(idea.values)
        if pair in self.known():
            return idea, Recipe.from_json(self.recipes()[self._hashes[pair]])
        recipe, relative = self.inheritance.of(architecture_id, idea.values, recipe)
        if relative >= 0:
            idea = Idea(idea.values, idea.expected | {"inherited_from": relative})
        return idea, recipe

    def _pair(self, values: Assignment) -> Pair:
        """Return the architecture and the recipe of an assignment, as `known` has them."""
        return self.config.subject.decode(values).id, self.config.recipe_of(values).hash

    def _finalist(self, number: int) -> Proposal:
        """Return the next training of a finalist: all of them with a seed, then with the next."""
        trials = self.known()
        for turn in range(self.config.seeds):
            for values in self.config.finalists:
                recipe = self.config.recipe_of(values, turn)
                if not trials[self.config.subject.decode(values).id, recipe.hash]:
                    idea = Idea(dict(values), {"training_seed": recipe.seed})
                    return self._proposal(idea, recipe, number)
        raise NothingNew

    def _idea(self, rng: random.Random) -> Idea:
        """Return an assignment, whether or not it keeps the limits.

        Evaluations of other studies come first, then the draws that a pre-filter ranks highest. A
        sampler that learns opens near the target, so that its first lessons are about architectures
        of the cost that the user asked for.
        """
        config = self.config
        if recalled := self._recall():
            return Idea(recalled, {})
        if config.prefilter is not None and self.begun() < PREFILTERED:
            for values, promise in self._ranked:
                if self._pair(values) not in self.known():
                    return Idea(values, {f"proxy_{config.prefilter}": promise})
        opening = samplers.opening(config.sampler)
        if opening and len(self.known()) < opening:  # a plain sampler reads no trials
            return Idea(draw_near(config.subject, config.objective, rng), {})
        sampler = samplers.get(config.sampler, rng.randrange(2**31), self.oracle)
        values = samplers.propose(config.space, self.study, sampler)
        return Idea(values, samplers.expected(sampler))

    @cached_property
    def _ranked(self) -> list[tuple[Assignment, float]]:
        """Draws near the target and within the limits by the pre-filter's value, highest first.

        The warm-up of Abdelfattah et al., arXiv:2101.08134, section 5. The order depends on the
        study's seed alone, so that every worker has the same.
        """
        config = self.config
        features = Features([str(config.prefilter)], self.images, config.seed)
        rng = random.Random(f"{config.seed}:opening")
        draws: dict[str, tuple[Assignment, float]] = {}
        for _ in range(RANKED):
            near = draw_near(config.subject, config.objective, rng)
            values = repair(config.subject, near, config.limits, rng)
            if values is None:
                continue
            architecture = config.subject.decode(values)
            if architecture.id not in draws:
                (promise,) = features(architecture)
                draws[architecture.id] = values, promise
        return sorted(draws.values(), key=lambda draw: -draw[1])

    def _recall(self) -> Assignment | None:
        """Return an assignment that another study trained, recipe and all; None without one.

        It costs no training, and the sampler begins with its score. A study that has trained an
        architecture itself recalls no more.
        """
        if self._recalled is None:
            first = self.config.warm_start and not self.begun()
            self._recalled = self._known_elsewhere() if first else []
        while self._recalled:
            values = self._recalled.pop(0)
            if self._pair(values) not in self.known():
                return values
        return None

    def _known_elsewhere(self) -> list[Assignment]:
        """Return the best assignments of other studies that lie in this space and its limits."""
        config = self.config
        scored: list[tuple[float, Assignment]] = []
        recipes = self._recipes()
        for evaluation in self.elsewhere(recipes):
            try:
                recipe_values = recipes[evaluation.recipe_hash]
                values = config.space.encode(evaluation.architecture, recipe_values)
            except UserError:  # of another space, or of a block that is not known here
                continue
            score = config.score(evaluation.metrics, evaluation)
            if not math.isnan(score) and self._allows(evaluation.architecture):
                scored.append((score, values))
        scored.sort(key=lambda pair: -pair[0])
        return [values for _, values in scored[:RECALLED]]

    def _recipes(self) -> dict[str, Assignment]:
        """Return the values that the space chooses for each recipe that the study may have."""
        base, options = self.config.recipe, self.config.space.recipe_options()
        if not options:
            return {base.hash: {}}
        found: dict[str, Assignment] = {}
        for key, stored in self.recipes().items():
            with suppress(UserError):  # a recipe with a field that is not known here
                values = recipe_choices.chosen(options, base, Recipe.from_json(stored))
                if values is not None:
                    found[key] = values
        return found

    def _allows(self, architecture: Architecture) -> bool:
        return self.limits.violation(self.config.subject.price(architecture)) is None

    def _within(self, values: Assignment, rng: random.Random) -> Assignment:
        """Cut an assignment down to the limits where it breaks them."""
        for _ in range(WALK):
            repaired = repair(self.config.subject, values, self.config.limits, rng)
            if repaired is not None:
                return repaired
            values = self.config.space.draw(rng)
        raise UserError(f"No architecture of {self.config.space.name} in reach keeps the limits.")

    def _unseen(self, values: Assignment, rng: random.Random) -> Assignment:
        """Walk from neighbour to neighbour, within the limits, to one without a trial."""
        known = self.known()
        for _ in range(WALK):
            inside = []
            neighbours = list(self.config.space.neighbours(values))
            rng.shuffle(neighbours)
            for neighbour in neighbours:
                if self._allows(self.config.subject.decode(neighbour)):
                    if self._pair(neighbour) not in known:
                        return neighbour
                    inside.append(neighbour)
            if not inside:
                break
            values = rng.choice(inside)
        raise NothingNew

    def _proposal(self, idea: Idea, recipe: Recipe, number: int) -> Proposal:
        """Return an idea as the store takes it."""
        architecture = self.config.subject.decode(idea.values)
        choices = {p.name: p.choices for p in self.config.space.parameters()}
        return Proposal(
            architecture_id=architecture.id,
            architecture=architecture,
            notation="\n".join(notation(architecture)),
            cost=network.cost(architecture),
            recipe_hash=recipe.hash,
            recipe=None if recipe == self.config.recipe else recipe.to_json(),
            recipe_values=self.config.space.recipe_values(idea.values),
            fidelity=self.fidelity((architecture.id, recipe.hash)),
            params=idea.values,
            distributions={name: CategoricalDistribution(choices[name]) for name in idea.values},
            prediction=idea.expected,
            latency_ms=self.config.predicted_ms(architecture),
            number=number,
        )
