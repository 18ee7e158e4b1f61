"""The registry of optimisers: a row of `OPTIMISERS` is one. Reading it imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from nas.training.recipe import Recipe


def _adamw(groups: list[dict[str, Any]], recipe: "Recipe") -> "Optimizer":
    from torch.optim import AdamW

    return AdamW(groups, lr=recipe.learning_rate, fused=True)


@dataclass(frozen=True)
class Optimiser:
    """A rule by which weights follow their gradients.

    `words` name it with the recipe's settings; `make(groups, recipe)` returns torch's optimiser
    for groups of parameters, each with its own weight decay.
    """

    words: str
    make: "Callable[[list[dict[str, Any]], Recipe], Optimizer]"


OPTIMISERS = {
    "adamw": Optimiser(
        "AdamW (learning rate {recipe.learning_rate:g}, weight decay {recipe.weight_decay:g})",
        _adamw,
    ),
}


def optimiser_of(module: "nn.Module", recipe: "Recipe") -> "Optimizer":
    """Make the recipe's optimiser; biases and norms do not decay."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return OPTIMISERS[recipe.optimiser].make([g for g in groups if g["params"]], recipe)
