"""What the nas sampler keeps of a study's trials: each ended one is read once.

An ended trial never changes, so a proposal costs what is new since the last one, and a few
operations on arrays with an entry per trial. What comes out depends on the trials alone, not on the
order in which they were read: a resumed search proposes what it would have proposed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Floats = NDArray[np.float64]
GAINS = 3  # complete trials it takes to know what the epochs that a pruned trial missed bring
WHOLE, CUT = 1, 2  # trained to the end; cut short
FIRST = 1_024  # entries to begin with
ROW = np.dtype(
    [
        ("kind", np.uint8),  # WHOLE, CUT or neither
        ("score", np.float64),  # the value; of one that was cut short, what it reported last
        ("step", np.int64),  # at which that was
        # Trials that say the same have a head, the first of them, and the last speaks for all.
        ("head", np.uint8),
        ("speaks", np.intp),
    ]
)


class Shown(NamedTuple):
    """What trials showed: their numbers, scores (higher is better), and the scores' variances."""

    numbers: NDArray[np.intp]
    scores: Floats
    extra: Floats


class Record:
    """The ended trials of one study by their numbers, and those that have not ended yet."""

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
        self._heads: dict[Any, int] = {}
        self._whole: set[Any] = set()  # keys
        self._at: dict[int, Floats] = {}  # by step, of those at which trials were cut short

    def read(
        self, study: Study, trials: Sequence[FrozenTrial], identify: Callable[[FrozenTrial], Any]
    ) -> None:
        """Read what is new; `trials` are in the order of their numbers."""
        name = study.study_name
        if name != self.study or len(trials) < self._settled:
            self._forget(name)
            self.sign = 1 if study.directions[0] == StudyDirection.MAXIMIZE else -1
        self.open = []
        begin = self._settled
        if begin and trials[begin - 1].number != begin - 1:
            begin = 0
        for index in range(begin, len(trials)):
            trial = trials[index]
            if trial.number not in self.ended:
                if trial.state.is_finished():
                    self._add(trial, identify(trial))
                else:
                    self.open.append(trial)
            if trial.number == self._settled and trial.number in self.ended:
                self._settled += 1

    def _add(self, trial: FrozenTrial, key: Any) -> None:
        number = trial.number
        while number >= len(self._rows):
            self._grow()
        row = self._rows[number]
        self.ended[number] = trial
        self.keys.add(key)
        value = float(trial.values[0]) if trial.values else math.nan
        if trial.state == TrialState.COMPLETE and math.isfinite(value):
            row["kind"], row["score"] = WHOLE, self.sign * value
            if trial.params:
                self._whole.add(key)
                self._say(number, (WHOLE, key, value), WHOLE)
                cut = self._heads.pop((CUT, key), None)
                if cut is not None:
                    self._rows[cut]["head"] = 0
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            step = max(trial.intermediate_values)
            reached = self.sign * trial.intermediate_values[step]
            row["kind"], row["score"], row["step"] = CUT, reached, step
            if trial.params and math.isfinite(reached) and key not in self._whole:
                self._say(number, (CUT, key), CUT)
        for step, values in self._at.items():
            values[number] = self.sign * trial.intermediate_values.get(step, math.nan)

    def _say(self, number: int, what: Any, kind: int) -> None:
        """Let a trial speak for those that say the same, where it is the last of them."""
        rows, head = self._rows, self._heads.setdefault(what, number)
        last = number if head == number else max(number, int(rows[head]["speaks"]))
        if number < head:
            rows[head]["head"] = 0
            self._heads[what] = head = number
        rows[head]["head"], rows[head]["speaks"] = kind, last

    def _grow(self) -> None:
        size = len(self._rows)
        self._rows = np.append(self._rows, np.zeros(size, dtype=ROW))
        more = np.full(size, math.nan)
        self._at = {step: np.append(values, more) for step, values in self._at.items()}

    def shown(self) -> Shown:
        """Return what was trained to its end, the same once, then what was only ever cut short.

        Of several trials that were, on the rungs of a ladder, the last one went furthest.
        """
        rows = self._rows
        whole, cut = (rows["speaks"][rows["head"] == kind] for kind in (WHOLE, CUT))
        scores, extra = self._expected(cut)
        return Shown(
            np.append(whole, cut),
            np.append(rows["score"][whole], scores),
            np.append(np.zeros(len(whole)), extra),
        )

    def _expected(self, cut: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Add to what a pruned trial reached the gain of others from the same step on.

        That is what complete trials gained on average; its variance is that of the sum's error.
        Where too few of them show it, all that reached the step are laid over all the last values:
        the middles are made equal, and the doubt is as large as they are spread.
        """
        rows = self._rows
        scores, extra = rows["score"][cut], np.zeros(len(cut))
        if not len(cut):
            return scores, extra
        complete, pruned = rows["kind"] == WHOLE, rows["kind"] == CUT
        finals, last = rows["score"][complete], rows["score"][pruned]
        spread = float(np.var(np.append(finals, last[np.isfinite(last)])))
        steps = rows["step"][cut]
        for step in np.unique(steps).tolist():
            at = self._reached(step)
            gain, doubt = _gain(finals, at[complete], at[pruned])
            here = steps == step
            scores[here] += gain
            extra[here] = doubt + 1e-6 * spread + 1e-12
        return scores, extra

    def _reached(self, step: int) -> Floats:
        """Return what each trial had at a step; NaN where it had nothing."""
        values = self._at.get(step)
        if values is None:
            values = np.full(len(self._rows), math.nan)
            for number, trial in self.ended.items():
                values[number] = self.sign * trial.intermediate_values.get(step, math.nan)
            self._at[step] = values
        return values


def _gain(finals: Floats, complete: Floats, pruned: Floats) -> tuple[float, float]:
    """Return how much is gained after a step, and the variance of that; see `_expected`.

    `complete` and `pruned` are what trials had at the step, `finals` what the former had at last.
    """
    gains = finals - complete
    gains = gains[np.isfinite(gains)]
    if len(gains) >= GAINS:
        return float(np.mean(gains)), float(np.var(gains))
    at = np.append(complete, pruned)
    there = at[np.isfinite(at)]
    if not len(finals):
        return 0.0, float(np.var(there))
    return float(np.median(finals) - np.median(there)), float(np.var(there) + np.var(finals))
