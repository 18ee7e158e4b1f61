"""GhostNet: More Features from Cheap Operations, arXiv:1911.11907; with MixConv as the cheap
operation it is Mix-Ghost.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite
from nas.blocks.modules.stochastic_depth import StochasticDepth


class Ghost(NamedTuple):
    """The cheap operations of two ghost modules: kernel sizes, channels for each, and their kind.

    The first module makes the `hidden` channels, the second the output's.
    """

    kernels: tuple[int, ...]
    hidden: tuple[int, ...]
    out: tuple[int, ...]
    cheap: type[nn.Module]


class GhostModule(nn.Module):
    """1x1 convolution to a part of the channels; a cheap convolution of these gives the others."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cheap_channels: tuple[int, ...],
        cheap_kernels: tuple[int, ...],
        activation: type[nn.Module],
        cheap: type[nn.Module],
    ) -> None:
        super().__init__()
        ghosts = sum(cheap_channels)
        self.primary = nn.Conv2d(in_channels, out_channels - ghosts, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels - ghosts)
        self.cheap = cheap(out_channels - ghosts, cheap_channels, cheap_kernels)
        self.norm2 = nn.BatchNorm2d(ghosts)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.primary(x)))  # (N, C / ratio, H, W)
        ghosts = self.act(self.norm2(self.cheap(x)))
        return torch.cat((x, ghosts), dim=1)  # (N, C, H, W)


class GhostBottleneck(nn.Module):
    """Ghost expand [, k x k depthwise stride] [+ SE], ghost project + skip.

    The skip is the identity, or k x k depthwise stride and 1x1 where shapes differ.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        ghost: Ghost,
        kernel: int = 3,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        kernels, cheap = ghost.kernels, ghost.cheap
        self.expand = GhostModule(
            in_channels, hidden_channels, ghost.hidden, kernels, activation, cheap
        )
        self.depthwise = (
            depthwise_norm(hidden_channels, kernel, stride) if stride > 1 else nn.Identity()
        )
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = GhostModule(
            hidden_channels, out_channels, ghost.out, kernels, nn.Identity, cheap
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                *depthwise_norm(in_channels, kernel, stride),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        )
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # (N, hidden, H, W)
        y = self.se(self.depthwise(y))  # (N, hidden, H / stride, W / stride)
        y = self.project(y)  # (N, out, H / stride, W / stride)
        return self.shortcut(x) + self.drop_path(y)


def depthwise_norm(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Build a k x k depthwise convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    )
