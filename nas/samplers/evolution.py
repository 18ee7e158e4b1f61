"""Regularised evolution: Real et al., arXiv:1802.01548, algorithm 1.

The population is the last trials that ended: the oldest dies, however good it was. Of a few of
them, drawn at random, the best one is the parent; its child differs in one choice.
"""

import math
import random

from optuna.samplers import BaseSampler

from nas.samplers._history import HistorySampler, Params, TrialsBefore, mutate
from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10
POPULATION = 20
SAMPLE = 5  # of the population, for one tournament; an individual may be drawn twice
TRIES = 100  # of a child that exists already; after half of them, children's children


class EvolutionSampler(HistorySampler):
    """Propose a mutation of the best of a sample of the last trials.

    With several objectives each tournament weighs them anew. A choice that a mutation activates is
    drawn at random.
    """

    def __init__(
        self, seed: int, *, population_size: int = POPULATION, sample_size: int = SAMPLE
    ) -> None:
        super().__init__(seed)
        self.population_size = population_size
        self.sample_size = sample_size

    def propose(self, history: TrialsBefore, rng: random.Random) -> Params:
        """Return a child that no trial had; a random one while the population is not full."""
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
        sample = rng.choices(population, k=self.sample_size)
        best = max(sample, key=lambda index: (not math.isnan(fitness[index]), fitness[index]))
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
