"""Targets: how a network's outputs become probabilities and answers, and are held to labels.

An image has one of the classes, or any of several labels; a label is a problem of two classes,
without and with it. Losses, metrics and exported code ask the targets, so that all of them mean the
same. Importing this module imports neither torch nor NumPy.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from nas.data.dataset import Labels, Task
    from nas.training.losses import Classes

    Floats = npt.NDArray[np.float64]

LEARNT = 1e-3  # the least spread of a label's log odds that is not the same answer for all images


@dataclass(frozen=True)
class AnswerRule:
    """A rule by which probabilities become answers.

    `compute(probabilities)`, of (N, classes), returns an image's class, (N,): in NumPy and in torch
    alike, because exported code has its text. `one_class`: only where an image has one class.
    """

    words: str
    compute: Callable[[Any], Any]
    one_class: bool = True


def _likeliest(probabilities: Any) -> Any:
    return probabilities.argmax(1)


def _expected_grade(probabilities: Any) -> Any:
    return (probabilities.shape[1] - probabilities.cumsum(1).sum(1)).round()


def _median_grade(probabilities: Any) -> Any:
    return (probabilities.cumsum(1) < 0.5).sum(1)


def _above_half(probabilities: Any) -> Any:
    return probabilities.round()


ANSWERS = {
    "likeliest": AnswerRule("the most likely class", _likeliest, one_class=False),
    "expected_grade": AnswerRule("the grade nearest to the expected one", _expected_grade),
    "median_grade": AnswerRule(
        "the lowest grade that half of the probability reaches", _median_grade
    ),
}
"""The rules by name; grades are the classes in their order, from 0."""
_EACH = AnswerRule("each label that is more likely than not", _above_half)


class Targets(Protocol):
    """The reading of a network's outputs, logits (N, classes).

    `probable` is the code that makes probabilities of torch's `logits`.
    """

    task: ClassVar["Task"]
    probable: ClassVar[str]

    @property
    def rule(self) -> str:
        """The name of the answer's rule."""

    @property
    def answer(self) -> AnswerRule:
        """The rule that makes answers of probabilities."""

    def log_probabilities(self, logits: "Floats") -> "Floats":
        """Return the logarithm of each class's probability, (N, classes), of finite logits."""

    def log_odds(self, logits: "Floats") -> "Floats":
        """Return the logarithm of p / (1 - p) for each class, (N, classes).

        It tells apart images whose probabilities round to 1.
        """

    def balanced(self, recall: "Floats", specificity: "Floats", /) -> "Floats":
        """Return each class's part in the balanced accuracy, (B, classes)."""

    def majority(self, shares: "Floats") -> "Floats":
        """Return the accuracy of the best constant answer, (B,), of the classes' shares."""

    def different(self, answered: "Floats", log_odds: "Floats", /) -> "Floats":
        """Return the number of different answers, (B,); 1 tells a network that learnt nothing.

        `answered` (B, classes) counts the images of each answer.
        """

    def unrolled(self, logits: "Floats", labels: "Labels") -> "tuple[Floats, Labels]":
        """Return the problems of one class an image each, one after another for each image."""

    def counts(self, labels: "Labels") -> "Labels":
        """Return the images of each class, (classes,), or without and with each label, (L, 2)."""

    def problems(self, labels: "Tensor", classes: "Classes") -> "Iterator[tuple[Tensor, Classes]]":
        """Yield the labels (N,) and the classes' facts of each problem of one class an image."""

    def outputs(self, logits: "Tensor") -> "Iterator[Tensor]":
        """Yield the logits of each problem's classes."""


@dataclass(frozen=True)
class ClassTargets:
    """An image has one class, maybe a grade: labels and answers are (N,), softmax makes shares."""

    rule: str = "likeliest"
    task: ClassVar["Task"] = "classes"
    probable: ClassVar[str] = "logits.double().softmax(1)"

    @property
    def answer(self) -> AnswerRule:
        """The rule of this name."""
        return ANSWERS[self.rule]

    def log_probabilities(self, logits: "Floats") -> "Floats":
        """Return the logarithm of the softmax."""
        return _below_top(logits) - _log_sum(_below_top(logits))

    def log_odds(self, logits: "Floats") -> "Floats":
        """Return log p - log(1 - p), the latter of the other classes for the most likely one."""
        import numpy as np

        below, log_p = _below_top(logits), self.log_probabilities(logits)
        top = np.arange(logits.shape[1]) == below.argmax(1)[:, None]
        rest = _log_sum(np.where(top, -np.inf, below)) - _log_sum(below)
        small = np.where(top, 0.0, np.exp(log_p))
        return np.asarray(log_p - np.where(top, rest, np.log1p(-small)))

    def balanced(self, recall: "Floats", _: "Floats", /) -> "Floats":
        """Return the recall."""
        return recall

    def majority(self, shares: "Floats") -> "Floats":
        """Return the most frequent class's share."""
        import numpy as np

        return np.asarray(shares.max(1))

    def different(self, answered: "Floats", _: "Floats", /) -> "Floats":
        """Return the number of classes that are an answer."""
        import numpy as np

        return np.asarray((answered > 0).sum(1), np.float64)

    def unrolled(self, logits: "Floats", labels: "Labels") -> "tuple[Floats, Labels]":
        """Return the images as they are."""
        return logits, labels

    def counts(self, labels: "Labels") -> "Labels":
        """Return the images of each class."""
        import numpy as np

        return np.bincount(labels)

    def problems(self, labels: "Tensor", classes: "Classes") -> "Iterator[tuple[Tensor, Classes]]":
        """Yield the only one."""
        yield labels, classes

    def outputs(self, logits: "Tensor") -> "Iterator[Tensor]":
        """Yield the logits."""
        yield logits


@dataclass(frozen=True)
class LabelTargets:
    """An image has any of the labels: labels and answers are (N, L) of 0 and 1.

    Each label is a problem of two classes with the logits 0 and its own, so that their softmax is
    the sigmoid and every loss of classes is one of labels, the mean over them.
    """

    task: ClassVar["Task"] = "labels"
    probable: ClassVar[str] = "logits.double().sigmoid()"
    rule: ClassVar[str] = "each_label"

    @property
    def answer(self) -> AnswerRule:
        """The only rule."""
        return _EACH

    def log_probabilities(self, logits: "Floats") -> "Floats":
        """Return the logarithm of the sigmoid."""
        import numpy as np

        return -np.logaddexp(0, -logits)

    def log_odds(self, logits: "Floats") -> "Floats":
        """Return the logits."""
        return logits

    def balanced(self, recall: "Floats", specificity: "Floats", /) -> "Floats":
        """Return the mean recall of the images with a label and of those without it."""
        return (recall + specificity) / 2

    def majority(self, shares: "Floats") -> "Floats":
        """Return the mean over the labels of the better of "none has it" and "all have it"."""
        import numpy as np

        return np.asarray(np.maximum(shares, 1 - shares).mean(1))

    def different(self, answered: "Floats", log_odds: "Floats", /) -> "Floats":
        """Return 1 and the number of labels whose probability depends on the image.

        Rare labels may all be less likely than not, which is no sign of a network without use.
        """
        import numpy as np

        return np.full(len(answered), 1.0 + (np.ptp(log_odds, axis=0) > LEARNT).sum())

    def unrolled(self, logits: "Floats", labels: "Labels") -> "tuple[Floats, Labels]":
        """Return each image once for each label."""
        import numpy as np

        return np.stack([np.zeros_like(logits), logits], 2).reshape(-1, 2), labels.reshape(-1)

    def counts(self, labels: "Labels") -> "Labels":
        """Return the images without and with each label."""
        import numpy as np

        positive = labels.sum(0)
        return np.stack([len(labels) - positive, positive], 1)

    def problems(self, labels: "Tensor", classes: "Classes") -> "Iterator[tuple[Tensor, Classes]]":
        """Yield the labels one by one."""
        for each, weights, log_prior in zip(
            labels.unbind(1), classes.weights, classes.log_prior, strict=True
        ):
            yield each, replace(classes, weights=weights, log_prior=log_prior)

    def outputs(self, logits: "Tensor") -> "Iterator[Tensor]":
        """Yield 0 and the label's logit."""
        from torch import stack

        for each in logits.unbind(1):
            yield stack([each.new_zeros(each.shape), each], 1)


def targets_named(rule: str) -> Targets:
    """Return the targets by the name of their answer's rule, as exported code has it.

    Raises UserError for another name.
    """
    if rule == LabelTargets.rule:
        return LabelTargets()
    if rule not in ANSWERS:
        raise UserError(unknown("answer", rule, [*ANSWERS, LabelTargets.rule]))
    return ClassTargets(rule)


class TaskRow(Protocol):
    """A row of a registry that may hold only where an image has one class."""

    @property
    def one_class(self) -> bool:
        """Whether it holds only there."""


def rows_of(registry: Mapping[str, TaskRow], task: "Task") -> list[str]:
    """Return the names of a registry's rows that hold for a task."""
    return [name for name, row in registry.items() if task == "classes" or not row.one_class]


def check_row(kind: str, name: str, registry: Mapping[str, TaskRow], task: "Task") -> None:
    """Raise UserError for a metric, loss or answer that does not hold for a task."""
    names = rows_of(registry, task)
    if name not in names:
        raise UserError(
            f"The {kind} {name} needs images of one class each; these may have several labels. "
            f"Available: {', '.join(names)}."
        )


def targets_of(labels: "Labels | Tensor", rule: str = "likeliest") -> Targets:
    """Return the targets of labels, (N,) or (N, L); `rule` names the answer of one class."""
    return LabelTargets() if labels.ndim == 2 else ClassTargets(rule)


def _below_top(logits: "Floats") -> "Floats":
    """Return the logits less each image's highest one."""
    import numpy as np

    return np.asarray(logits - logits.max(1, keepdims=True))


def _log_sum(logits: "Floats") -> "Floats":
    """Return the logarithm of the sum of exponentials, (N, 1)."""
    import numpy as np
    from scipy.special import logsumexp

    return np.asarray(logsumexp(logits, axis=1, keepdims=True))
