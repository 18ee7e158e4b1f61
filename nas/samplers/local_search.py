"""First-improvement local search: White et al., arXiv:2005.02960, with restarts.

Walk to the first neighbour that is better; where none is, begin anew at a random place.
"""

import math
import random

from optuna.samplers import BaseSampler

from nas.samplers._history import HistorySampler, Params, TrialsBefore, mutate
from nas.samplers._oracle import Oracle

LEARNS = True
OPENING = 10
TRIES = 100  # draws of a random place without a trial


class LocalSearchSampler(HistorySampler):
    """Propose an untried neighbour of the walk's place.

    The place is read from the trials, in the order in which they ended. With several objectives
    each proposal weighs them anew.
    """

    def propose(self, history: TrialsBefore, rng: random.Random) -> Params:
        """Return a random neighbour without a trial, or a random place when all have one."""
        place = standing(history, history.fitness(rng))
        if place is not None:
            tried = history.first_tried(place)
            untried = [change for change in history.changes(place) if change not in tried]
            if untried:
                return mutate(place, untried, rng)
        for _ in range(TRIES):
            proposal = history.random(rng)
            if not history.is_known(proposal):
                break
        return proposal


def standing(history: TrialsBefore, fitness: list[float]) -> Params | None:
    """Return the walk's place after the trials so far; None: it begins anew."""
    place: int | None = None
    over = -1.0  # the trial of the place's last neighbour
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
    """Return the trial of the last neighbour; infinite while a neighbour has no trial."""
    changes = history.changes(params)
    if len(changes) >= len(history.trials):
        return math.inf
    tried = history.first_tried(params)
    return max((tried.get(change, math.inf) for change in changes), default=-1)


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return LocalSearchSampler(seed)
