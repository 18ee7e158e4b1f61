"""ME-NeSt-Ghost's late block: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.dense_mixconv import MIXCONV, MIXCONVS, mix_conv
from nas.blocks.ghost import count_ghost, options_of_ghost, ratio, read_ghost
from nas.blocks.inverse import named
from nas.blocks.shuffled_skip import add_shuffled_skip, read_shuffle, shuffle_options
from nas.cost import Tape


def cost(tape: Tape, args: Args) -> None:
    """Count MixConvSEGhost."""
    held = tape.hold()
    count_ghost(tape, sum(args.group_channels), args.ghost.hidden, args.ghost, act=True)
    mix_conv(tape, args.ghost.cheap, args.group_channels, args.kernels, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    count_ghost(tape, args.out_channels, args.ghost.out, args.ghost, act=False)
    add_shuffled_skip(tape, held, args.stride, args.shuffle)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    mixconv = MIXCONVS[values["mixconv"]]
    return {
        "group_channels": options.group_channels(values, hidden_channels),
        "ghost": read_ghost(values, hidden_channels, place.out_channels, mixconv),
        "shuffle": read_shuffle(values, place.out_channels),
        **options.plain_arguments(values, place, "kernels", "activation"),
        "se": options.read_squeeze(values, place.in_channels, hidden_channels),
    }


def _options_of(arguments: Arguments, _: Place) -> Options:
    ghost, shuffle = arguments["ghost"], arguments["shuffle"]
    return {
        **options_of_ghost(ghost, sum(arguments["group_channels"])),
        "mixconv": named(ghost.cheap, MIXCONVS),
        "shuffle_groups": shuffle.groups,
        "drop_path": shuffle.drop_path,
    }


def _canonical_mixconv(mixconv: str, _: Place, arguments: Arguments) -> str:
    """With one kernel size everywhere a dense branch is a depthwise convolution."""
    return (
        "depthwise"
        if len(arguments["kernels"]) == len(arguments["ghost"].kernels) == 1
        else mixconv
    )


OPTIONS = {
    "mixconv": MIXCONV._replace(canonical=_canonical_mixconv),
    "kernels": options.kernels(),
    "cheap_kernels": options.kernels(),
    "partition": options.partition(),
    "ratio": ratio(),
    "expansion": options.expansion(6),
    "activation": options.activation("mish"),
    **options.squeeze_excite(),
    **shuffle_options(),
}
BLOCK = Block(
    "mixconv_se_ghost",
    Class.own("mixconv_se_ghost", "MixConvSEGhost"),
    OPTIONS,
    _arguments,
    cost,
    options_of=_options_of,
)
