"""The basic block of ResNet: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.projection import add_shortcut
from nas.cost import Tape

DOWNSAMPLE = ("conv", "pool_shortcut")


def cost(tape: Tape, args: Args) -> None:
    """Count BasicBlock."""
    held = tape.hold()
    tape.conv(args.out_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    tape.conv(args.out_channels, args.kernel)
    tape.norm()
    add_shortcut(tape, held, args.stride, args.downsample)
    tape.act()


def _arguments(values: Options, place: Place) -> Arguments:
    downsample = values["downsample"] if place.stride > 1 else "conv"
    plain = options.plain_arguments(values, place, "kernel", "activation", "drop_path")
    return plain | {"downsample": downsample}


OPTIONS = {
    "kernels": options.kernel(),
    "activation": options.activation(),
    "downsample": options.one_of("conv", DOWNSAMPLE),
    "drop_path": options.rate(),
}
BLOCK = Block("basic", Class.own("resnet_basic", "BasicBlock"), OPTIONS, _arguments, cost)
