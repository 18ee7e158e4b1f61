"""The bottleneck of ResNet-50, arXiv:1512.03385, with groups as in ResNeXt, arXiv:1611.05431.

A ratio over 1 inverts it: narrow outside, wide inside, the activation after the sum as before.
"""

from torch import Tensor, nn

from nas.blocks.modules.conv import ConvNormAct
from nas.blocks.modules.projection import shortcut
from nas.blocks.modules.stochastic_depth import StochasticDepth


class Bottleneck(nn.Module):
    """1x1, k x k in groups [, average pool with the stride], 1x1, + shortcut, activation."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        kernel: int = 3,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        downsample: str = "conv",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, mid_channels, 1, activation=activation)
        step = 1 if downsample == "pool" else stride
        self.conv2 = ConvNormAct(mid_channels, mid_channels, kernel, step, groups, activation)
        self.pool = nn.AvgPool2d(3, stride, 1) if downsample == "pool" else nn.Identity()
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shortcut = shortcut(in_channels, out_channels, stride, downsample)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.conv2(self.conv1(x)))  # (N, mid, H / stride, W / stride)
        y = self.norm3(self.conv3(y))  # (N, out, H / stride, W / stride)
        return self.act(self.drop_path(y) + self.shortcut(x))
