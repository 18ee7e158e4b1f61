"""Depthwise-separable convolution: MobileNets, arXiv:1704.04861; with MixConv and SE as options."""

from torch import Tensor, nn

from nas.blocks.modules.mixconv import depthwise
from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class DepthwiseSeparable(nn.Module):
    """k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        project_groups: int = 1,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = SqueezeExcite(in_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return y if self.skip is None else self.skip(x, y)
