"""The trials of a study for a sampler without a model: their order, choices and fitness.

Trials become rows of a matrix, so that a proposal is compared with thousands of them at once. A
sampler that uses nothing but its trials resumes where it stopped.
"""

import random
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Params = dict[str, Any]
Change = tuple[str, Any]  # a parameter and its new value


def choices_of(distributions: Mapping[str, BaseDistribution]) -> dict[str, CategoricalDistribution]:
    """Return the distributions of choices, without those of numbers."""
    return {n: d for n, d in distributions.items() if isinstance(d, CategoricalDistribution)}


def in_order(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials in the order in which they ended; running ones come last."""

    def end(trial: FrozenTrial) -> tuple[bool, datetime, int]:
        ended = trial.datetime_complete
        return ended is None, ended or datetime.max, trial.number

    return sorted(trials, key=end)


def draw(distribution: BaseDistribution, rng: random.Random) -> Any:
    """Draw a value uniformly (of a logarithmic range: uniformly in the logarithm)."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    sampler = RandomSampler(seed=rng.randrange(2**31))
    study, trial = None, None  # the random sampler reads neither
    return sampler.sample_independent(study, trial, "", distribution)  # type: ignore[arg-type]


class TrialsBefore:
    """A study's other trials with parameters, in the order in which they ended.

    `distributions` has every choice of any trial, as the last trial had it.
    """

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        trials = study.get_trials(deepcopy=False)
        others = [each for each in trials if each.params and each.number != trial.number]
        self.trials = in_order(others)
        self.directions = study.directions
        self.distributions = choices_of(
            {name: each for other in others for name, each in other.distributions.items()}
        )
        self._names = {name: column for column, name in enumerate(self.distributions)}
        self._codes = {
            name: {choice: code for code, choice in enumerate(distribution.choices)}
            for name, distribution in self.distributions.items()
        }

    @cached_property
    def _matrix(self) -> NDArray[np.float64]:
        """Each trial's option of each choice, by number; NaN where the trial lacks the choice."""
        matrix = np.full((len(self.trials), len(self._names)), np.nan)
        for row, trial in zip(matrix, self.trials, strict=True):
            self._fill(row, trial.params)
        return matrix

    def finished(self) -> list[int]:
        """Return the indices of the complete trials."""
        trials = enumerate(self.trials)
        return [index for index, trial in trials if trial.state == TrialState.COMPLETE]

    def choices_of(self, trial: FrozenTrial) -> Params:
        """Return the choices of a trial, without numbers."""
        return {name: value for name, value in trial.params.items() if name in self._codes}

    def fitness(self, rng: random.Random) -> list[float]:
        """Return each trial's value, higher is better; NaN for one without a value.

        With several objectives: the sum of the trial's ranks in each, with random weights.
        """
        values = np.full((len(self.trials), len(self.directions)), np.nan)
        for index in self.finished():
            values[index] = self.trials[index].values
        values *= [1 if each == StudyDirection.MAXIMIZE else -1 for each in self.directions]
        if len(self.directions) > 1:
            weights = np.array([rng.expovariate(1) for _ in self.directions])
            ranks = values.argsort(axis=0).argsort(axis=0).astype(float)
            values = np.where(np.isnan(values), np.nan, ranks) * weights
        return [float(value) for value in values.sum(axis=1)]

    def random(self, rng: random.Random) -> Params:
        """Draw a value for every choice of any trial."""
        return {name: draw(each, rng) for name, each in self.distributions.items()}

    def is_known(self, params: Mapping[str, Any]) -> bool:
        """Tell whether a trial has these values.

        A value that the trial lacks belongs to an inactive parameter: it changes nothing.
        """
        row = self._row(params)
        return bool(((self._matrix == row) | np.isnan(self._matrix)).all(axis=1).any())

    def changes(self, params: Mapping[str, Any]) -> list[Change]:
        """Return all changes of one choice."""
        return [
            (name, choice)
            for name, value in params.items()
            for choice in self._codes[name]
            if choice != value
        ]

    def first_tried(self, params: Mapping[str, Any]) -> dict[Change, int]:
        """Return the changes of one choice that trials had, and the index of the first such trial.

        A parameter that a change activates may have any value.
        """
        row = self._row(params)
        differs = (self._matrix != row) & ~np.isnan(self._matrix) & ~np.isnan(row)
        tried: dict[Change, int] = {}
        for index in np.flatnonzero(differs.sum(axis=1) == 1):
            name = list(self._names)[int(differs[index].argmax())]
            tried.setdefault((name, self.trials[index].params[name]), int(index))
        return tried

    def _row(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        row = np.full(len(self._names), np.nan)
        self._fill(row, params)
        return row

    def _fill(self, row: NDArray[np.float64], params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            if name in self._names:
                row[self._names[name]] = self._codes[name].get(value, -1)


class HistorySampler(BaseSampler):
    """A sampler whose proposals follow from the trials before and the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def propose(self, history: TrialsBefore, rng: random.Random) -> Params:
        """Return a value for each choice that the proposal has."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every choice of any trial; see Optuna's BaseSampler."""
        return dict(TrialsBefore(study, trial).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """Propose values for all choices together; see Optuna's BaseSampler."""
        if not search_space:
            return {}
        history = TrialsBefore(study, trial)
        values = self.propose(history, self._generator(history, ""))
        return {name: value for name, value in values.items() if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter at random; see Optuna's BaseSampler."""
        rng = self._generator(TrialsBefore(study, trial), param_name)
        return draw(param_distribution, rng)

    def _generator(self, history: TrialsBefore, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{len(history.trials)}:{name}")


def mutate(params: Params, changes: Sequence[Change], rng: random.Random) -> Params:
    """Return the parameters after one of the changes."""
    name, value = rng.choice(changes)
    return params | {name: value}
