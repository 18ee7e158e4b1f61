"""The trials of a study as a sampler without a model reads them: their order, choices and fitness.

Trials become rows of a matrix, so that a proposal is compared with thousands of them at once. A
sampler that uses nothing but its trials resumes where it stopped.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Params = dict[str, Any]
Change = tuple[str, Any]  # a parameter and its new value


def others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the trials that have parameters, without the one that is being proposed."""
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.params and each.number != trial.number]


def distributions(study: Study, trial: FrozenTrial) -> dict[str, CategoricalDistribution]:
    """Return every choice that any trial had, as the last trial had it."""
    return {
        name: distribution
        for each in others(study, trial)
        for name, distribution in each.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    }


def in_order(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials in the order in which they ended; those that run come last."""
    return sorted(trials, key=_end)


def generator(seed: int, study: Study, trial: FrozenTrial, name: str = "") -> random.Random:
    """Return a generator that depends on the seed and on the number of trials alone."""
    return random.Random(f"{seed}:{len(others(study, trial))}:{name}")


def draw(distribution: BaseDistribution, rng: random.Random) -> Any:
    """Draw a value uniformly (of a logarithmic range: uniformly in the logarithm)."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    sampler = RandomSampler(seed=rng.randrange(2**31))
    study, trial = None, None  # which the random sampler does not look at
    return sampler.sample_independent(study, trial, "", distribution)  # type: ignore[arg-type]


class TrialsBefore:
    """A study's trials in the order in which they ended; those that run come last."""

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        self.trials = in_order(others(study, trial))
        self.directions = study.directions
        self.distributions = distributions(study, trial)
        self._names = {name: column for column, name in enumerate(self.distributions)}
        self._codes = {
            name: {choice: code for code, choice in enumerate(distribution.choices)}
            for name, distribution in self.distributions.items()
        }
        self._matrix = np.full((len(self.trials), len(self._names)), np.nan)
        for row, each in zip(self._matrix, self.trials, strict=True):
            self._fill(row, each.params)

    def finished(self) -> list[int]:
        """Return the places of the trials that have a value."""
        trials = enumerate(self.trials)
        return [place for place, trial in trials if trial.state == TrialState.COMPLETE]

    def choices_of(self, trial: FrozenTrial) -> Params:
        """Return the choices of a trial, without parameters of other kinds."""
        return {name: value for name, value in trial.params.items() if name in self._codes}

    def fitness(self, rng: random.Random) -> list[float]:
        """Return how good each trial is, higher is better; NaN for one without a value.

        With several objectives: the trials' ranks in each, added up with weights drawn anew.
        """
        values = np.full((len(self.trials), len(self.directions)), np.nan)
        for place in self.finished():
            values[place] = self.trials[place].values
        values *= [1 if each == StudyDirection.MAXIMIZE else -1 for each in self.directions]
        if len(self.directions) > 1:
            weights = np.array([rng.expovariate(1) for _ in self.directions])
            ranks = values.argsort(axis=0).argsort(axis=0).astype(float)
            values = np.where(np.isnan(values), np.nan, ranks) * weights
        return [float(value) for value in values.sum(axis=1)]

    def random(self, rng: random.Random) -> Params:
        """Draw a value for every choice that any trial had."""
        return {name: draw(each, rng) for name, each in self.distributions.items()}

    def is_known(self, params: Mapping[str, Any]) -> bool:
        """Tell whether a trial has these values.

        A value that the trial lacks belongs to an inactive parameter: it changes nothing.
        """
        row = self._row(params)
        return bool(((self._matrix == row) | np.isnan(self._matrix)).all(axis=1).any())

    def changes(self, params: Mapping[str, Any]) -> list[Change]:
        """Return every way to change one choice."""
        return [
            (name, choice)
            for name, value in params.items()
            for choice in self._codes[name]
            if choice != value
        ]

    def first_tried(self, params: Mapping[str, Any]) -> dict[Change, int]:
        """Return the changes of one choice that were tried, and the first trial of each.

        A parameter that a change activates may have any value.
        """
        row = self._row(params)
        differs = (self._matrix != row) & ~np.isnan(self._matrix) & ~np.isnan(row)
        tried: dict[Change, int] = {}
        for place in np.flatnonzero(differs.sum(axis=1) == 1):
            name = list(self._names)[int(differs[place].argmax())]
            tried.setdefault((name, self.trials[place].params[name]), int(place))
        return tried

    def _row(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        row = np.full(len(self._names), np.nan)
        self._fill(row, params)
        return row

    def _fill(self, row: NDArray[np.float64], params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            if name in self._names:
                row[self._names[name]] = self._codes[name].get(value, -1)


def mutate(params: Params, changes: Sequence[Change], rng: random.Random) -> Params:
    """Return the parameters after one of the changes."""
    name, value = rng.choice(changes)
    return params | {name: value}


def _end(trial: FrozenTrial) -> tuple[bool, datetime, int]:
    ended = trial.datetime_complete
    return ended is None, ended or datetime.max, trial.number
