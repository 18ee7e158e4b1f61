"""The registry of metrics: a row of `METRICS`, `CLASS_METRICS` or `FACTS` is one of them.

A metric is computed for B samples of the images at once: its values in a thousand resamples, which
an interval needs, are one call. The tests hold each to scikit-learn's definition. Reading the
registry imports neither torch nor NumPy.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nas.errors import UserError, unknown
from nas.training.metrics import formulas
from nas.training.targets import check_row, rows_of

if TYPE_CHECKING:
    from nas.data.dataset import Task
    from nas.training.metrics.predictions import Floats, Predictions


def _same(value: float) -> float:
    return value


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are; `words` say what it means.

    `compute(predictions)` returns it for each sample of the images, (B,): finite for any
    predictions. `gain` maps it to 0..1, the higher the better; the objective multiplies that by the
    cost's factor. `one_class`: only where an image has one class, not any of several labels.
    `balanced`: a rare class's answers count as much as a frequent one's, so that a training for it
    weighs the classes.
    """

    words: str
    compute: "Callable[[Predictions], Floats]"
    gain: Callable[[float], float] = _same
    one_class: bool = False
    balanced: bool = False

    def value(self, given: "Predictions") -> float:
        """Return the metric of the first sample: of all images, where there are no others."""
        return float(self.compute(given)[0])


@dataclass(frozen=True)
class ClassMetric:
    """A share of 0..1 for each class against the rest: `compute` returns (B, classes)."""

    words: str
    compute: "Callable[[Predictions], Floats]"

    def of(self, label: int, name: str) -> Metric:
        """Return the metric of one class."""
        return Metric(f"{self.words}, of class {name}", lambda given: self.compute(given)[:, label])


CLASS_METRICS = {
    "precision": ClassMetric(
        "share of a class's answers that are right", partial(formulas.by_counts, formulas.precision)
    ),
    "recall": ClassMetric(
        "share of a class's images that are found", partial(formulas.by_counts, formulas.recall)
    ),
    "specificity": ClassMetric(
        "share of the other classes' images that are not called this one",
        partial(formulas.by_counts, formulas.specificity),
    ),
    "f1": ClassMetric(
        "harmonic mean of precision and recall",
        partial(formulas.by_counts, partial(formulas.f, 1.0)),
    ),
    "f2": ClassMetric(
        "F-beta with beta 2: recall counts more than precision",
        partial(formulas.by_counts, partial(formulas.f, 2.0)),
    ),
    "f0.5": ClassMetric(
        "F-beta with beta 0.5: precision counts more than recall",
        partial(formulas.by_counts, partial(formulas.f, 0.5)),
    ),
    "auroc": ClassMetric(
        "area under the ROC curve against the rest", partial(formulas.by_ranks, formulas.auroc)
    ),
    "average_precision": ClassMetric(
        "area under the precision-recall curve, as average precision",
        partial(formulas.by_ranks, formulas.average_precision),
    ),
}
"""The metrics of one class, named `recall:CLASS`. Without images to judge by they are 0, auroc 0.5.

As in scikit-learn, F-beta weighs recall beta times as much as precision.
"""


def _mean(name: str, given: "Predictions") -> "Floats":
    """Return the mean over the classes that have images, of a metric of one class."""
    return formulas.mean(CLASS_METRICS[name].compute(given)[:, given.labelled])


def _macro(name: str, given: "Predictions") -> "Floats":
    """Return the mean over the classes with images or answers: scikit-learn's macro average."""
    return formulas.mean(CLASS_METRICS[name].compute(given)[:, given.named])


def _above_chance(value: float) -> float:
    return max(0.0, value)


METRICS = {
    "accuracy": Metric(
        "share of right answers; of several labels the mean over them", formulas.accuracy
    ),
    "balanced_accuracy": Metric(
        "mean of the classes' recalls: every class weighs the same; of several labels each is two "
        "classes, with and without it",
        formulas.balanced_accuracy,
        balanced=True,
    ),
    "macro_f1": Metric("mean of the classes' F1", partial(_macro, "f1"), balanced=True),
    "auroc": Metric(
        "area under the ROC curve; with more than two classes the mean of each against the rest",
        partial(_mean, "auroc"),
    ),
    "macro_precision": Metric(
        "mean of the classes' precisions", partial(_macro, "precision"), balanced=True
    ),
    "macro_specificity": Metric(
        "mean of the classes' specificities", partial(_macro, "specificity"), balanced=True
    ),
    "macro_f2": Metric(
        "mean of the classes' F2: recall counts more", partial(_macro, "f2"), balanced=True
    ),
    "macro_f0.5": Metric(
        "mean of the classes' F0.5: precision counts more", partial(_macro, "f0.5"), balanced=True
    ),
    "average_precision": Metric(
        "mean over the classes of average precision, each against the rest",
        partial(_mean, "average_precision"),
    ),
    "kappa": Metric(
        "Cohen's kappa: agreement beyond chance, which is 0",
        partial(formulas.kappa, 0),
        _above_chance,
        one_class=True,
    ),
    "linear_kappa": Metric(
        "kappa of ordered classes: a wrong answer costs its distance",
        partial(formulas.kappa, 1),
        _above_chance,
        one_class=True,
    ),
    "quadratic_kappa": Metric(
        "kappa of ordered classes: a wrong answer costs its distance squared",
        partial(formulas.kappa, 2),
        _above_chance,
        one_class=True,
    ),
    "matthews": Metric(
        "Matthews correlation of answers and labels: 0 is chance",
        formulas.matthews,
        _above_chance,
        one_class=True,
    ),
    "log_loss": Metric(
        "mean of -ln of the right class's probability; the objective takes exp(-loss)",
        formulas.log_loss,
        lambda value: math.exp(-value),
    ),
    "brier": Metric(
        "mean squared distance of the probabilities from the truth, 0 to 2; the objective takes "
        "1 - brier/2",
        formulas.brier,
        lambda value: 1 - value / 2,
    ),
    "calibration_error": Metric(
        "mean gap between an answer's probability and its accuracy, in 15 bins of equal width; "
        "the objective takes 1 - error",
        formulas.calibration_error,
        lambda value: 1 - value,
    ),
}
"""The metrics of all images that may stand in the objective; each class counts against the rest."""

FACTS = {
    "loss": Metric("cross-entropy, the lower the better", formulas.log_loss),
    "majority_rate": Metric(
        "accuracy of always giving the most frequent answer", formulas.majority_rate
    ),
    "predicted_classes": Metric(
        "number of different answers: 1 tells a network that learnt nothing",
        formulas.different_answers,
    ),
}
"""Numbers that are stored beside the metrics."""

ERROR = "metric_error"
"""Stored after the last epoch: the standard error of the objective's metric, as it takes it."""

FIT, SHARE = "fit_loss", "augmentation_share"
"""Stored where augmentation adapts: the loss on plain train images, the share of the strengths."""

OF_TRAINING = frozenset({ERROR, FIT, SHARE})
"""Numbers among a trial's metrics that say how it was trained, not what its network is worth."""

EPOCH = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
"""The metrics that are stored of each epoch, beside the objective's and the facts."""


def words(name: str) -> str:
    """Return a metric's name in words; a class in it keeps its own name."""
    metric, colon, of_class = name.partition(":")
    return metric.replace("_", " ") + colon + of_class


def names(classes: Sequence[str] = (), task: "Task" = "classes") -> list[str]:
    """Return the names of all metrics, those of one class for each class, or as recall:CLASS.

    Of the task "labels" they are those that images with several labels have.
    """
    each = [f"{name}:{label}" for name in CLASS_METRICS for label in classes or ("CLASS",)]
    return [*rows_of(METRICS, task), *each]


def resolve(name: str, classes: Sequence[str] | None = None, task: "Task" = "classes") -> str:
    """Return a metric's name, with the name of the class for its index.

    Raises UserError for a metric that is not there, or not for the task, and for a class that is
    not among `classes`.
    """
    if name in METRICS:
        check_row("metric", name, METRICS, task)
        return name
    kind, _, label = name.partition(":")
    if kind not in CLASS_METRICS or not label:
        raise UserError(unknown("metric", name, names(), listing="nas search --help"))
    if classes is None or label in classes:
        return name
    if label.isdecimal() and int(label) < len(classes):
        return f"{kind}:{classes[int(label)]}"
    known = unknown("class", label, classes, listing="nas data show")
    raise UserError(f"{name!r} is of no class of the data. {known}")


def metric(name: str, classes: Sequence[str] | None = None) -> Metric:
    """Return a metric by its name; raises UserError as `resolve` does.

    Without `classes` a metric of one class can't be computed, but has its words and its gain.
    """
    name = resolve(name, classes)
    if name in METRICS:
        return METRICS[name]
    kind, _, label = name.partition(":")
    return CLASS_METRICS[kind].of(classes.index(label) if classes else -1, label)


def measure(given: "Predictions", wanted: Iterable[str]) -> dict[str, float]:
    """Return these metrics by their names."""
    return {name: metric(name, given.classes).value(given) for name in wanted}


def epoch_metrics(given: "Predictions", objective: str = "accuracy") -> dict[str, float]:
    """Return the numbers that an epoch stores: `EPOCH`, the objective's metric and the facts."""
    facts = {name: row.value(given) for name, row in FACTS.items()}
    return measure(given, dict.fromkeys([*EPOCH, objective])) | facts


def gain(name: str, value: float) -> float:
    """Return a metric's value as the objective takes it: 0..1, the higher the better."""
    return metric(name).gain(value)


def is_gained(name: str) -> bool:
    """Tell whether the objective takes another number than the metric's value."""
    return metric(name).gain is not _same
