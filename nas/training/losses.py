"""The registry of losses: a row of `LOSSES` is one. Reading it imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Split
    from nas.training.recipe import Recipe


def _cross_entropy(
    logits: "Tensor", labels: "Tensor", weights: "Tensor", recipe: "Recipe"
) -> "Tensor":
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, labels, weight=weights, label_smoothing=recipe.label_smoothing)


@dataclass(frozen=True)
class Loss:
    """The function that training minimises.

    `words` name it with the recipe's settings. `compute(logits, labels, weights, recipe)` returns
    the mean over the images (N,), each weighted by its class's weight.
    """

    words: str
    compute: "Callable[[Tensor, Tensor, Tensor, Recipe], Tensor]"


LOSSES = {
    "cross_entropy": Loss("Label smoothing {recipe.label_smoothing:g}", _cross_entropy),
}


def class_weights(split: "Split", recipe: "Recipe") -> "Tensor":
    """Return each class's weight in the loss; an image weighs 1 on average."""
    import torch

    counts = torch.from_numpy(np.bincount(split.labels)).float()
    weights = counts**-recipe.class_balance
    return weights * counts.sum() / (weights @ counts)
