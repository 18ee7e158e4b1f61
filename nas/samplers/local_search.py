"""First-improvement local search: White et al., arXiv:2005.02960, with restarts.

Walk to the first neighbour that is better; where none is, begin anew at a random place.
"""

import math
import random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.samplers._history import (
    Change,
    Params,
    TrialsBefore,
    distributions,
    draw,
    generator,
    mutate,
)
from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10
TRIES = 100  # of a random place that was tried before


class LocalSearchSampler(BaseSampler):
    """Propose an untried neighbour of where the walk stands.

    It keeps nothing: where the walk stands is read from the trials, in the order in which they
    ended. With several objectives each proposal weighs them anew.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every choice that any trial had."""
        return dict(distributions(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """Propose a neighbour in random order, or a random place when all were tried."""
        if not search_space:
            return {}
        history = TrialsBefore(study, trial)
        rng = generator(self.seed, study, trial)
        stand = standing(history, history.fitness(rng))
        proposal = None if stand is None else neighbour(history, stand, rng)
        if proposal is None:
            proposal = restart(history, rng)
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


def standing(history: TrialsBefore, fitness: list[float]) -> Params | None:
    """Return where the walk stands after the trials so far; None: it is to begin anew."""
    place: int | None = None
    over = -1.0  # the trial that was the last of the neighbours
    for trial in history.finished():
        if math.isnan(fitness[trial]):
            continue
        if place is None or trial > over or fitness[trial] > fitness[place]:
            place = trial
            over = max(place, _all_tried(history, history.choices_of(history.trials[place])))
    if place is None or over < len(history.trials):
        return None
    return history.choices_of(history.trials[place])


def _all_tried(history: TrialsBefore, params: Params) -> float:
    """Return the trial with which the last neighbour was tried; infinite while one is left."""
    changes = history.changes(params)
    if len(changes) >= len(history.trials):
        return math.inf
    tried = history.first_tried(params)
    return max((tried.get(change, math.inf) for change in changes), default=-1)


def neighbour(history: TrialsBefore, params: Params, rng: random.Random) -> Params | None:
    """Return a neighbour that was not tried; None where there is none."""
    tried = history.first_tried(params)
    left: list[Change] = [change for change in history.changes(params) if change not in tried]
    return mutate(params, left, rng) if left else None


def restart(history: TrialsBefore, rng: random.Random) -> Params:
    """Return a random place, one without a trial where one is found."""
    for _ in range(TRIES):
        place = history.random(rng)
        if not history.is_known(place):
            break
    return place


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return LocalSearchSampler(seed)
