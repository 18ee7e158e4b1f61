"""The ghost bottleneck: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Option, Options, Place, options
from nas.blocks.classes import Class, Instance
from nas.blocks.dense_mixconv import MIXCONVS, mix_conv
from nas.cost import Tape
from nas.errors import SpaceError

GHOST = Class.own("ghost", "Ghost")


def count_ghost(
    tape: Tape, channels: int, cheap: tuple[int, ...], ghost: Instance, *, act: bool
) -> None:
    """Count a GhostModule of these output channels, of which `cheap` are the ghosts."""
    count = tape.norm_act if act else tape.norm
    tape.conv(channels - sum(cheap), 1)
    count()
    primary = tape.hold()
    mix_conv(tape, ghost.cheap, cheap, ghost.kernels)
    count()
    tape.concat(primary)


def cost(tape: Tape, args: Args) -> None:
    """Count GhostBottleneck."""
    held = tape.hold()
    count_ghost(tape, args.hidden_channels, args.ghost.hidden, args.ghost, act=True)
    if args.stride > 1:
        tape.conv(tape.channels, args.kernel, stride=args.stride, groups=tape.channels)
        tape.norm()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    count_ghost(tape, args.out_channels, args.ghost.out, args.ghost, act=False)
    if args.stride > 1 or held.channels != args.out_channels:
        output = tape.hold()
        tape.take(held)
        tape.conv(held.channels, args.kernel, stride=args.stride, groups=held.channels)
        tape.norm()
        tape.conv(args.out_channels, 1)
        tape.norm()
        held = output
    tape.add(held)


def ratio() -> Option:
    """Return the option that says how many times as many channels a ghost module has as its 1x1."""
    return options.count(2, "a whole number from 2 to 64", least=2, most=64, structural=True)


def ghost_channels(values: Options, channels: int) -> tuple[int, ...]:
    """Return the channels that each kernel group of the cheap operation makes of the 1x1's.

    Raises SpaceError where the ratio does not divide the module's channels.
    """
    shares = values["ratio"]
    if channels % shares:
        raise SpaceError(
            f"A ghost ratio divides the module's {channels} channels; {shares} does not."
        )
    primary = options.group_channels(values, channels // shares, "cheap_kernels")
    return tuple((shares - 1) * share for share in primary)


def read_ghost(values: Options, hidden_channels: int, out_channels: int, cheap: Class) -> Instance:
    """Return the ghost modules of a module's constructor."""
    kernels = options.kernel_sizes(values["cheap_kernels"])
    hidden, out = ghost_channels(values, hidden_channels), ghost_channels(values, out_channels)
    return GHOST(kernels=kernels, hidden=hidden, out=out, cheap=cheap)


def options_of_ghost(ghost: Instance, hidden_channels: int) -> Options:
    """Return the options that the ghost modules of a module's constructor were made of."""
    kernels = ".".join(map(str, ghost.kernels))
    ratio = hidden_channels // (hidden_channels - sum(ghost.hidden))
    return {"cheap_kernels": kernels, "ratio": ratio}


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    return {
        **options.plain_arguments(values, place, "activation", "drop_path"),
        "hidden_channels": hidden_channels,
        "ghost": read_ghost(values, hidden_channels, place.out_channels, MIXCONVS["depthwise"]),
        "se": options.read_squeeze(values, place.in_channels, hidden_channels),
        # Without a stride and with equal widths no convolution has the kernel.
        "kernel": int(values["kernels"]) if place.changes else 3,
    }


def _options_of(arguments: Arguments, _: Place) -> Options:
    return options_of_ghost(arguments["ghost"], arguments["hidden_channels"])


OPTIONS = {
    "kernels": options.kernel(),
    "cheap_kernels": options.kernels(),
    "partition": options.partition(),
    "ratio": ratio(),
    "expansion": options.expansion(2),
    "activation": options.activation(),
    **options.squeeze_excite(),
    "drop_path": options.rate(),
}
BLOCK = Block(
    "ghost",
    Class.own("ghost", "GhostBottleneck"),
    OPTIONS,
    _arguments,
    cost,
    options_of=_options_of,
)
