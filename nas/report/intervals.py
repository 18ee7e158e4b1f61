"""Means of a few values: their standard errors, 95 % intervals, and the difference of two."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

LEVEL = 0.95


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of at least two values, and its standard error."""
    return statistics.fmean(values), math.sqrt(statistics.variance(values) / len(values))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the mean of values; None of a single one."""
    if len(values) < 2:
        return None
    mean, error = mean_and_error(values)
    half = error * _times(len(values) - 1)
    return mean - half, mean + half


def welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference of two means; None of a single value.

    Source: Welch, "The generalization of 'Student's' problem", Biometrika 34 (1947).
    """
    if min(len(ours), len(theirs)) < 2:
        return None
    (here, error), (there, other) = mean_and_error(ours), mean_and_error(theirs)
    squared = error**2 + other**2
    if not squared:
        return here - there, here - there
    parts = error**4 / (len(ours) - 1) + other**4 / (len(theirs) - 1)
    half = math.sqrt(squared) * _times(squared**2 / parts)
    return here - there - half, here - there + half


def _times(degrees: float) -> float:
    """Return how many standard errors reach from a mean to an end of its interval."""
    return float(stdtrit(degrees, (1 + LEVEL) / 2))
