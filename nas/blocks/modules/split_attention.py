"""ResNeSt: Split-Attention Networks, arXiv:2004.08955."""

from typing import NamedTuple

from torch import Tensor, nn


class Attention(NamedTuple):
    """Split attention: its width, the kernel, and the splits and groups of its convolution."""

    channels: int
    kernel: int = 3
    radix: int = 2
    cardinality: int = 1


class SplitAttention(nn.Module):
    """k x k grouped convolution to `radix` splits, and their sum weighted by attention.

    The attention: global pool of the splits' sum, 1x1 reduce, 1x1 expand, softmax over the splits
    (sigmoid where there is one).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        attention: Attention,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        channels, kernel, radix, cardinality = attention
        self.cardinality, self.radix = cardinality, radix
        splits, groups = radix * out_channels, radix * cardinality
        self.conv = nn.Conv2d(
            in_channels, splits, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm1 = nn.BatchNorm2d(splits)
        self.act = activation()
        self.reduce = nn.Conv2d(out_channels, channels, 1, groups=cardinality)
        self.norm2 = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, splits, 1, groups=cardinality)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.conv(x)))
        x = x.unflatten(1, (self.radix, -1))  # (N, radix, C, H / stride, W / stride)
        y = x.mean((3, 4), keepdim=True).sum(1)  # (N, C, 1, 1)
        y = self.expand(self.act(self.norm2(self.reduce(y))))  # (N, radix * C, 1, 1)
        # (N, cardinality * radix * C / cardinality, 1, 1) -> (N, radix, cardinality, ..., 1, 1)
        y = y.unflatten(1, (self.cardinality, self.radix, -1)).transpose(1, 2)
        y = y.softmax(1) if self.radix > 1 else y.sigmoid()
        return (x * y.flatten(2, 3)).sum(1)  # (N, C, H / stride, W / stride)
