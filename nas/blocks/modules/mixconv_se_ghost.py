"""MixConv, SE and Mix-Ghost (arXiv:1907.09595, arXiv:1709.01507, arXiv:1911.11907): ME-NeSt-Ghost's
late block.
"""

from torch import Tensor, nn

from nas.blocks.modules.ghost import Ghost, GhostModule
from nas.blocks.modules.shuffled_skip import Shuffle, ShuffledSkip
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class MixConvSEGhost(nn.Module):
    """Mix-Ghost expand, MixConv [+ SE], Mix-Ghost project + skip [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        ghost: Ghost,
        shuffle: Shuffle,
        stride: int = 1,
        activation: type[nn.Module] = nn.Mish,
        se: Squeeze | None = None,
    ) -> None:
        super().__init__()
        hidden_channels, mixconv = sum(group_channels), ghost.cheap
        self.expand = GhostModule(
            in_channels, hidden_channels, ghost.hidden, ghost.kernels, activation, mixconv
        )
        self.mixconv = mixconv(hidden_channels, group_channels, kernels, stride)
        self.norm = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = GhostModule(
            hidden_channels, out_channels, ghost.out, ghost.kernels, nn.Identity, mixconv
        )
        self.skip = ShuffledSkip(in_channels, out_channels, stride, shuffle)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # (N, hidden, H, W)
        y = self.act(self.norm(self.mixconv(y)))  # (N, hidden, H / stride, W / stride)
        y = self.project(self.se(y))  # (N, out, H / stride, W / stride)
        return self.skip(x, y)
