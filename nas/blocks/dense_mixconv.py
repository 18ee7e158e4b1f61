"""The dense "MixConv" of the ME-NeSt-Ghost report: not MixConv's depthwise convolution.

Its branches have a kernel size each, as MixConv's (arXiv:1907.09595) have, but every branch reads
all channels, in gcd(C_in, C_branch) groups. Four equal branches with kernels 3, 5, 7 and 9 on C
channels have 164 C weights; a depthwise MixConv has 41 C.
"""

from math import gcd

import torch
from torch import Tensor, nn

from nas.blocks import options
from nas.blocks.widening_mixconv import WideningMixConv2d
from nas.cost import Tape


class DenseMixConv2d(nn.Module):
    """Convolutions side by side, a kernel size each; each reads all channels in gcd groups."""

    def __init__(
        self,
        in_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(
                in_channels,
                channels,
                kernel,
                stride,
                kernel // 2,
                groups=gcd(in_channels, channels),
                bias=False,
            )
            for channels, kernel in zip(group_channels, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed = [conv(x) for conv in self.convs]
        return torch.cat(mixed, dim=1) if len(mixed) > 1 else mixed[0]  # (N, C, H, W)


# The two kinds of MixConv: their modules take the same arguments.
MIXCONVS: dict[str, type[nn.Module]] = {"depthwise": WideningMixConv2d, "dense": DenseMixConv2d}
MIXCONV = options.one_of("depthwise", MIXCONVS, structural=True)


def mix_conv(
    tape: Tape,
    mixconv: type[nn.Module],
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    *,
    stride: int = 1,
) -> None:
    """Count a MixConv of this kind; a depthwise one reads one channel per filter."""
    channels = tape.channels
    reads = tuple(
        channels // gcd(channels, width) if mixconv is DenseMixConv2d else 1
        for width in group_channels
    )
    tape.mix_conv(group_channels, kernels, stride=stride, reads=reads)
