"""The skip of ME-NeSt-Ghost, and ShuffleNet's channel shuffle, arXiv:1707.01083, after it."""

from torch import Tensor, nn

from nas.blocks import Arguments, Option, Options, options
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Held, Tape


class ShuffledSkip(nn.Module):
    """The input, where shapes differ [3x3 max pool] and 1x1, is added [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shuffle_groups: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        same = stride == 1 and in_channels == out_channels
        self.pool = nn.MaxPool2d(3, stride, 1) if stride > 1 else nn.Identity()
        self.conv = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shuffle = nn.ChannelShuffle(shuffle_groups) if shuffle_groups > 1 else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.shuffle(self.conv(self.pool(x)) + self.drop_path(y))


def add_shuffled_skip(tape: Tape, held: Held, stride: int, shuffle_groups: int) -> None:
    """Count what ShuffledSkip does with the input, which was held, and the tensor at hand."""
    if stride > 1 or held.channels != tape.channels:
        output = tape.hold()
        tape.take(held)
        if stride > 1:
            tape.max_pool(stride)
        tape.conv(output.channels, 1)
        held = output
    tape.add(held)
    if shuffle_groups > 1:
        tape.pointwise()


def shuffled_skip() -> dict[str, Option]:
    """Return the options of the skip: groups of the channel shuffle, stochastic depth."""
    return {"shuffle_groups": options.groups(), "drop_path": options.rate()}


def shuffled_skip_arguments(values: Options, out_channels: int) -> Arguments:
    """Return a module's arguments for its skip; a shuffle of single channels is none."""
    groups = int(values["shuffle_groups"])
    options.check_groups("shuffle_groups", groups, out_channels)
    return {
        "shuffle_groups": groups if groups < out_channels else 1,
        "drop_path": float(values["drop_path"]),
    }
