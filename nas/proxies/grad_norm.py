"""Gradient norm: the length of the first step that training would take.

Source: Abdelfattah et al., arXiv:2101.08134, section 3.2.
"""

import torch
from torch.nn import functional

from nas.proxies._candidate import Candidate

REPEATS = 1
NOT_FINITE = 0.0  # a gradient that is not finite teaches nothing


def measure(candidate: Candidate) -> float:
    """Return the Euclidean norm of the cross-entropy's gradient by all parameters."""
    module, batch = candidate.module, candidate.batch
    logits = module(batch.images)
    if batch.labels.ndim == 2:  # several labels, each a problem of its own
        loss = functional.binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype))
    else:
        loss = functional.cross_entropy(logits, batch.labels)
    gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    squares = [gradient.double().square().sum() for gradient in gradients if gradient is not None]
    return float(torch.stack(squares).sum().sqrt())
