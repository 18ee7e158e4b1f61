"""The bottleneck of ResNeSt: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.resnet_bottleneck import (
    bottleneck_arguments,
    bottleneck_options,
    end_bottleneck,
    width_inside,
)
from nas.blocks.split_attention import read_attention, split_attention
from nas.cost import Tape
from nas.errors import SpaceError


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
    return bottleneck_arguments(values, place, mid) | {"attention": attention}


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
    "resnest_bottleneck",
    Class.own("resnest_bottleneck", "ResNeStBottleneck"),
    OPTIONS,
    _arguments,
    cost,
    options_of=_options_of,
)
