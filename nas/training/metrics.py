"""How good predictions are, by torchmetrics; every number is finite, whatever is predicted."""

import warnings

import torch
from torch import Tensor
from torch.nn import functional as F


def metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Score `logits` (N, classes) against `labels` (N,).

    Classes without images among the labels count neither for balanced_accuracy nor for auroc.
    auroc is that of class 1 where there are two classes, else the mean of one class against the
    rest. majority_rate is the accuracy of always answering the most frequent class;
    predicted_classes how many different answers there were: 1 tells a model that learnt nothing.
    """
    from torchmetrics.functional.classification import multiclass_f1_score, multiclass_recall

    classes = logits.shape[1]
    answers = logits.argmax(1)
    counts = torch.bincount(labels, minlength=classes)
    recall = multiclass_recall(answers, labels, classes, average="none")
    return {
        "accuracy": (answers == labels).double().mean().item(),
        "balanced_accuracy": recall[counts > 0].mean().item(),
        "macro_f1": multiclass_f1_score(answers, labels, classes, average="macro").item(),
        "auroc": _auroc(logits, labels, counts),
        "loss": F.cross_entropy(logits, labels).item(),
        "majority_rate": counts.max().item() / len(labels),
        "predicted_classes": float(answers.bincount().count_nonzero()),
    }


def _auroc(logits: Tensor, labels: Tensor, counts: Tensor) -> float:
    from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

    both = (counts > 0) & (counts < len(labels))  # classes with images in and outside them
    if not both.any():
        return 0.5
    if logits.shape[1] == 2:
        return binary_auroc((logits[:, 1] - logits[:, 0]).double().sigmoid(), labels).item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of absent classes, which are left out
        areas = multiclass_auroc(logits.softmax(1), labels, logits.shape[1], average="none")
    return areas[both].mean().item()
