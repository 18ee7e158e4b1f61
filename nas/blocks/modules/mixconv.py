"""MixConv: Mixed Depthwise Convolutional Kernels, arXiv:1907.09595."""

import torch
from torch import Tensor, nn


class MixConv2d(nn.Module):
    """Depthwise convolution that gives each group of channels a kernel size of its own."""

    def __init__(
        self, group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
    ) -> None:
        super().__init__()
        self.group_channels = group_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for channels, kernel in zip(group_channels, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        groups = x.split(self.group_channels, dim=1)
        mixed = [conv(groups[i]) for i, conv in enumerate(self.convs)]
        return torch.cat(mixed, dim=1)  # (N, C, H / stride, W / stride)


def depthwise(
    group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
) -> nn.Module:
    """Build a plain depthwise convolution where there is one kernel size, else a MixConv."""
    if len(kernels) > 1:
        return MixConv2d(group_channels, kernels, stride)
    channels, kernel = group_channels[0], kernels[0]
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
