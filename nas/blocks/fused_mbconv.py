"""Fused-MBConv: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.skip import add_skip
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count FusedMBConv."""
    held = tape.hold() if args.skip else None
    tape.conv(args.hidden_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1)
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    if _is_one_convolution(values, place):  # its squeeze has rules of its own
        options.read_squeeze(values, place.in_channels, place.out_channels)
    return {
        **options.plain_arguments(values, place, "kernel", "activation", "skip"),
        "hidden_channels": hidden_channels,
        "se": options.read_squeeze(values, place.in_channels, hidden_channels),
    }


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without an expansion, and where none is asked for, there is no projection either."""
    return "residual_conv" if _is_one_convolution(values, place) else "fused_mbconv", values


def _options_of(arguments: Arguments, place: Place) -> Options:
    return {"project": arguments["hidden_channels"] == place.in_channels}


def _is_one_convolution(values: Options, place: Place) -> bool:
    return options.hidden_channels(values, place) == place.in_channels and not values["project"]


OPTIONS = {
    "kernels": options.kernel(),
    "expansion": options.expansion(4),
    "project": options.flag(False, structural=True),
    "activation": options.activation(),
    **options.squeeze_excite(),
    **options.residual(),
}
BLOCK = Block(
    "fused_mbconv",
    Class.own("fused_mbconv", "FusedMBConv"),
    OPTIONS,
    _arguments,
    cost,
    _canonical,
    options_of=_options_of,
)
