"""The skip of ME-NeSt-Ghost, and ShuffleNet's channel shuffle, arXiv:1707.01083, after it."""

from typing import NamedTuple

from torch import Tensor, nn

from nas.blocks.modules.stochastic_depth import StochasticDepth


class Shuffle(NamedTuple):
    """The groups of the channel shuffle, 1 for none, and the rate of dropped paths."""

    groups: int
    drop_path: float = 0.0


class ShuffledSkip(nn.Module):
    """The input, where shapes differ [3x3 max pool] and 1x1, is added [+ channel shuffle]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shuffle: Shuffle) -> None:
        super().__init__()
        same = stride == 1 and in_channels == out_channels
        self.pool = nn.MaxPool2d(3, stride, 1) if stride > 1 else nn.Identity()
        self.conv = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.drop_path = StochasticDepth(shuffle.drop_path) if shuffle.drop_path else nn.Identity()
        self.shuffle = nn.ChannelShuffle(shuffle.groups) if shuffle.groups > 1 else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.shuffle(self.conv(self.pool(x)) + self.drop_path(y))
