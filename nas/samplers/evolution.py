"""Regularised evolution: Real et al., arXiv:1802.01548, algorithm 1.

The population is the last trials that ended: the oldest dies, however good it was. Of a few of
them, drawn at random, the best one is the parent; its child differs in one choice.
"""

import math
import random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.samplers._history import Params, TrialsBefore, distributions, draw, generator, mutate
from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10
POPULATION = 20
SAMPLE = 5  # of the population, for one tournament; an individual may be drawn twice
TRIES = 100  # of a child that exists already; after half of them, children's children


class EvolutionSampler(BaseSampler):
    """Propose a mutation of the best of a sample of the last trials.

    It keeps nothing: the same trials and seed give the same proposal. With several objectives each
    tournament weighs them anew. What a mutation activates is drawn at random.
    """

    def __init__(
        self, seed: int, *, population_size: int = POPULATION, sample_size: int = SAMPLE
    ) -> None:
        self.seed = seed
        self.population_size = population_size
        self.sample_size = sample_size

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every choice that any trial had."""
        return dict(distributions(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """Propose a child, or a random assignment while the population is not full."""
        if not search_space:
            return {}
        history = TrialsBefore(study, trial)
        rng = generator(self.seed, study, trial)
        proposal = self._unknown(history, rng)
        return {name: value for name, value in proposal.items() if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter at random; see Optuna's BaseSampler."""
        return draw(param_distribution, generator(self.seed, study, trial, param_name))

    def _unknown(self, history: TrialsBefore, rng: random.Random) -> Params:
        """Return a proposal that no trial had, where one is found."""
        proposal: Params = {}
        for attempt in range(TRIES):
            if len(history.finished()) < self.population_size:
                proposal = history.random(rng)
            elif attempt < TRIES // 2 or not proposal:
                proposal = child(history, self._parent(history, rng), rng)
            else:
                proposal = child(history, proposal, rng)
            if not history.is_known(proposal):
                break
        return proposal

    def _parent(self, history: TrialsBefore, rng: random.Random) -> Params:
        fitness = history.fitness(rng)
        population = history.finished()[-self.population_size :]
        drawn = rng.choices(population, k=self.sample_size)
        best = max(drawn, key=lambda place: (not math.isnan(fitness[place]), fitness[place]))
        return history.choices_of(history.trials[best])


def child(history: TrialsBefore, parent: Params, rng: random.Random) -> Params:
    """Return the parent with one choice changed, each as likely as the others."""
    changes = history.changes(parent)
    names = sorted({name for name, _ in changes})
    if not names:
        return parent
    name = rng.choice(names)
    return mutate(parent, [change for change in changes if change[0] == name], rng)


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return EvolutionSampler(seed)
