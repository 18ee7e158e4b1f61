"""The depthwise-separable convolution: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.skip import add_skip
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count DepthwiseSeparable."""
    held = tape.hold() if args.skip else None
    tape.mix_conv(args.group_channels, args.kernels, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1, groups=args.project_groups)
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def separable_arguments(values: Options, place: Place, hidden_channels: int) -> Arguments:
    """Return the arguments that a depthwise-separable block and MBConv have in common."""
    groups = values["project_groups"]
    options.check_groups("project_groups", groups, hidden_channels, place.out_channels)
    return {
        "group_channels": options.group_channels(values, hidden_channels),
        **options.plain_arguments(values, place, "kernels", "activation", "skip"),
        "se": options.read_squeeze(values, place.in_channels, hidden_channels),
    }


def _arguments(values: Options, place: Place) -> Arguments:
    shared = separable_arguments(values, place, place.in_channels)
    return shared | {"project_groups": values["project_groups"]}


OPTIONS = {
    "kernels": options.kernels(),
    "partition": options.partition(),
    "activation": options.activation(),
    **options.squeeze_excite(),
    "project_groups": options.groups(),
    **options.residual(),
}
BLOCK = Block(
    "depthwise_separable",
    Class.own("depthwise_separable", "DepthwiseSeparable"),
    OPTIONS,
    _arguments,
    cost,
    joined=options.joined_groups,
)
