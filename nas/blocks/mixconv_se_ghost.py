"""MixConv, SE and Mix-Ghost (arXiv:1907.09595, arXiv:1709.01507, arXiv:1911.11907): ME-NeSt-Ghost's
late block.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.dense_mixconv import MIXCONVS, mix_conv
from nas.blocks.ghost import GhostModule, ghost_channels, ghost_module, ratio
from nas.blocks.mixconv import partition_channels
from nas.blocks.shuffled_skip import (
    ShuffledSkip,
    add_shuffled_skip,
    shuffled_skip,
    shuffled_skip_arguments,
)
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.cost import Tape


class MixConvSEGhost(nn.Module):
    """Mix-Ghost expand, MixConv [+ SE], Mix-Ghost project + skip [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        mixconv: type[nn.Module],
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        cheap_hidden: tuple[int, ...],
        cheap_out: tuple[int, ...],
        cheap_kernels: tuple[int, ...],
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.Mish,
        se_activation: type[nn.Module] = nn.Mish,
        se_gate: type[nn.Module] = nn.Sigmoid,
        shuffle_groups: int = 1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = GhostModule(
            in_channels, hidden_channels, cheap_hidden, cheap_kernels, activation, mixconv
        )
        self.mixconv = mixconv(hidden_channels, group_channels, kernels, stride)
        self.norm = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = GhostModule(
            hidden_channels, out_channels, cheap_out, cheap_kernels, nn.Identity, mixconv
        )
        self.skip = ShuffledSkip(in_channels, out_channels, stride, shuffle_groups, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # (N, hidden, H, W)
        y = self.act(self.norm(self.mixconv(y)))  # (N, hidden, H / stride, W / stride)
        y = self.project(self.se(y))  # (N, out, H / stride, W / stride)
        return self.skip(x, y)


def cost(
    tape: Tape,
    *,
    hidden_channels: int,
    out_channels: int,
    mixconv: type[nn.Module],
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    cheap_hidden: tuple[int, ...],
    cheap_out: tuple[int, ...],
    cheap_kernels: tuple[int, ...],
    stride: int,
    se_channels: int,
    shuffle_groups: int,
    **_: object,
) -> None:
    """Count what MixConvSEGhost does."""
    held = tape.hold()
    ghost_module(tape, hidden_channels, cheap_hidden, cheap_kernels, mixconv)
    mix_conv(tape, mixconv, group_channels, kernels, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    ghost_module(tape, out_channels, cheap_out, cheap_kernels, mixconv)
    add_shuffled_skip(tape, held, stride, shuffle_groups)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    kernels = options.kernel_sizes(str(values["kernels"]))
    return {
        "in_channels": in_channels,
        "hidden_channels": hidden_channels,
        "out_channels": out_channels,
        "mixconv": MIXCONVS[str(values["mixconv"])],
        "group_channels": partition_channels(
            hidden_channels, len(kernels), str(values["partition"])
        ),
        "kernels": kernels,
        "cheap_hidden": ghost_channels(values, hidden_channels),
        "cheap_out": ghost_channels(values, out_channels),
        "cheap_kernels": options.kernel_sizes(str(values["cheap_kernels"])),
        "stride": stride,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **options.squeeze_excite_arguments(values, in_channels, hidden_channels),
        **shuffled_skip_arguments(values, out_channels),
    }


def _canonical(
    values: Options,
    in_channels: int,
    out_channels: int,
    stride: int,
) -> tuple[str, Options]:
    """With one kernel size everywhere a dense branch is a depthwise convolution."""
    arguments = _arguments(values, in_channels, out_channels, stride)
    if len(arguments["kernels"]) == len(arguments["cheap_kernels"]) == 1:
        values = values | {"mixconv": "depthwise"}
        arguments = _arguments(values, in_channels, out_channels, stride)
    equal = values | {"partition": "equal"}
    if _arguments(equal, in_channels, out_channels, stride) == arguments:
        values = equal
    return "mixconv_se_ghost", {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "cheap_kernels": options.canonical_kernels(str(values["cheap_kernels"])),
        "expansion": options.canonical_expansion(float(values["expansion"]), in_channels),
        **options.canonical_squeeze_excite(values, in_channels, arguments["hidden_channels"]),
        "shuffle_groups": arguments["shuffle_groups"],
    }


BLOCK = Block(
    name="mixconv_se_ghost",
    module=MixConvSEGhost,
    options={
        "mixconv": options.one_of("depthwise", MIXCONVS, structural=True),
        "kernels": options.kernels(),
        "cheap_kernels": options.kernels(),
        "partition": options.partition(),
        "ratio": ratio(),
        "expansion": options.expansion(6),
        "activation": options.activation("mish"),
        **options.squeeze_excite(),
        **shuffled_skip(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
