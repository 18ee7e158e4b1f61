"""Every option as often as the others: for spaces small enough to be tried whole."""

from collections import Counter
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from nas.samplers._oracle import Oracle

LEARNS = False
OPENING = 0


class GridSampler(RandomSampler):
    """Take, of a parameter's choices, one that the fewest trials had after the same choices.

    Where no choice depends on another, no assignment comes twice before all came once. What is not
    a choice is sampled at random.
    """

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter; see Optuna's BaseSampler."""
        if isinstance(param_distribution, CategoricalDistribution):
            choices, before = param_distribution.choices, trial.params.items()
            others = (t.params for t in study.get_trials(deepcopy=False) if t.params)
            alike = (p for p in others if param_name in p and before <= p.items())
            taken = Counter(choices.index(params[param_name]) for params in alike)
            least = min(taken[index] for index in range(len(choices)))
            left = tuple(c for index, c in enumerate(choices) if taken[index] == least)
            param_distribution = CategoricalDistribution(left)
        return super().sample_independent(study, trial, param_name, param_distribution)


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return GridSampler(seed=seed)
