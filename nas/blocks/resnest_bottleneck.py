"""The bottleneck of ResNeSt, arXiv:2004.08955: split attention between its 1x1 convolutions."""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.conv import ConvNormAct
from nas.blocks.projection import shortcut
from nas.blocks.resnet_bottleneck import (
    bottleneck_arguments,
    bottleneck_options,
    end_bottleneck,
    width_inside,
)
from nas.blocks.split_attention import Attention, SplitAttention, read_attention, split_attention
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape
from nas.errors import SpaceError


class ResNeStBottleneck(nn.Module):
    """1x1, k x k split attention [, average pool with the stride], 1x1, + shortcut, activation."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        attention: Attention,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        downsample: str = "conv",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, mid_channels, 1, activation=activation)
        step = 1 if downsample == "pool" else stride
        self.conv2 = SplitAttention(mid_channels, mid_channels, attention, step, activation)
        self.pool = nn.AvgPool2d(3, stride, 1) if downsample == "pool" else nn.Identity()
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shortcut = shortcut(in_channels, out_channels, stride, downsample)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.conv2(self.conv1(x)))  # (N, mid, H / stride, W / stride)
        y = self.norm3(self.conv3(y))  # (N, out, H / stride, W / stride)
        return self.act(self.drop_path(y) + self.shortcut(x))


def cost(tape: Tape, args: Args) -> None:
    """Count ResNeStBottleneck."""
    held = tape.hold()
    tape.conv(args.mid_channels, 1)
    tape.norm_act()
    step = 1 if args.downsample == "pool" else args.stride
    split_attention(tape, args.mid_channels, args.attention, stride=step)
    end_bottleneck(tape, held, args.out_channels, args.stride, args.downsample)


def _whole_width_inside(values: Options, out_channels: int) -> int:
    """Width inside: int(ratio x block output), rounded up to whole groups."""
    groups = values["radix"] * values["cardinality"]
    width = -(-width_inside(values, out_channels) // groups) * groups
    if width > options.MAX_RATIO * out_channels:
        raise SpaceError(
            f"A bottleneck is at most {options.MAX_RATIO:g} times as wide inside as its"
            f" {out_channels} output channels; {groups} groups make it {width}."
        )
    return width


def _arguments(values: Options, place: Place) -> Arguments:
    mid = _whole_width_inside(values, place.out_channels)
    attention = read_attention(values, mid, mid, int(values["kernels"]))
    return bottleneck_arguments(ResNeStBottleneck, values, place, mid) | {"attention": attention}


def _options_of(arguments: Arguments, _: Place) -> Options:
    attention = arguments["attention"]
    return {
        "kernels": str(attention.kernel),
        "radix": attention.radix,
        "cardinality": attention.cardinality,
    }


OPTIONS = {
    **bottleneck_options("pool"),
    "radix": options.count(2, structural=True),
    "cardinality": options.groups(),
}
BLOCK = Block(
    "resnest_bottleneck", ResNeStBottleneck, OPTIONS, _arguments, cost, options_of=_options_of
)
