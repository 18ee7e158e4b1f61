"""Jacobian covariance: how differently the logits of different images hang on their pixels.

Source: Mellor et al., arXiv:2006.04647, version 1, equations 3 to 6; as in Abdelfattah et al.,
arXiv:2101.08134, section 3.2.
"""

import torch
from torch import Tensor

from nas.proxies._candidate import Candidate

REPEATS = 3
K = 1e-5  # the paper's: keeps the logarithm and the quotient finite
NOT_FINITE = -1e9  # below any value there is: -N / K at the least


def measure(candidate: Candidate) -> float:
    """Return -sum(log(v + K) + 1 / (v + K)), v the eigenvalues of the Jacobians' correlation.

    Where a Jacobian is constant or not finite, all images count as alike, as badly as can be.
    """
    images = candidate.batch.images.clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(candidate.module(images).sum(), images)
    values = torch.linalg.eigvalsh(_correlation(jacobian.flatten(1).double())).clamp(min=0) + K
    return -float((values.log() + 1 / values).sum())


def _correlation(rows: Tensor) -> Tensor:
    """Return how rows (N, pixels) correlate, (N, N); all 1 where that is not defined."""
    centred = rows - rows.mean(1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    if not (lengths > 0).all() or not lengths.isfinite().all():
        return torch.ones(len(rows), len(rows), dtype=rows.dtype)
    unit = centred / lengths
    correlation: Tensor = unit @ unit.T
    return correlation
