"""MixConv and split attention (arXiv:1907.09595, arXiv:2004.08955): ME-NeSt-Ghost's early block."""

from torch import Tensor, nn

from nas.blocks.modules.shuffled_skip import Shuffle, ShuffledSkip
from nas.blocks.modules.split_attention import Attention, SplitAttention


class MixConvSplitAttention(nn.Module):
    """MixConv expand, k x k split attention + skip [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mixconv: type[nn.Module],
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        attention: Attention,
        shuffle: Shuffle,
        stride: int = 1,
        activation: type[nn.Module] = nn.Mish,
    ) -> None:
        super().__init__()
        hidden = sum(group_channels)
        self.expand = mixconv(in_channels, group_channels, kernels)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = activation()
        self.attention = SplitAttention(hidden, out_channels, attention, stride, activation)
        self.skip = ShuffledSkip(in_channels, out_channels, stride, shuffle)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.expand(x)))  # (N, hidden, H, W)
        y = self.attention(y)  # (N, out, H / stride, W / stride)
        return self.skip(x, y)
