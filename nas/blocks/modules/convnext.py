"""The block of ConvNeXt, arXiv:2201.03545, and what it was on the paper's way from ResNet's."""

from typing import NamedTuple

from torch import Tensor, nn

from nas.blocks.modules.layer_scale import LayerScale
from nas.blocks.modules.patchify import Patchify
from nas.blocks.modules.projection import Projection
from nas.blocks.modules.stochastic_depth import StochasticDepth


class Layers(NamedTuple):
    """The norm and the activation, and whether one follows every convolution as in ResNet."""

    norm: type[nn.Module]
    activation: type[nn.Module]
    every_norm: bool = False
    every_activation: bool = False


class ConvNeXt(nn.Module):
    """k x k depthwise, norm, 1x1 expand, activation, 1x1 project [, layer scale], + skip.

    Smaller or wider, it begins with a norm and a convolution of patches ("separate"), or has a
    strided depthwise convolution and a projection as its skip ("shortcut"). As in ResNet, a norm
    may follow every convolution, and an activation the depthwise one and the sum.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel: int,
        layers: Layers,
        stride: int = 1,
        downsample: str = "none",
        layer_scale: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        norm, activation, every_norm, every_activation = layers
        separate, shortcut = downsample == "separate", downsample == "shortcut"
        width = out_channels if separate else in_channels
        # A batch norm right after a convolution has a bias of its own.
        bias = norm is not nn.BatchNorm2d
        bias_1x1 = bias or not every_norm
        self.downsample = (
            Patchify(in_channels, out_channels, stride, norm, norm_first=True)
            if separate
            else nn.Identity()
        )
        step = stride if shortcut else 1
        self.depthwise = nn.Conv2d(width, width, kernel, step, kernel // 2, groups=width, bias=bias)
        self.norm1 = norm(width)
        self.act1 = activation() if every_activation else nn.Identity()
        self.expand = nn.Conv2d(width, hidden_channels, 1, bias=bias_1x1)
        self.norm2 = norm(hidden_channels) if every_norm else nn.Identity()
        self.act2 = activation()
        self.project = nn.Conv2d(hidden_channels, out_channels, 1, bias=bias_1x1)
        self.norm3 = norm(out_channels) if every_norm else nn.Identity()
        self.scale = LayerScale(out_channels) if layer_scale else nn.Identity()
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.skip = (
            Projection(in_channels, out_channels, stride, norm=norm) if shortcut else nn.Identity()
        )
        self.act3 = activation() if every_activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        y = self.act1(self.norm1(self.depthwise(x)))  # (N, in or out, H / stride, W / stride)
        y = self.act2(self.norm2(self.expand(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(y))  # (N, out, H / stride, W / stride)
        return self.act3(self.drop_path(self.scale(y)) + self.skip(x))
