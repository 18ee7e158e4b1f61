"""The stem of ResNet: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.cost import Tape
from nas.errors import SpaceError

STRIDES = (1, 2, 4)


def cost(tape: Tape, args: Args) -> None:
    """Count ResNetStem."""
    half, first = max(1, args.out_channels // 2), min(args.stride, 2)
    convs = ((half, 3, first), (half, 3, 1), (args.out_channels, 3, 1))
    for channels, kernel, step in convs if args.deep else ((args.out_channels, 7, first),):
        tape.conv(channels, kernel, stride=step)
        tape.norm_act()
    if args.stride == 4:
        tape.max_pool(stride=2)


def _arguments(values: Options, place: Place) -> Arguments:
    if place.stride not in STRIDES:
        raise SpaceError(f"A resnet_stem's stride is 1, 2 or 4, not {place.stride}.")
    return options.plain_arguments(values, place, "deep", "activation")


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """One convolution without a pool is a plain convolution."""
    if place.stride < 4 and not values["deep"]:
        return "conv", {**values, "kernels": "7"}
    return "resnet_stem", values


OPTIONS = {"deep": options.flag(False), "activation": options.activation()}
BLOCK = Block(
    "resnet_stem",
    Class.own("resnet_stem", "ResNetStem"),
    OPTIONS,
    _arguments,
    cost,
    _canonical,
)
