"""MBConv: MobileNetV2's inverted residual, arXiv:1801.04381, with SE (MnasNet, arXiv:1807.11626),
MixConv and grouped 1x1 convolutions (arXiv:1907.09595) as options.
"""

from torch import Tensor, nn

from nas.blocks.modules.mixconv import depthwise
from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class MBConv(nn.Module):
    """1x1 expand, k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        groups_1x1: tuple[int, int] = (1, 1),
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        hidden_channels, (expand_groups, project_groups) = sum(group_channels), groups_1x1
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)
