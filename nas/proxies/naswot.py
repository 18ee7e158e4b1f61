"""NASWOT: how well a network tells images apart before it is trained.

Source: Mellor et al., Neural Architecture Search without Training, arXiv:2006.04647, section 3.

Each image has a code of one bit per unit. In the paper units are ReLUs, and the bit says whether
the unit is on. Here every activation of our blocks is one, those of squeeze-and-excitation too, and
its bit is whether its input is above 0: with ReLU and ReLU6 that is the paper's (the cap at 6 is
not asked for); SiLU, hard-swish, GELU and Mish are x times a gate, and the bit says whether the
gate is more open than shut. Sigmoids that gate channels are no units.
"""

import torch
from torch import Tensor, nn

from nas.proxies._candidate import ACTIVATION_TYPES, Candidate

REPEATS = 1
NOT_FINITE = 0.0  # as if no image could be told from another


def measure(candidate: Candidate) -> float:
    """Return the log-determinant of the kernel, the number of bits that two images share.

    Eigenvalues under 1 count as 1, so that images that no unit tells apart, whose kernel is
    singular, do not make it minus infinity; without any units it is 0.
    """
    kernel = _shared_bits(candidate.module, candidate.batch.images)
    return float(torch.linalg.eigvalsh(kernel).clamp(min=1).log().sum())


@torch.no_grad()
def _shared_bits(module: nn.Module, images: Tensor) -> Tensor:
    """Return the number of units at which images are coded alike: (N, N)."""
    kernel = torch.zeros(len(images), len(images), dtype=torch.double)

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        code = (inputs[0] > 0).flatten(1).float()  # (N, units)
        on = code.sum(1).double()
        both = (code @ code.T).double()
        kernel.add_(2 * both + code.shape[1] - on[:, None] - on)  # both on, or both off

    for part in module.modules():
        if isinstance(part, ACTIVATION_TYPES):
            part.register_forward_pre_hook(add)
    module(images)
    return kernel
