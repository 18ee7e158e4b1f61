"""Batch norm's statistics of images as they are, for a network that was trained on changed ones.

Augmentation changes what a layer sees: blanked squares and stretched contrast have another mean and
another spread. Running statistics of such images shift a network's answers on plain ones. So they
are computed anew on plain train images: Wu and Johnson, "Rethinking 'Batch' in BatchNorm",
arXiv:2105.07576; for resolution, Touvron et al., arXiv:1906.06423.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def refit_batch_norm(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics to those of batches of images, (N, C, R, R), standardised.

    They are of 2 images or more. A module with batch norm ends in evaluation mode.
    """
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    if not norms:
        return
    module.eval()  # nothing is dropped
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        for batch in batches:
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
