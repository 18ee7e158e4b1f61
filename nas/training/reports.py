"""Reports on predictions as plain data: confusion matrix, curves, classes, bootstrap intervals."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from nas.data.dataset import strata
from nas.training.metrics import CLASS_METRICS, METRICS, metric, names
from nas.training.metrics.predictions import Floats, Predictions
from nas.training.targets import rows_of

RESAMPLES = 1000
LEVEL = 0.95
POINTS = 200  # of a curve, at most
FEW_RESAMPLES = 100  # for a standard error
_CELLS = 200_000  # weights of images that are in memory at once


class Estimate(NamedTuple):
    """A metric's value, and the ends of its 95 % interval over the images."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """The two curves of a class against the rest, from the highest threshold to the lowest.

    `thresholds` are probabilities; `precision` is that at `true_positive_rate`, the recall.
    """

    thresholds: list[float]
    false_positive_rate: list[float]
    true_positive_rate: list[float]
    precision: list[float]


@dataclass(frozen=True)
class ClassReport:
    """A class: its images and its answers, and how many are both; its metrics, its curves."""

    name: str
    images: int
    answers: int
    right: int
    metrics: dict[str, Estimate]
    curve: Curve | None


class ReliabilityBin(NamedTuple):
    """Images whose answers have about the same probability: their number, its mean, accuracy.

    Of several labels each answer of an image counts.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Report:
    """What a network's predictions on a split are worth.

    `confusion` counts the images by label (rows) and answer (columns); it is empty where an image
    may have several labels. A class has no curve where all or none of the images are its.
    """

    images: int
    metrics: dict[str, Estimate]
    classes: list[ClassReport]
    confusion: list[list[int]]
    reliability: list[ReliabilityBin]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data; an interval is value, low, high."""
        plain = asdict(self)
        plain["metrics"] = _plain(self.metrics)
        for written, each in zip(plain["classes"], self.classes, strict=True):
            written["metrics"] = _plain(each.metrics)
        plain["reliability"] = [each._asdict() for each in self.reliability]
        return plain


def _plain(metrics: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: estimate._asdict() for name, estimate in metrics.items()}


def report(given: Predictions, seed: int = 0, resamples: int = RESAMPLES) -> Report:
    """Return the report of predictions with named classes; the intervals repeat by the seed."""
    task = given.targets.task
    found = estimates(given, names(given.classes, task), seed, resamples)
    bins = given.unrolled.bins
    counts = [given.members, given.called, given.members & given.called]
    images, answers, right = (each.sum(0).tolist() for each in counts)
    return Report(
        images=len(given.labels),
        metrics={name: found[name] for name in rows_of(METRICS, task)},
        classes=[
            ClassReport(
                name=name,
                images=images[label],
                answers=answers[label],
                right=right[label],
                metrics={kind: found[f"{kind}:{name}"] for kind in CLASS_METRICS},
                curve=curve(given, label),
            )
            for label, name in enumerate(given.classes)
        ],
        confusion=given.confusion[0].astype(int).tolist() if task == "classes" else [],
        reliability=[
            ReliabilityBin(int(count), confidence / count, right / count)
            for count, right, confidence in zip(*(each[0] for each in bins), strict=True)
        ],
    )


def estimates(
    given: Predictions, wanted: Iterable[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Return metrics with their 95 % percentile intervals.

    Each stratum's images are resampled among themselves (stratified bootstrap), so that a rare
    class is in every resample: Efron and Tibshirani, An Introduction to the Bootstrap (1993),
    chapter 13.
    """
    rows = {name: metric(name, given.classes) for name in wanted}
    values: dict[str, list[Floats]] = {name: [] for name in rows}
    for weights in _resampled(strata(given.labels), seed, resamples):
        resample = replace(given, weights=weights)
        for name, row in rows.items():
            values[name].append(row.compute(resample))
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return {
        name: Estimate(row.value(given), *np.quantile(np.concatenate(values[name]), tails).tolist())
        for name, row in rows.items()
    }


def gain_error(given: Predictions, name: str) -> float:
    """Return the standard error of a metric as the objective takes it, by the same bootstrap.

    It is at least what one of the images counts: a resample knows of no other mistakes.
    """
    row = metric(name, given.classes)
    values = [
        row.gain(float(value))
        for weights in _resampled(strata(given.labels), 0, FEW_RESAMPLES)
        for value in row.compute(replace(given, weights=weights))
    ]
    return max(float(np.std(values)), 1 / len(given.labels))


def _resampled(labels: npt.NDArray[np.int64], seed: int, resamples: int) -> Iterator[Floats]:
    """Yield how often each image is in each resample, some resamples (B, N) at a time."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    step = max(1, _CELLS // len(labels))
    for start in range(0, resamples, step):
        weights = np.zeros((min(step, resamples - start), len(labels)))
        for each in members:
            odds = np.full(len(each), 1 / len(each))
            weights[:, each] = random.multinomial(len(each), odds, size=len(weights))
        yield weights


def curve(given: Predictions, label: int) -> Curve | None:
    """Return a class's curves in at most 200 points, the first and the last kept."""
    positives, negatives, log_odds = given.ranked(label)
    right, wrong = positives[0].cumsum(), negatives[0].cumsum()
    if not (right[-1] and wrong[-1]):
        return None
    shown = np.unique(np.linspace(0, len(right) - 1, POINTS).round().astype(int))
    right, wrong = right[shown], wrong[shown]
    columns = (
        expit(log_odds[shown]),
        wrong / negatives.sum(),
        right / positives.sum(),
        right / (right + wrong),
    )
    return Curve(*(column.tolist() for column in columns))
