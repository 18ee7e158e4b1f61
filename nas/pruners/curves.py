"""Stop a training that will hardly beat the best so far: its end is forecast from its own epochs.

Learning rates fall by a cosine, so that most is gained near the end and no power law of the epochs
holds. What is gained from an epoch to the end is therefore learnt from the study's whole curves: a
Bayesian linear regression on the metric at that epoch and on its last step (Gelman et al., Bayesian
Data Analysis, 3rd edition, section 14.2), both as log-odds. The slopes are pooled towards 0, where
the gain is the mean gain of the others; the forecast is Student's t, which is wide while there are
few curves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import stdtr

from nas.pruners import Factor

LADDER = False
BRACKETS = False
LEVEL = 0.05  # the share of the trainings that would beat the best which may be stopped
FEWEST = 5  # whole curves from which an end is forecast
POOLED = 2.0  # curves that the prior of the slopes counts for
NOISE = 2.0  # curves that the prior of the noise counts for: it is the gains' own variance
HEAVY = 20.0  # degrees of freedom of a chance, at most: some networks rise later than all others
EDGE = 0.005  # what keeps log-odds finite at 0 and 1: half an image of a hundred
Floats = NDArray[np.float64]


class Forecast(NamedTuple):
    """Student's t of the final values of curves, on the scale of `_stretched` if they are shares.

    `means` and `scales` are (m,), `freedom` is the number of degrees of freedom.
    """

    means: Floats
    scales: Floats
    freedom: float
    shares: bool

    def chances(self, best: float | Floats) -> Floats:
        """Return the probability of each final value to be above the best: 0 if no share can be."""
        if self.shares:
            best = np.where(np.asarray(best) > 1, np.inf, _stretched(np.clip(best, 0, 1)))
        return np.asarray(stdtr(min(self.freedom, HEAVY), (self.means - best) / self.scales))

    def values(self) -> tuple[Floats, Floats]:
        """Return the final values that are expected, and their variances."""
        variances = self.scales**2 * self.freedom / (self.freedom - 2)
        if not self.shares:
            return self.means, variances
        middle = 1 / (1 + np.exp(-self.means))
        slopes = middle * (1 - middle) * (1 + 2 * EDGE)
        return middle * (1 + 2 * EDGE) - EDGE, slopes**2 * variances


def forecast(reached: Floats, finals: Floats, asked: Floats) -> Forecast:
    """Forecast the final values of the curves `asked` (m, 2) from whole ones.

    `reached` (n, 2) has the whole curves' values at an epoch and at the one before it, `finals`
    (n,) their last ones; n is at least 3. A value before it that is unknown is NaN.
    """
    together = np.concatenate([reached.ravel(), finals, asked.ravel()])
    shares = not bool(((together < 0) | (together > 1)).any())
    if shares:
        reached, finals, asked = _stretched(reached), _stretched(finals), _stretched(asked)
    gains = finals - reached[:, 0]
    features, new = _features(reached), _features(asked)
    centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x, new, y = (features - centre) / scale, (new - centre) / scale, gains - gains.mean()
    covariance = np.linalg.inv(x.T @ x + POOLED * np.eye(2))
    slopes = covariance @ x.T @ y
    freedom = len(finals) - 1 + NOISE
    noise = (NOISE * y.var() + max(0.0, float(y @ (y - x @ slopes)))) / freedom
    spread = 1 + 1 / len(finals) + ((new @ covariance) * new).sum(axis=1)
    means = asked[:, 0] + gains.mean() + new @ slopes
    return Forecast(means, np.sqrt(np.maximum(noise * spread, 1e-18)), freedom, shares)


def _features(reached: Floats) -> Floats:
    """Return the value at an epoch and its last step, 0 where that is unknown."""
    steps = reached[:, 0] - reached[:, 1]
    return np.column_stack([reached[:, 0], np.where(np.isnan(steps), 0.0, steps)])


def _stretched(values: Floats) -> Floats:
    """Return log-odds: near 1 the same share of the errors is gained in smaller steps."""
    return np.asarray(np.log((values + EDGE) / (1 + EDGE - values)))


class CurvesPruner(BasePruner):
    """Stops a trial whose chance to beat the best is under `level` of that of a new training.

    Of n + 1 trainings each is as likely to be the best, so a new one beats the best of n with a
    chance of 1 / (n + 1) if the sampler has learnt nothing, else of more. A training is stopped at
    less than `level` of that: then not more than this share of those that would have won is lost,
    as far as chances are calibrated. A fixed chance would not do: after 20 trainings each new one
    has less than 5 %. Nothing is stopped before `FEWEST` trials are complete.

    A trial's values are its metric times its `factor`. `last_chance` is that of the last trial that
    was judged, `reason` says why it was stopped; both are None where that was not so.
    """

    def __init__(self, factor: Factor = lambda _: 1.0, *, level: float = LEVEL) -> None:
        self.factor, self.level = factor, level
        self.reason: str | None = None
        self.last_chance: float | None = None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Judge a trial by its last report; see Optuna's BasePruner."""
        self.reason = self.last_chance = None
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        self.last_chance = chance = self.chance(study, trial, ended)
        usual = 1 / (len(ended) + 1)
        if chance is None or chance >= self.level * usual:
            return False
        self.reason = (
            f"after epoch {trial.last_step} it beats the best so far with a chance of {chance:.2g},"
            f" a new network with {usual:.2g} or more"
        )
        return True

    def chance(
        self, study: Study, trial: FrozenTrial, ended: Sequence[FrozenTrial]
    ) -> float | None:
        """Return a trial's chance to beat the best complete one; None while it can't be known."""
        step = trial.last_step
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        complete = [t for t in ended if t.state == TrialState.COMPLETE]
        whole = [each for each in complete if step in each.intermediate_values]
        if step is None or len(whole) < FEWEST:
            return None
        factors = np.array([self.factor(each) for each in whole])
        finals = sign * np.array([each.value for each in whole]) / factors
        own = self.factor(trial)
        reached = sign * reports(whole, step) / factors[:, None]
        told = forecast(reached, finals, sign * reports([trial], step) / own)
        best = max(sign * each.values[0] for each in complete)
        return float(told.chances(best / own)[0])


def reports(trials: Sequence[FrozenTrial], step: int) -> Floats:
    """Return the trials' reports (n, 2) at a step and at the one before it, NaN without one."""
    return np.array(
        [[t.intermediate_values.get(at, np.nan) for at in (step, step - 1)] for t in trials]
    )


def make(epochs: int, factor: Factor) -> BasePruner:  # noqa: ARG001
    """Make the pruner."""
    return CurvesPruner(factor)
