"""Deep Residual Learning for Image Recognition, arXiv:1512.03385: the block of ResNet-18 and 34."""

from torch import Tensor, nn

from nas.blocks.modules.conv import ConvNormAct
from nas.blocks.modules.projection import shortcut
from nas.blocks.modules.stochastic_depth import StochasticDepth


class BasicBlock(nn.Module):
    """3x3, 3x3, + the input as it is or projected, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        kernel: int = 3,
        activation: type[nn.Module] = nn.ReLU,
        downsample: str = "conv",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shortcut = shortcut(in_channels, out_channels, stride, downsample)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.conv1(x)))
        return self.act(self.drop_path(y) + self.shortcut(x))
