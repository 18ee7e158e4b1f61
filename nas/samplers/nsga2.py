"""Optuna's NSGA-II: Deb et al., IEEE Transactions on Evolutionary Computation 6, 2002."""

from optuna import Study
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from nas.samplers._history import in_order
from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10
POPULATION = 20


class ProposingNSGAIISampler(NSGAIISampler):
    """NSGA-II that proposes for a trial which is not stored yet.

    Optuna's own writes each trial's generation to the trial, and a generation's parents to the
    study. Here both follow from the order in which the trials ended.
    """

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:  # noqa: ARG002
        """Return the generation that is being filled."""
        return len(_ended(study)) // (self.population_size or 1)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the elite of the generation before and its parents, one after another."""
        size, ended = self.population_size or 1, _ended(study)
        parents: list[FrozenTrial] = []
        for first in range(0, generation * size, size):
            population = ended[first : first + size] + parents
            elite = self._elite_population_selection_strategy(study, population)
            parents = sorted(elite, key=lambda each: each.number)
        return parents


def _ended(study: Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return in_order(trials)


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return ProposingNSGAIISampler(seed=seed, population_size=POPULATION)
