"""CondConv: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.skip import add_skip
from nas.cost import Tape

ROUTINGS = ("block", "convolution")
EXPERTS = Class.own("condconv", "Experts")


def cost(tape: Tape, args: Args) -> None:
    """Count CondMBConv."""
    held = tape.hold() if args.skip else None
    number, shared = args.experts.number, not args.experts.own_routing
    weights = tape.route(number)
    tape.cond_conv(args.hidden_channels, 1, experts=number, routing=weights, keep=shared)
    tape.norm_act()
    weights = weights if shared else tape.route(number)
    groups = args.hidden_channels
    tape.cond_conv(
        args.hidden_channels, args.kernel, stride=args.stride, groups=groups,
        experts=number, routing=weights, keep=shared,
    )  # fmt: skip
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    weights = weights if shared else tape.route(number)
    tape.cond_conv(args.out_channels, 1, experts=number, routing=weights)
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    own_routing = values["routing"] == "convolution"
    return {
        **options.plain_arguments(values, place, "kernel", "activation", "skip"),
        "hidden_channels": hidden_channels,
        "se": options.read_squeeze(values, place.in_channels, hidden_channels),
        "experts": EXPERTS(number=values["experts"], own_routing=own_routing),
    }


def _options_of(arguments: Arguments, _: Place) -> Options:
    number, own_routing = arguments["experts"]
    return {"experts": number, "routing": ROUTINGS[own_routing]}


OPTIONS = {
    "kernels": options.kernel(),
    "experts": options.count(4),
    "routing": options.one_of("block", ROUTINGS),
    "expansion": options.expansion(),
    "activation": options.activation(),
    **options.squeeze_excite(),
    **options.residual(),
}
BLOCK = Block(
    "condconv",
    Class.own("condconv", "CondMBConv"),
    OPTIONS,
    _arguments,
    cost,
    options_of=_options_of,
)
