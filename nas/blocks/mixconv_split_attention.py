"""MixConv and split attention (arXiv:1907.09595, arXiv:2004.08955): ME-NeSt-Ghost's early block."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.dense_mixconv import MIXCONVS, mix_conv
from nas.blocks.mixconv import partition_channels
from nas.blocks.shuffled_skip import (
    ShuffledSkip,
    add_shuffled_skip,
    shuffled_skip,
    shuffled_skip_arguments,
)
from nas.blocks.split_attention import SplitAttention, attention_width, split_attention
from nas.cost import Tape
from nas.errors import SpaceError


class MixConvSplitAttention(nn.Module):
    """MixConv expand, k x k split attention + skip [+ channel shuffle]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        mixconv: type[nn.Module],
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        attention_kernel: int = 3,
        stride: int = 1,
        cardinality: int = 1,
        radix: int = 2,
        attention_channels: int = 32,
        activation: type[nn.Module] = nn.Mish,
        shuffle_groups: int = 1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = mixconv(in_channels, group_channels, kernels)
        self.norm = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.attention = SplitAttention(
            hidden_channels,
            out_channels,
            attention_kernel,
            stride,
            cardinality,
            radix,
            attention_channels,
            activation,
        )
        self.skip = ShuffledSkip(in_channels, out_channels, stride, shuffle_groups, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.expand(x)))  # (N, hidden, H, W)
        y = self.attention(y)  # (N, out, H / stride, W / stride)
        return self.skip(x, y)


def cost(
    tape: Tape,
    *,
    out_channels: int,
    mixconv: type[nn.Module],
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    attention_kernel: int,
    stride: int,
    cardinality: int,
    radix: int,
    attention_channels: int,
    shuffle_groups: int,
    **_: object,
) -> None:
    """Count what MixConvSplitAttention does."""
    held = tape.hold()
    mix_conv(tape, mixconv, group_channels, kernels)
    tape.norm_act()
    split_attention(
        tape,
        out_channels,
        attention_kernel,
        stride,
        cardinality=cardinality,
        radix=radix,
        attention_channels=attention_channels,
    )
    add_shuffled_skip(tape, held, stride, shuffle_groups)


def _expanding_mixconv(values: Options, in_channels: int) -> Arguments:
    """Return the MixConv that expands; a depthwise one gives each channel as many outputs."""
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    kernels = options.kernel_sizes(str(values["kernels"]))
    kind, partition = str(values["mixconv"]), str(values["partition"])
    if kind == "dense":
        group_channels = partition_channels(hidden_channels, len(kernels), partition)
    elif hidden_channels % in_channels:
        raise SpaceError(
            f"A depthwise MixConv widens {in_channels} channels by a whole number, not to"
            f" {hidden_channels}."
        )
    else:
        shares = partition_channels(in_channels, len(kernels), partition)
        group_channels = tuple(hidden_channels // in_channels * share for share in shares)
    return {
        "hidden_channels": hidden_channels,
        "mixconv": MIXCONVS[kind],
        "group_channels": group_channels,
        "kernels": kernels,
    }


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    expanding = _expanding_mixconv(values, in_channels)
    cardinality, radix = int(values["cardinality"]), int(values["radix"])
    width = attention_width(expanding["hidden_channels"], out_channels, cardinality, radix)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        **expanding,
        "attention_kernel": int(values["attention_kernels"]),
        "stride": stride,
        "cardinality": cardinality,
        "radix": radix,
        "attention_channels": width,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **shuffled_skip_arguments(values, out_channels),
    }


def _canonical(
    values: Options,
    in_channels: int,
    out_channels: int,
    stride: int,  # noqa: ARG001 - no option's effect depends on it
) -> tuple[str, Options]:
    """One dense branch that gives each channel as many outputs is a depthwise convolution."""
    expanding = _expanding_mixconv(values, in_channels)
    equal = values | {"partition": "equal"}
    if _expanding_mixconv(equal, in_channels) == expanding:
        values = equal
    if len(expanding["kernels"]) == 1 and expanding["hidden_channels"] % in_channels == 0:
        values = values | {"mixconv": "depthwise"}
    return "mixconv_split_attention", {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "attention_kernels": options.canonical_kernels(str(values["attention_kernels"])),
        "expansion": options.canonical_expansion(float(values["expansion"]), in_channels),
        "shuffle_groups": shuffled_skip_arguments(values, out_channels)["shuffle_groups"],
    }


BLOCK = Block(
    name="mixconv_split_attention",
    module=MixConvSplitAttention,
    options={
        "mixconv": options.one_of("depthwise", MIXCONVS, structural=True),
        "kernels": options.kernels(),
        "partition": options.partition(),
        "expansion": options.expansion(4),
        "attention_kernels": options.kernel(),
        "radix": options.count(2, structural=True),
        "cardinality": options.groups(),
        "activation": options.activation("mish"),
        **shuffled_skip(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
