"""A plain convolution: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count ConvNormAct."""
    tape.conv(args.out_channels, args.kernel, stride=args.stride, groups=args.groups)
    tape.norm_act()


def _arguments(values: Options, place: Place) -> Arguments:
    options.check_groups("conv.groups", values["groups"], place.in_channels, place.out_channels)
    return options.plain_arguments(values, place, "kernel", "groups", "activation")


OPTIONS = {
    "kernels": options.kernel(),
    "groups": options.groups(),
    "activation": options.activation(),
}
BLOCK = Block("conv", Class.own("conv", "ConvNormAct"), OPTIONS, _arguments, cost)
