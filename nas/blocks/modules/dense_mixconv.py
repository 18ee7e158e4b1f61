"""The dense "MixConv" of the ME-NeSt-Ghost report: not MixConv's depthwise convolution.

Its branches have a kernel size each, as MixConv's (arXiv:1907.09595) have, but every branch reads
all channels, in gcd(C_in, C_branch) groups. Four equal branches with kernels 3, 5, 7 and 9 on C
channels have 164 C weights; a depthwise MixConv has 41 C.
"""

from math import gcd

import torch
from torch import Tensor, nn


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
