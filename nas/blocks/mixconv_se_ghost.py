"""MixConv, SE and Mix-Ghost (arXiv:1907.09595, arXiv:1709.01507, arXiv:1911.11907): ME-NeSt-Ghost's
late block.
"""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.dense_mixconv import MIXCONV, MIXCONVS, mix_conv
from nas.blocks.ghost import Ghost, GhostModule, count_ghost, options_of_ghost, ratio, read_ghost
from nas.blocks.inverse import named
from nas.blocks.shuffled_skip import (
    Shuffle,
    ShuffledSkip,
    add_shuffled_skip,
    read_shuffle,
    shuffle_options,
)
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
from nas.cost import Tape


class MixConvSEGhost(nn.Module):
    """Mix-Ghost expand, MixConv [+ SE], Mix-Ghost project + skip [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        ghost: Ghost,
        shuffle: Shuffle,
        stride: int = 1,
        activation: type[nn.Module] = nn.Mish,
        se: Squeeze | None = None,
    ) -> None:
        super().__init__()
        hidden_channels, mixconv = sum(group_channels), ghost.cheap
        self.expand = GhostModule(
            in_channels, hidden_channels, ghost.hidden, ghost.kernels, activation, mixconv
        )
        self.mixconv = mixconv(hidden_channels, group_channels, kernels, stride)
        self.norm = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = GhostModule(
            hidden_channels, out_channels, ghost.out, ghost.kernels, nn.Identity, mixconv
        )
        self.skip = ShuffledSkip(in_channels, out_channels, stride, shuffle)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # (N, hidden, H, W)
        y = self.act(self.norm(self.mixconv(y)))  # (N, hidden, H / stride, W / stride)
        y = self.project(self.se(y))  # (N, out, H / stride, W / stride)
        return self.skip(x, y)


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
        **options.plain_arguments(MixConvSEGhost, values, place, hidden_channels),
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
BLOCK = Block("mixconv_se_ghost", MixConvSEGhost, OPTIONS, _arguments, cost, options_of=_options_of)
