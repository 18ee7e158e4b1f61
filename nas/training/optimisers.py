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


def _adam(groups: list[dict[str, Any]], recipe: "Recipe") -> "Optimizer":
    from torch.optim import Adam

    return Adam(groups, lr=recipe.learning_rate, fused=True)


def _sgd(groups: list[dict[str, Any]], recipe: "Recipe") -> "Optimizer":
    from torch.optim import SGD

    momentum = recipe.momentum
    return SGD(
        groups, lr=recipe.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
    )


def _rmsprop(groups: list[dict[str, Any]], recipe: "Recipe") -> "Optimizer":
    """Make EfficientNet's (arXiv:1905.11946): its decay of 0.9 is torch's alpha."""
    from torch.optim import RMSprop

    return RMSprop(
        groups, lr=recipe.learning_rate, alpha=0.9, eps=1e-3, momentum=recipe.momentum, foreach=True
    )


@dataclass(frozen=True)
class Optimiser:
    """A rule by which weights follow their gradients.

    `words` name it with the recipe's settings; `make(groups, recipe)` returns torch's optimiser
    for groups of parameters, each with its own weight decay.
    """

    words: str
    make: "Callable[[list[dict[str, Any]], Recipe], Optimizer]"


_RATES = "(learning rate {recipe.learning_rate:g}, weight decay {recipe.weight_decay:g}"
_MOMENTUM = ", momentum {recipe.momentum:g})"

OPTIMISERS = {
    "adamw": Optimiser(f"AdamW {_RATES})", _adamw),
    "adam": Optimiser(f"Adam {_RATES} in the gradient)", _adam),
    "sgd": Optimiser(f"SGD with Nesterov momentum {_RATES}{_MOMENTUM}", _sgd),
    "rmsprop": Optimiser(f"RMSprop {_RATES}{_MOMENTUM}", _rmsprop),
}
"""The optimisers by name.

In AdamW the weight decay is decoupled from the gradient (arXiv:1711.05101), in the others it is
added to it.
"""


def optimiser_of(module: "nn.Module", recipe: "Recipe") -> "Optimizer":
    """Make the recipe's optimiser."""
    groups = groups_of(module, recipe)
    if recipe.layer_decay != 1:
        groups = layered(groups, module, recipe.layer_decay)
    return OPTIMISERS[recipe.optimiser].make(groups, recipe)


def groups_of(module: "nn.Module", recipe: "Recipe") -> list[dict[str, Any]]:
    """Return the parameters by their weight decay; biases and norms do not decay."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def layered(
    groups: list[dict[str, Any]], module: "nn.Module", decay: float
) -> list[dict[str, Any]]:
    """Divide groups by the network's blocks; `share` is that of the learning rate in each.

    It falls by the factor `decay` from block to block, from the classifier to the image:
    discriminative fine-tuning, arXiv:1801.06146; layer-wise decay, arXiv:2106.08254.
    """
    block_of = {
        parameter: ".".join(name.split(".")[:2]) for name, parameter in module.named_parameters()
    }
    blocks = list(dict.fromkeys(block_of.values()))
    return [
        {**group, "params": members, "share": decay ** (len(blocks) - 1 - depth)}
        for group in groups
        for depth, block in enumerate(blocks)
        if (members := [each for each in group["params"] if block_of[each] == block])
    ]
