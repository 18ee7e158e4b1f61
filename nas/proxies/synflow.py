"""Synaptic flow: how much of its weights a network can bring from the image to the logits.

Source: Tanaka et al., Pruning neural networks without any data, arXiv:2006.05467, equation 4; as a
measure of architectures Abdelfattah et al., arXiv:2101.08134, section 3.2.

The network is made linear: weights are replaced by their absolute values, and norms (as in the
second paper) and activations are left out. On the positive numbers that are left the first paper's
ReLU does nothing, and the other activations next to nothing, but for the cap of ReLU6, which would
stop the flow. Gates stay: large numbers open them, so that their own weights add next to nothing.
The logarithm of the sum is returned, which ranks alike and can be averaged: the sum itself grows
with every layer, and needs double precision (the logarithm of our largest network,
EfficientNetV2-XL, is 441; a double ends at 709).
"""

import math
import sys

import torch
from torch import nn

from nas.proxies._candidate import ACTIVATION_TYPES, NORM_TYPES, Candidate

REPEATS = 1
NOT_FINITE = math.log(sys.float_info.max)  # more flow than a double can hold
LEAST = sys.float_info.min


def measure(candidate: Candidate) -> float:
    """Return log sum |w dR/dw| over all weights, R the sum of the logits for an image of ones."""
    module = _linear(candidate.module)
    weights = [w for w in module.parameters() if w.ndim > 1]  # no biases
    flow = module(torch.ones_like(candidate.batch.images[:1], dtype=torch.double)).sum()
    gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    total = sum(float((w.detach() * by).abs().sum()) for w, by in pairs if by is not None)
    return math.log(max(total, LEAST)) if math.isfinite(total) else NOT_FINITE


def _linear(module: nn.Module) -> nn.Module:
    """Leave out norms and activations and make all parameters positive, in double precision."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, (*NORM_TYPES, *ACTIVATION_TYPES)):
                setattr(part, name, nn.Identity())
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    return module
