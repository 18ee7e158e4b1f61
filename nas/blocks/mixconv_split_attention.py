"""ME-NeSt-Ghost's early block: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.dense_mixconv import MIXCONV, MIXCONVS, mix_conv
from nas.blocks.inverse import named
from nas.blocks.shuffled_skip import add_shuffled_skip, read_shuffle, shuffle_options
from nas.blocks.split_attention import read_attention, split_attention
from nas.cost import Tape
from nas.errors import SpaceError


def cost(tape: Tape, args: Args) -> None:
    """Count MixConvSplitAttention."""
    held = tape.hold()
    mix_conv(tape, args.mixconv, args.group_channels, args.kernels)
    tape.norm_act()
    split_attention(tape, args.out_channels, args.attention, stride=args.stride)
    add_shuffled_skip(tape, held, args.stride, args.shuffle)


def _group_channels(values: Options, place: Place) -> tuple[int, ...]:
    """Return the branches' widths; a depthwise MixConv gives each channel as many outputs."""
    in_channels, hidden_channels = place.in_channels, options.hidden_channels(values, place)
    if values["mixconv"] == "dense":
        return options.group_channels(values, hidden_channels)
    if hidden_channels % in_channels:
        raise SpaceError(
            f"A depthwise MixConv widens {in_channels} channels by a whole number, not to"
            f" {hidden_channels}."
        )
    shares = options.group_channels(values, in_channels)
    return tuple(hidden_channels // in_channels * share for share in shares)


def _arguments(values: Options, place: Place) -> Arguments:
    group_channels = _group_channels(values, place)
    kernel, width = int(values["attention_kernels"]), sum(group_channels)
    return {
        **options.plain_arguments(values, place, "kernels", "activation"),
        "mixconv": MIXCONVS[values["mixconv"]],
        "group_channels": group_channels,
        "attention": read_attention(values, width, place.out_channels, kernel),
        "shuffle": read_shuffle(values, place.out_channels),
    }


def _options_of(arguments: Arguments, _: Place) -> Options:
    attention, shuffle = arguments["attention"], arguments["shuffle"]
    return {
        "mixconv": named(arguments["mixconv"], MIXCONVS),
        "attention_kernels": str(attention.kernel),
        "radix": attention.radix,
        "cardinality": attention.cardinality,
        "shuffle_groups": shuffle.groups,
        "drop_path": shuffle.drop_path,
    }


def _canonical_mixconv(mixconv: str, place: Place, arguments: Arguments) -> str:
    """One dense branch that gives each channel as many outputs is a depthwise convolution."""
    widths = arguments["group_channels"]
    return "depthwise" if len(widths) == 1 and sum(widths) % place.in_channels == 0 else mixconv


OPTIONS = {
    "mixconv": MIXCONV._replace(canonical=_canonical_mixconv),
    "kernels": options.kernels(),
    "partition": options.partition(),
    "expansion": options.expansion(4),
    "attention_kernels": options.kernel(),
    "radix": options.count(2, structural=True),
    "cardinality": options.groups(),
    "activation": options.activation("mish"),
    **shuffle_options(),
}
BLOCK = Block(
    "mixconv_split_attention",
    Class.own("mixconv_split_attention", "MixConvSplitAttention"),
    OPTIONS,
    _arguments,
    cost,
    options_of=_options_of,
)
