"""The registry of metrics: how good predictions are. A row of `METRICS` or `FACTS` is one metric.

Reading the registry imports neither torch nor scikit-learn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """A network's `logits` (N, classes) for images, and their `labels` (N,)."""

    logits: "Tensor"
    labels: "Tensor"

    @cached_property
    def answers(self) -> "Tensor":
        """The most likely class of each image."""
        return self.logits.argmax(1)

    @cached_property
    def counts(self) -> "Tensor":
        """The number of images of each class."""
        return self.labels.bincount(minlength=self.logits.shape[1])


def _accuracy(given: Predictions) -> float:
    return (given.answers == given.labels).double().mean().item()


def _balanced_accuracy(given: Predictions) -> float:
    from sklearn.metrics import recall_score

    present = given.counts.nonzero().flatten()
    return float(recall_score(given.labels, given.answers, labels=present, average="macro"))


def _macro_f1(given: Predictions) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(given.labels, given.answers, average="macro"))


def _auroc(given: Predictions) -> float:
    from sklearn.metrics import roc_auc_score

    logits, labels, counts = given.logits, given.labels, given.counts
    both = (counts > 0) & (counts < len(labels))  # classes with images in and outside them
    if not both.any():
        return 0.5
    if logits.shape[1] == 2:
        classes, scores = [1], logits - logits[:, :1]
    else:
        classes, scores = both.nonzero().flatten().tolist(), logits.softmax(1)
    scores = scores.nan_to_num()  # a network that diverged has no ranking
    areas = [float(roc_auc_score(labels == label, scores[:, label])) for label in classes]
    return sum(areas) / len(areas)


def _loss(given: Predictions) -> float:
    from torch.nn.functional import cross_entropy

    return cross_entropy(given.logits, given.labels).item()


@dataclass(frozen=True)
class Metric:
    """A number that is stored for each epoch: `words` give its meaning; higher is better."""

    words: str
    compute: Callable[[Predictions], float]


METRICS = {
    "accuracy": Metric("share of right answers", _accuracy),
    "balanced_accuracy": Metric(
        "mean of the classes' recalls: every class weighs the same", _balanced_accuracy
    ),
    "macro_f1": Metric("mean of the classes' F1", _macro_f1),
    "auroc": Metric(
        "area under the ROC curve; with more than two classes the mean of each against the rest",
        _auroc,
    ),
}
"""The metrics that may stand in the objective.

Each is finite, whatever the predictions. Classes without images among the labels count neither for
balanced_accuracy nor for auroc.
"""

FACTS = {
    "loss": Metric("cross-entropy, the lower the better", _loss),
    "majority_rate": Metric(
        "accuracy of always giving the most frequent class",
        lambda given: given.counts.max().item() / len(given.labels),
    ),
    "predicted_classes": Metric(
        "number of different answers: 1 tells a network that learnt nothing",
        lambda given: float(given.answers.bincount().count_nonzero()),
    ),
}
"""Numbers that are stored beside the metrics."""


def metrics(logits: "Tensor", labels: "Tensor") -> dict[str, float]:
    """Score `logits` (N, classes) against `labels` (N,) by every metric and fact."""
    given = Predictions(logits, labels)
    return {name: row.compute(given) for name, row in (METRICS | FACTS).items()}
