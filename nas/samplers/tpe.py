"""Optuna's tree-structured Parzen estimator: Bergstra et al., NeurIPS 2011; multivariate."""

import warnings
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10


class ProposingTPESampler(TPESampler):
    """TPE that proposes for a trial which is not stored yet.

    Optuna's own writes what it proposes to the running trial, for other workers to see. Our trials
    are stored with all their parameters at once, so there is nothing to share and nowhere to.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample what all trials have in common; see Optuna's BaseSampler."""
        if not self._group or self._search_space_group is None:
            return self._sample_relative(study, trial, search_space)
        values: dict[str, Any] = {}
        for group in self._search_space_group.search_spaces:
            wanted = {name: group[name] for name in sorted(group) if name in search_space}
            values |= self._sample_relative(study, trial, wanted)
        return values


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler.

    Trials that run count as poor ones, so that workers spread out; parameters that exist together
    are modelled together.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` has been one since 2021
        return ProposingTPESampler(seed=seed, constant_liar=True, multivariate=True, group=True)
