"""The record that the nas sampler keeps of a study's trials: each ended one is read once.

An ended trial never changes, so a proposal costs the reading of the trials since the last one, and
a few operations on arrays with an entry per trial. The result depends on the trials alone, not on
the order in which they were read: a resumed search proposes as if it had not been interrupted.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.pruners.curves import forecast

Floats = NDArray[np.float64]
GAINS = 3  # complete trials from which a pruned trial's end is forecast
WHOLE, CUT = 1, 2  # trained to the end; cut short
ERROR, LOSS = "metric_error", "loss"  # among a trial's metrics: see `nas.training.metrics`
FIRST = 1_024  # entries to begin with
ROW = np.dtype(
    [
        ("kind", np.uint8),  # WHOLE, CUT or neither
        ("score", np.float64),  # the value; of a trial that was cut short, its last report
        ("step", np.int64),  # the step of that report
        ("factor", np.float64),  # the cost's part in the score: the metric is multiplied by it
        ("error", np.float64),  # the standard error of a whole training's metric; 0: unknown
        ("loss", np.float64),  # its log loss; NaN: unknown
    ]
)


class Shown(NamedTuple):
    """Results: the trials' numbers and scores (higher is better), and how uncertain they are.

    `extra` is the variance of an expected score, 0 of a whole training's; `errors` and `losses` are
    whole trainings' standard errors of the metric, 0 where unknown, and log losses, NaN where so.
    """

    numbers: NDArray[np.intp]
    scores: Floats
    extra: Floats
    errors: Floats
    losses: Floats


class Record:
    """The ended trials of one study by their numbers, and the trials that have not ended yet."""

    def __init__(self) -> None:
        self._forget("")

    def _forget(self, study: str) -> None:
        self.study = study
        self.sign = 1
        self.ended: dict[int, FrozenTrial] = {}
        self.open: list[FrozenTrial] = []
        self.keys: set[Any] = set()
        self._settled = 0  # all trials below this number have ended
        self._rows = np.zeros(FIRST, dtype=ROW)
        # The first and the last number of the trials with the same result: by architecture and
        # value, and by architecture for those that were only ever cut short.
        self._whole: dict[tuple[Any, float], tuple[int, int]] = {}
        self._cut: dict[Any, tuple[int, int]] = {}
        self._trained: set[Any] = set()  # keys of architectures that were trained to the end
        self._at: dict[int, Floats] = {}  # each trial's report by step, for the last steps of cuts

    def read(
        self,
        study: Study,
        trials: Sequence[FrozenTrial],
        identify: Callable[[FrozenTrial], Any],
        factor: Callable[[FrozenTrial], float],
    ) -> None:
        """Read the trials that have ended since; `trials` are in the order of their numbers.

        A score is the metric times the `factor` of its trial.
        """
        name = study.study_name
        if name != self.study or len(trials) < self._settled:
            self._forget(name)
            self.sign = 1 if study.directions[0] == StudyDirection.MAXIMIZE else -1
        self.open = []
        begin = self._settled
        if begin and trials[begin - 1].number != begin - 1:
            begin = 0
        for trial in trials[begin:]:
            if trial.number not in self.ended:
                if trial.state.is_finished():
                    self._add(trial, identify(trial), factor)
                else:
                    self.open.append(trial)
            if trial.number == self._settled and trial.number in self.ended:
                self._settled += 1

    def _add(self, trial: FrozenTrial, key: Any, factor: Callable[[FrozenTrial], float]) -> None:
        number = trial.number
        while number >= len(self._rows):
            self._grow()
        row = self._rows[number]
        self.ended[number] = trial
        self.keys.add(key)
        value = float(trial.values[0]) if trial.values else math.nan
        if trial.state == TrialState.COMPLETE and math.isfinite(value):
            row["kind"], row["score"], row["factor"] = WHOLE, self.sign * value, factor(trial)
            row["error"], row["loss"] = _measured(trial, ERROR, 0.0), _measured(trial, LOSS)
            if trial.params:
                self._trained.add(key)
                self._cut.pop(key, None)
                _join(self._whole, (key, value), number)
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            step = max(trial.intermediate_values)
            reached = self.sign * trial.intermediate_values[step]
            row["kind"], row["score"], row["step"] = CUT, reached, step
            row["factor"] = factor(trial)
            if trial.params and math.isfinite(reached) and key not in self._trained:
                _join(self._cut, key, number)
        for step, values in self._at.items():
            values[number] = self.sign * trial.intermediate_values.get(step, math.nan)

    def _grow(self) -> None:
        size = len(self._rows)
        self._rows = np.append(self._rows, np.zeros(size, dtype=ROW))
        more = np.full(size, math.nan)
        self._at = {step: np.append(values, more) for step, values in self._at.items()}

    def shown(self) -> Shown:
        """Return the different results of whole trainings, then those of architectures without one.

        Of several trials on the rungs of a ladder, the last one went furthest.
        """
        whole, cut = (
            np.array([last for _, last in sorted(spans.values())], dtype=np.intp)
            for spans in (self._whole, self._cut)
        )
        scores, extra = self._expected(cut)
        return Shown(
            np.append(whole, cut),
            np.append(self._rows["score"][whole], scores),
            np.append(np.zeros(len(whole)), extra),
            np.append(self._rows["error"][whole], np.zeros(len(cut))),
            np.append(self._rows["loss"][whole], np.full(len(cut), math.nan)),
        )

    def _expected(self, cut: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return the scores that pruned trials would have ended with, and their variances.

        They are forecast from the complete trials: see `nas.pruners.curves`. Where too few of them
        reported at the step, all reports at the step are laid over all final scores: the medians
        are made equal, and the variance is the sum of both.
        """
        rows = self._rows
        scores, extra = rows["score"][cut], np.zeros(len(cut))
        if not len(cut):
            return scores, extra
        complete, pruned = rows["kind"] == WHOLE, rows["kind"] == CUT
        finals, last = rows["score"][complete], rows["score"][pruned]
        spread = float(np.var(np.append(finals, last[np.isfinite(last)])))
        factors, steps = rows["factor"], rows["step"][cut]
        for step in np.unique(steps).tolist():
            at, here = self._reached(step), steps == step
            whole = complete & np.isfinite(at)
            if whole.sum() >= GAINS:
                reached = np.column_stack([at, self._reached(step - 1)])
                known, own = factors[whole], factors[cut[here]]
                told = forecast(
                    reached[whole] / known[:, None],
                    rows["score"][whole] / known,
                    reached[cut[here]] / own[:, None],
                )
                ends, variances = told.values()
                scores[here], extra[here] = ends * own, variances * own**2
            else:
                gain, extra[here] = _lift(finals, np.append(at[complete], at[pruned]))
                scores[here] += gain
        return scores, extra + 1e-6 * spread + 1e-12

    def _reached(self, step: int) -> Floats:
        """Return each trial's report at a step; NaN where there is none."""
        if step not in self._at:
            values = np.full(len(self._rows), math.nan)
            for number, trial in self.ended.items():
                values[number] = self.sign * trial.intermediate_values.get(step, math.nan)
            self._at[step] = values
        return self._at[step]


def _measured(trial: FrozenTrial, name: str, unknown: float = math.nan) -> float:
    """Return one of the metrics that are stored with a trial."""
    value = trial.user_attrs.get("metrics", {}).get(name)
    return unknown if value is None else float(value)


def _join(spans: dict[Any, tuple[int, int]], result: Any, number: int) -> None:
    """Widen the span of the trials with a result to this number."""
    first, last = spans.get(result, (number, number))
    spans[result] = min(first, number), max(last, number)


def _lift(finals: Floats, reports: Floats) -> tuple[float, float]:
    """Return the median of final scores less that of reports at a step, and its variance."""
    reports = reports[np.isfinite(reports)]
    if not len(finals):
        return 0.0, float(np.var(reports))
    gain = float(np.median(finals) - np.median(reports))
    return gain, float(np.var(reports) + np.var(finals))
