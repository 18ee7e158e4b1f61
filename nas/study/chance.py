"""How much of a validation metric may be chance: its standard error, and the score of no skill.

All numbers are gains, 0..1. A metric that no formula here fits has the standard error of a share of
right answers.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from nas.report.intervals import LEVEL

Counts = npt.NDArray[np.intp]
JUDGED = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")  # metrics with a score of no skill


def standard_error(metric: str, gain: float, images: Counts) -> float:
    """Return the standard error of a metric that was measured on so many images of each class.

    The binomial one; for a mean over the classes that of the mean of their recalls; for AUROC that
    of Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    present = images[images > 0]
    if metric.partition(":")[0] in ("auroc", "average_precision") and len(present) > 1:
        errors = [_auroc_error(max(gain, 0.5), each, present.sum() - each) for each in present]
        return float(np.mean(errors))  # the classes' areas move together: an upper bound
    if metric.startswith(("balanced", "macro")):
        weight = (1 / present).sum() / len(present) ** 2
    else:
        weight = 1 / present.sum()
    return math.sqrt(gain * (1 - gain) * weight)


def _auroc_error(area: float, positives: int, negatives: int) -> float:
    by_positive, by_negative = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (positives - 1) * (by_positive - area**2) + (negatives - 1) * (by_negative - area**2)
    return math.sqrt((area * (1 - area) + spread) / (positives * negatives))


def no_skill(metric: str, images: Counts) -> float:
    """Return the value of one of the `JUDGED` metrics for always giving the most frequent class."""
    rate, classes = images.max() / images.sum(), np.count_nonzero(images)
    values = {
        "accuracy": rate,
        "balanced_accuracy": 1 / classes,
        "macro_f1": 2 * rate / (1 + rate) / classes,
        "auroc": 0.5,
    }
    return float(values[metric])


def best_of(networks: int) -> float:
    """Return the standard errors that the best of networks without skill stays under, 19 in 20.

    Source: Šidák's correction for several comparisons (1967).
    """
    return float(ndtri(LEVEL ** (1 / max(1, networks))))
