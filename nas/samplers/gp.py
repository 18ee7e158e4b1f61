"""Optuna's Gaussian process with a Matérn kernel and expected improvement; slow, needs torch."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import FrozenTrial, TrialState

from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10


class ProposingGPSampler(GPSampler):
    """A GP that proposes for a trial which is not stored yet.

    Optuna's own writes what it proposes to the running trial, for other workers to see. Our trials
    are stored with all their parameters at once, so there is nothing to share and nowhere to.
    """

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Sample what all trials have in common; see Optuna's BaseSampler."""
        trials = study.get_trials(deepcopy=False)
        complete = [each for each in trials if each.state == TrialState.COMPLETE]
        running = [
            each
            for each in trials
            if each.state == TrialState.RUNNING and search_space.keys() <= each.params.keys()
        ]
        if not search_space or len(complete) < self._n_startup_trials:
            return {}
        return self._sample_relative_impl(study, complete, running, search_space)


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler; parameters that are not active in every trial are drawn at random."""
    return ProposingGPSampler(seed=seed, warn_independent_sampling=False)
