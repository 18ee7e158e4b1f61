"""How good predictions are, by scikit-learn; only the loss can be anything but finite."""

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
    from sklearn.metrics import f1_score, recall_score

    answers = logits.argmax(1)
    counts = torch.bincount(labels, minlength=logits.shape[1])
    seen = counts.nonzero().flatten()
    recall = recall_score(labels, answers, labels=seen, average="macro")
    return {
        "accuracy": (answers == labels).double().mean().item(),
        "balanced_accuracy": float(recall),
        "macro_f1": float(f1_score(labels, answers, average="macro")),
        "auroc": _auroc(logits, labels, counts),
        "loss": F.cross_entropy(logits, labels).item(),
        "majority_rate": counts.max().item() / len(labels),
        "predicted_classes": float(answers.bincount().count_nonzero()),
    }


def _auroc(logits: Tensor, labels: Tensor, counts: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    both = (counts > 0) & (counts < len(labels))  # classes with images in and outside them
    if not both.any():
        return 0.5
    if logits.shape[1] == 2:
        wanted, scores = [1], logits - logits[:, :1]
    else:
        wanted, scores = both.nonzero().flatten().tolist(), logits.softmax(1)
    scores = scores.nan_to_num()  # a network that diverged has no ranking
    areas = [float(roc_auc_score(labels == one, scores[:, one])) for one in wanted]
    return sum(areas) / len(areas)
