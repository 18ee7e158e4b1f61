"""The formulas of the metrics, of B samples of the images at once. Importing it imports no NumPy.

Those of counts return (B, classes), the others (B,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.training.metrics.predictions import ClassCounts, Floats, Predictions


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where the whole is 0."""
    import numpy as np

    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def mean(values: Floats) -> Floats:
    """Return the mean over the classes, (B,)."""
    import numpy as np

    return np.asarray(values.mean(1))


def precision(counts: ClassCounts) -> Floats:
    """Return the share of a class's answers that are right; 0 without one."""
    return ratio(counts.true_positives, counts.true_positives + counts.false_positives)


def recall(counts: ClassCounts) -> Floats:
    """Return the share of a class's images that are found; 0 without one."""
    return ratio(counts.true_positives, counts.true_positives + counts.false_negatives)


def specificity(counts: ClassCounts) -> Floats:
    """Return the share of the other images that are not called a class; 0 without one."""
    return ratio(counts.true_negatives, counts.true_negatives + counts.false_positives)


def f(beta: float, counts: ClassCounts) -> Floats:
    """Return F-beta: recall weighs beta times as much as precision (van Rijsbergen, 1979)."""
    right = (1 + beta**2) * counts.true_positives
    return ratio(right, right + beta**2 * counts.false_negatives + counts.false_positives)


def auroc(given: Predictions, label: int) -> Floats:
    """Return the area under the ROC curve, (B,); 0.5 without images in or outside the class."""
    import numpy as np

    positives, negatives, _ = given.ranked(label)
    before = positives.cumsum(1) - positives / 2
    pairs = positives.sum(1) * negatives.sum(1)
    return np.where(pairs > 0, ratio((before * negatives).sum(1), pairs), 0.5)


def average_precision(given: Predictions, label: int) -> Floats:
    """Return the mean precision at each positive image, (B,); 0 without one."""
    positives, negatives, _ = given.ranked(label)
    right = positives.cumsum(1)
    precisions = ratio(right, right + negatives.cumsum(1))
    return ratio((positives * precisions).sum(1), positives.sum(1))


def by_counts(formula: Callable[[ClassCounts], Floats], given: Predictions) -> Floats:
    """Return a formula of counts for each class, (B, classes)."""
    return formula(given.counts)


def by_ranks(area: Callable[[Predictions, int], Floats], given: Predictions) -> Floats:
    """Return the area under a curve for each class, (B, classes)."""
    import numpy as np

    return np.stack([area(given, label) for label in range(given.logits.shape[1])], axis=1)


def kappa(power: int, given: Predictions) -> Floats:
    """Return 1 - observed / expected disagreement, (B,); 0 where chance can't disagree.

    A wrong answer disagrees by its distance, in classes, to this power: Cohen, Psychological
    Bulletin 70 (1968), 213-220.
    """
    import numpy as np

    labels = np.arange(given.logits.shape[1])
    distance = np.abs(labels[:, None] - labels)
    cost = (distance > 0) * distance**power
    labelled, answered = given.confusion.sum(2), given.confusion.sum(1)
    expected = labelled[:, :, None] * answered[:, None] / given.samples.sum(1)[:, None, None]
    by_chance = (cost * expected).sum((1, 2))
    return ratio(by_chance - (cost * given.confusion).sum((1, 2)), by_chance)


def matthews(given: Predictions) -> Floats:
    """Return the correlation of Gorodkin, Comp. Biol. Chem. 28 (2004), (B,); 0 for one answer.

    With two classes it is Matthews'.
    """
    total, right = given.samples.sum(1), given.counts.true_positives.sum(1)
    labelled, answered = given.confusion.sum(2), given.confusion.sum(1)
    spread = (total**2 - (labelled**2).sum(1)) * (total**2 - (answered**2).sum(1))
    return ratio(total * right - (labelled * answered).sum(1), spread**0.5)


def accuracy(given: Predictions) -> Floats:
    """Return the share of right answers, of several labels the mean over them."""
    each = given.unrolled
    return each.mean(each.answers == each.labels)


def balanced_accuracy(given: Predictions) -> Floats:
    """Return the mean recall of the classes that have images."""
    counts = given.counts
    return mean(given.targets.balanced(recall(counts), specificity(counts))[:, given.labelled])


def log_loss(given: Predictions) -> Floats:
    """Return the mean of -ln of the right class's probability."""
    given = given.unrolled
    return given.mean(-given.log_probabilities[range(len(given.labels)), given.labels])


def brier(given: Predictions) -> Floats:
    """Return Brier's score, Mon. Wea. Rev. 78 (1950): 0 to 2, the sum over all classes."""
    given = given.unrolled
    right = given.probabilities[range(len(given.labels)), given.labels]
    return given.mean((given.probabilities**2).sum(1) - 2 * right + 1)


def calibration_error(given: Predictions) -> Floats:
    """Return the expected calibration error of Guo et al., arXiv:1706.04599, in 15 equal bins."""
    bins = given.unrolled.bins
    return ratio(abs(bins.right - bins.confidence).sum(1), bins.images.sum(1))


def majority_rate(given: Predictions) -> Floats:
    """Return the accuracy of the best constant answer."""
    counts = given.counts
    images = counts.true_positives + counts.false_negatives
    return given.targets.majority(images / given.samples.sum(1, keepdims=True))


def different_answers(given: Predictions) -> Floats:
    """Return the number of different answers."""
    counts = given.counts
    answered = counts.true_positives + counts.false_positives
    return given.targets.different(answered, given.log_odds)
