"""Convolution with SE and a skip: an operation of MnasNet's space, arXiv:1807.11626, and the first
stage of EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks.modules.conv import ConvNormAct
from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class ResidualConv(nn.Module):
    """k x k convolution, batch norm, activation [+ SE] [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.se = SqueezeExcite(out_channels, se) if se else nn.Identity()
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.conv(x))
        return y if self.skip is None else self.skip(x, y)
