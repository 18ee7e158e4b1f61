"""A network's predictions beside the right labels, and the counts that metrics are made of.

Every count is taken of B samples of the images at once: of one in an epoch, of a thousand resamples
for an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.data.dataset import members
from nas.training.targets import Targets, targets_of

Floats = npt.NDArray[np.float64]
BINS = 15  # of calibration: Guo et al., arXiv:1706.04599, section 5


class ClassCounts(NamedTuple):
    """The images of B samples by whether they are and are called of a class, each (B, classes)."""

    true_positives: Floats
    false_positives: Floats
    false_negatives: Floats
    true_negatives: Floats


class Bins(NamedTuple):
    """The images by the probability of their answer: (confidence - 1/15, confidence].

    `images`, and the sums of `right` answers and of `confidence`, are (B, bins); bins without
    images are left out.
    """

    images: Floats
    right: Floats
    confidence: Floats


@dataclass(frozen=True)
class Predictions:
    """Logits (N, classes) and labels (N,) of N images, at least 1, and the classes' names.

    Where an image may have several labels, they are (N, classes) of 0 and 1. `answer` names the
    rule by which an image with one class is answered.
    `weights` (B, N) say how often each image counts in each of B samples; without them every image
    counts once in a single sample. An image whose logits are not finite has equal ones.
    """

    logits: Floats
    labels: npt.NDArray[np.int64]
    classes: Sequence[str] = ()
    weights: Floats | None = None
    answer: str = "likeliest"

    @cached_property
    def samples(self) -> Floats:
        """The weights of the images, (B, N)."""
        return np.ones((1, len(self.labels))) if self.weights is None else self.weights

    @cached_property
    def targets(self) -> Targets:
        """The reading of the logits."""
        return targets_of(self.labels, self.answer)

    @cached_property
    def log_probabilities(self) -> Floats:
        """The logarithm of each class's probability, (N, classes)."""
        return self.targets.log_probabilities(self._finite)

    @cached_property
    def probabilities(self) -> Floats:
        """The probability of each class, (N, classes)."""
        return np.exp(self.log_probabilities)

    @cached_property
    def answers(self) -> npt.NDArray[np.int64]:
        """The answered class of each image, (N,), or whether it has each label, (N, labels)."""
        return np.asarray(self.targets.answer.compute(self.probabilities), np.int64)

    @cached_property
    def log_odds(self) -> Floats:
        """The logarithm of p / (1 - p) for each class, (N, classes).

        It tells apart images whose probabilities round to 1.
        """
        return self.targets.log_odds(self._finite)

    @cached_property
    def _finite(self) -> Floats:
        """The logits in double precision."""
        finite = np.isfinite(self.logits).all(1, keepdims=True)
        return np.where(finite, self.logits, 0.0).astype(np.float64)

    @cached_property
    def members(self) -> npt.NDArray[np.bool_]:
        """Whether an image has each class, (N, classes)."""
        return members(self.labels, self.logits.shape[1])

    @cached_property
    def called(self) -> npt.NDArray[np.bool_]:
        """Whether an image is called of each class, (N, classes)."""
        return members(self.answers, self.logits.shape[1])

    @cached_property
    def unrolled(self) -> "Predictions":
        """The images with one class each: of several labels, an image comes once for each."""
        logits, labels = self.targets.unrolled(self._finite, self.labels)
        if labels is self.labels:
            return self
        times = len(labels) // len(self.labels)
        return Predictions(logits, labels, weights=np.repeat(self.samples, times, axis=1))

    @cached_property
    def confusion(self) -> Floats:
        """The images by label (rows) and answer (columns), (B, classes, classes).

        There is none of several labels.
        """
        count = self.logits.shape[1]
        cells, sums = _grouped(self.samples, self.labels * count + self.answers)
        matrix = np.zeros((len(self.samples), count * count))
        matrix[:, cells] = sums
        return matrix.reshape(-1, count, count)

    @cached_property
    def counts(self) -> ClassCounts:
        """Each class's images and answers against the rest."""
        right = self.samples @ (self.members & self.called)
        labelled, answered = self.samples @ self.members, self.samples @ self.called
        total = self.samples.sum(1, keepdims=True)
        wrong, missed = answered - right, labelled - right
        return ClassCounts(right, wrong, missed, total - right - wrong - missed)

    @cached_property
    def labelled(self) -> npt.NDArray[np.intp]:
        """The classes that have images."""
        return np.flatnonzero(self.members.any(0))

    @cached_property
    def named(self) -> npt.NDArray[np.intp]:
        """The classes that have images or are an answer."""
        return np.flatnonzero((self.members | self.called).any(0))

    @cached_property
    def bins(self) -> Bins:
        """The images by the probability of their answer, in 15 bins of equal width."""
        confidence = self.probabilities[range(len(self.answers)), self.answers]
        right = self.answers == self.labels
        number = np.ceil(confidence * BINS)
        values = np.stack([np.ones(len(right)), right, confidence])
        _, sums = _grouped((values[:, None] * self.samples).reshape(-1, len(right)), number)
        return Bins(*sums.reshape(3, len(self.samples), -1))

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean of the images' values (N,) in each sample, (B,)."""
        return np.asarray(self.samples @ values / self.samples.sum(1))

    def ranked(self, label: int) -> tuple[Floats, Floats, Floats]:
        """Return a class's positive and negative images by its probability, the highest first.

        Positives and negatives: (B, levels), of the images that share a probability; then the log
        odds of the levels, (levels,).
        """
        if label not in self._ranked:
            positive = self.members[:, label]
            split = np.concatenate([self.samples * positive, self.samples * ~positive])
            levels, sums = _grouped(split, -self.log_odds[:, label])
            positives, negatives = np.split(sums, 2)
            self._ranked[label] = positives, negatives, -levels
        return self._ranked[label]

    @cached_property
    def _ranked(self) -> dict[int, tuple[Floats, Floats, Floats]]:
        """The classes that were ranked, for the next metric."""
        return {}


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions on several sets of images as those on all of them, each image once."""
    logits = np.concatenate([part.logits for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return Predictions(logits, labels, parts[0].classes, answer=parts[0].answer)


def _grouped(weights: Floats, keys: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Floats]:
    """Return the distinct keys of N images, in order, and the sums of weights (B, N) for each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[starts], np.add.reduceat(weights[:, order], starts, axis=1)
