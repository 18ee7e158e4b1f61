"""Fused-MBConv: EfficientNet-EdgeTPU's block, which MBConv's 1x1 expansion and depthwise
convolution become in EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class FusedMBConv(nn.Module):
    """k x k expand [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(
            in_channels, hidden_channels, kernel, stride, kernel // 2, bias=False
        )
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(hidden_channels, out_channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H / stride, W / stride)
        y = self.norm2(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)
