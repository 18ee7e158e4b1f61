"""The shortcut of a residual block whose input and output differ: ResNet, arXiv:1512.03385.

With an average pool it is ResNet-D's, arXiv:1812.01187.
"""

from torch import Tensor, nn


class Projection(nn.Module):
    """1x1 convolution with the stride, norm; or average pool with the stride, 1x1, norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        pooled: bool = False,
        norm: type[nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        # Windows that reach over the border average what there is.
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
        self.pool = pool if pooled else nn.Identity()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, 1 if pooled else stride, bias=False)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.pool(x)))


def shortcut(in_channels: int, out_channels: int, stride: int, downsample: str) -> nn.Module:
    """Build the shortcut of a residual block: the identity where the shapes agree."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return Projection(in_channels, out_channels, stride, pooled=downsample != "conv")
