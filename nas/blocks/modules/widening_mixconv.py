"""MixConv, arXiv:1907.09595, with a channel multiplier: true depthwise, and yet it may widen."""

import torch
from torch import Tensor, nn


class WideningMixConv2d(nn.Module):
    """Depthwise convolution, a kernel size for each group; all widen by the same whole number.

    `group_channels` are the output's: a group reads its share of the input channels.
    """

    def __init__(
        self,
        in_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
    ) -> None:
        super().__init__()
        multiplier = sum(group_channels) // in_channels
        self.shares = [channels // multiplier for channels in group_channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(share, channels, kernel, stride, kernel // 2, groups=share, bias=False)
            for share, channels, kernel in zip(self.shares, group_channels, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        groups = x.split(self.shares, dim=1)
        mixed = [conv(groups[i]) for i, conv in enumerate(self.convs)]
        return torch.cat(mixed, dim=1) if len(mixed) > 1 else mixed[0]  # (N, multiplier * C, H, W)
