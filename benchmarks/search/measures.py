"""What a run is worth: regret, evaluations to a target, hypervolume; and how sure that is."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap, spearmanr

from benchmarks.search.goal import Goal
from benchmarks.search.run import Run
from benchmarks.search.table import Floats
from nas import pareto

WITHIN = 0.001  # of the best row's measured score
TOP = 0.005  # of the rows
RESAMPLES = 2000
Statistic = Callable[[Floats], Floats]  # (resamples, runs) -> (resamples,)


def regret(goal: Goal, run: Run, budget: int) -> float:
    """Return what the row that the search would hand over lacks to the best row.

    It is the best by the score that the sampler saw; the first of equals.
    """
    rows = run.rows[:budget]
    chosen = rows[int(np.argmax(goal.seen[rows]))]
    return float(goal.true.max() - goal.true[chosen])


def within(goal: Goal) -> float:
    """Return the score of a row within 0.1 % of the best."""
    best = float(goal.true.max())
    return best - WITHIN * abs(best)


def top(goal: Goal) -> float:
    """Return the score of the last of the best 0.5 % of rows, at least one row."""
    rows = max(1, math.ceil(TOP * len(goal.table)))
    return float(np.sort(goal.true)[-rows])


def evaluations_to(goal: Goal, run: Run, score: float, last: int) -> float:
    """Return after how many evaluations a row had this score; infinite if not until the last."""
    reached = np.flatnonzero(goal.true[run.rows[:last]] >= score)
    return float(reached[0]) + 1 if len(reached) else math.inf


def hypervolume(goal: Goal, rows: Sequence[int]) -> float:
    """Return the area under rows' (test score, log macs), as a part of that under all rows.

    The reference is the table's worst test score and its largest macs.
    """
    area = pareto.hypervolume([goal.points[row] for row in rows], goal.reference)
    return area / goal.whole_area


def chosen(goal: Goal, run: Run, budget: int) -> list[int]:
    """Return the rows that the search would hand over: the front by the score it saw."""
    rows = run.rows[:budget]
    seen = [goal.points[row]._replace(value=float(goal.seen[row])) for row in rows]
    return [rows[index] for index in pareto.front(seen)]


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean with its interval."""
    return {"mean": float(np.mean(values)), "interval": interval(values, lambda x: x.mean(axis=1))}


def quantile(values: Sequence[float], share: float) -> dict[str, Any]:
    """Return by when this share of runs had it, with its interval; infinite: not by the end."""

    def at(drawn: Floats) -> Floats:
        return np.asarray(np.quantile(drawn, share, axis=-1, method="inverted_cdf"))

    return {"value": float(at(np.array(values))), "interval": interval(values, at)}


def interval(values: Sequence[float], statistic: Statistic) -> list[float] | None:
    """Return the 95 % interval of a statistic over runs; None where there is one run only.

    The percentiles of a bootstrap (Efron, Annals of Statistics 7, 1979) with a fixed seed.
    """
    if len(values) < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = np.array(values)[rng.integers(len(values), size=(RESAMPLES, len(values)))]
    ends = np.quantile(statistic(drawn), (0.025, 0.975), method="inverted_cdf")
    return [float(end) for end in ends]


def rank_correlation(scores: Sequence[float], truth: Sequence[float]) -> list[float]:
    """Return Spearman's, and the ends of its 95 % interval from a bootstrap over the networks."""
    ends = bootstrap(
        (scores, truth), lambda a, b: spearmanr(a, b).statistic, paired=True,
        vectorized=False, n_resamples=RESAMPLES, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    numbers = (spearmanr(scores, truth).statistic, ends.low, ends.high)
    return [round(float(each), 3) for each in numbers]
