"""Regularisation that a recipe adds to a network for its training; the architecture stays as it is.

Parameters, buffers and their names stay too, so that weights fit the network without it.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.blocks.modules.classifier import Classifier
from nas.blocks.modules.stochastic_depth import StochasticDepth
from nas.training.recipe import Recipe


def regularise(module: nn.Module, recipe: Recipe) -> None:
    """Set the recipe's dropout, stochastic depth and batch-norm momentum where they are not 0.

    The last residual branch is dropped at the rate `stochastic_depth`, the k-th of n at k/n of it:
    the linear decay of arXiv:1603.09382.
    """
    modules = list(module.modules())
    if recipe.stochastic_depth:
        branches = [
            each for each in modules if isinstance(getattr(each, "drop_path", None), nn.Module)
        ]
        for number, each in enumerate(branches, 1):
            each.drop_path = StochasticDepth(recipe.stochastic_depth * number / len(branches))
    for each in modules:
        if isinstance(each, Classifier) and recipe.dropout:
            each.dropout = nn.Dropout(recipe.dropout)
        if isinstance(each, _BatchNorm) and recipe.batch_norm_momentum != 0.1:  # torch's own
            each.momentum = recipe.batch_norm_momentum
