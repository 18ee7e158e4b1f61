"""The stem of ResNet, arXiv:1512.03385; the deep one is ResNet-C's, arXiv:1812.01187."""

from torch import Tensor, nn

from nas.blocks.modules.conv import ConvNormAct


class ResNetStem(nn.Module):
    """7x7 convolution, or three of 3x3 (deep), and at stride 4 a max pool; stride 2 each.

    At stride 2 there is no pool, at stride 1 the convolution has none either: for small images.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 4,
        deep: bool = False,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        half, first = max(1, out_channels // 2), min(stride, 2)
        self.conv = (
            nn.Sequential(
                ConvNormAct(in_channels, half, 3, first, activation=activation),
                ConvNormAct(half, half, 3, activation=activation),
                ConvNormAct(half, out_channels, 3, activation=activation),
            )
            if deep
            else ConvNormAct(in_channels, out_channels, 7, first, activation=activation)
        )
        self.pool = nn.MaxPool2d(3, 2, 1) if stride == 4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))
