"""A convolution with SE and a skip: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.skip import add_skip
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count ResidualConv."""
    held = tape.hold() if args.skip else None
    tape.conv(args.out_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    return {
        **options.plain_arguments(values, place, "kernel", "activation", "skip"),
        "se": options.read_squeeze(values, place.in_channels, place.out_channels),
    }


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without SE and skip it is a plain convolution."""
    plain = not values["se_ratio"] and not options.read_skip(values, place)
    return "conv" if plain else "residual_conv", values


OPTIONS = {
    "kernels": options.kernel(),
    "activation": options.activation(),
    **options.squeeze_excite(),
    **options.residual(),
}
BLOCK = Block(
    "residual_conv",
    Class.own("residual_conv", "ResidualConv"),
    OPTIONS,
    _arguments,
    cost,
    _canonical,
)
