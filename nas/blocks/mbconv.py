"""MBConv: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.depthwise_separable import OPTIONS as SEPARABLE
from nas.blocks.depthwise_separable import separable_arguments
from nas.blocks.skip import add_skip
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count MBConv."""
    held = tape.hold() if args.skip else None
    tape.conv(sum(args.group_channels), 1, groups=args.groups_1x1[0])
    tape.norm_act()
    tape.mix_conv(args.group_channels, args.kernels, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1, groups=args.groups_1x1[1])
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    groups = values["expand_groups"]
    options.check_groups("mbconv.expand_groups", groups, place.in_channels, hidden_channels)
    shared = separable_arguments(values, place, hidden_channels)
    return shared | {"groups_1x1": (groups, values["project_groups"])}


def _options_of(arguments: Arguments, _: Place) -> Options:
    expand_groups, project_groups = arguments["groups_1x1"]
    return {"expand_groups": expand_groups, "project_groups": project_groups}


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without an expansion there is no expanding convolution: a depthwise-separable block."""
    hidden_channels = options.hidden_channels(values, place)
    expands = hidden_channels != place.in_channels
    return "mbconv" if expands else "depthwise_separable", values


OPTIONS = {
    **SEPARABLE,
    "expansion": options.expansion(),
    "expand_groups": options.groups(),
}
BLOCK = Block(
    "mbconv",
    Class.own("mbconv", "MBConv"),
    OPTIONS,
    _arguments,
    cost,
    _canonical,
    options_of=_options_of,
    joined=options.joined_groups,
)
