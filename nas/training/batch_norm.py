"""Batch norm's statistics of images as they are, for a network that was trained on changed ones.

Augmentation changes what a layer sees: blanked squares and stretched contrast have another mean and
another spread. Running statistics of such images shift a network's answers on plain ones. So they
are computed anew on plain train images: Wu and Johnson, "Rethinking 'Batch' in BatchNorm",
arXiv:2105.07576; for resolution, Touvron et al., arXiv:1906.06423.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.data.dataset import Images
from nas.training.changes import Statistics
from nas.training.images import most_at_once, standardised


def refit_batch_norm(module: nn.Module, images: Images, mean: Statistics, std: Statistics) -> None:
    """Set the running statistics to those of `images`, (N, R, R, C) uint8, N of 2 or more.

    A module with batch norm ends in evaluation mode.
    """
    device = next(module.parameters()).device
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
        for batch in np.array_split(images, -(-len(images) // most_at_once(images.shape[1]))):
            module(standardised(batch, mean, std, device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
