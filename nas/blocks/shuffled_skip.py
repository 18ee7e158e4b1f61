"""The skip of ME-NeSt-Ghost, and ShuffleNet's channel shuffle, arXiv:1707.01083, after it."""

from typing import NamedTuple

from torch import Tensor, nn

from nas.blocks import Option, Options, options
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Held, Tape


class Shuffle(NamedTuple):
    """The groups of the channel shuffle, 1 for none, and the rate of dropped paths."""

    groups: int
    drop_path: float = 0.0


class ShuffledSkip(nn.Module):
    """The input, where shapes differ [3x3 max pool] and 1x1, is added [+ channel shuffle]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shuffle: Shuffle) -> None:
        super().__init__()
        same = stride == 1 and in_channels == out_channels
        self.pool = nn.MaxPool2d(3, stride, 1) if stride > 1 else nn.Identity()
        self.conv = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.drop_path = StochasticDepth(shuffle.drop_path) if shuffle.drop_path else nn.Identity()
        self.shuffle = nn.ChannelShuffle(shuffle.groups) if shuffle.groups > 1 else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.shuffle(self.conv(self.pool(x)) + self.drop_path(y))


def add_shuffled_skip(tape: Tape, held: Held, stride: int, shuffle: Shuffle) -> None:
    """Count the sum of the input, which was held, and the tensor at hand, and the shuffle."""
    if stride > 1 or held.channels != tape.channels:
        output = tape.hold()
        tape.take(held)
        if stride > 1:
            tape.max_pool(stride=stride)
        tape.conv(output.channels, 1)
        held = output
    tape.add(held)
    if shuffle.groups > 1:
        tape.act()


def shuffle_options() -> dict[str, Option]:
    """Return the options of the skip: groups of the channel shuffle, stochastic depth."""
    return {"shuffle_groups": options.groups(), "drop_path": options.rate()}


def read_shuffle(values: Options, out_channels: int) -> Shuffle:
    """Return the skip of a module's constructor; a shuffle of single channels is none."""
    groups = values["shuffle_groups"]
    options.check_groups("shuffle_groups", groups, out_channels)
    return Shuffle(groups if groups < out_channels else 1, values["drop_path"])
