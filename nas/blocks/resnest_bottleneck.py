"""The bottleneck of ResNeSt, arXiv:2004.08955: split attention between its 1x1 convolutions."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.conv import ConvNormAct
from nas.blocks.projection import Projection, add_projection
from nas.blocks.resnet_bottleneck import (
    DOWNSAMPLE,
    bottleneck_arguments,
    bottleneck_canonical,
    width_inside,
)
from nas.blocks.split_attention import SplitAttention, attention_width, split_attention
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape
from nas.errors import SpaceError


class ResNeStBottleneck(nn.Module):
    """1x1, k x k split attention [, average pool with the stride], 1x1, + shortcut, activation."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        attention_channels: int,
        stride: int = 1,
        kernel: int = 3,
        radix: int = 2,
        cardinality: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        pooled: bool = False,
        pooled_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, mid_channels, 1, activation=activation)
        self.conv2 = SplitAttention(
            mid_channels,
            mid_channels,
            kernel,
            1 if pooled else stride,
            cardinality,
            radix,
            attention_channels,
            activation,
        )
        self.pool = nn.AvgPool2d(3, stride, 1) if pooled else nn.Identity()
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else Projection(in_channels, out_channels, stride, pooled_shortcut)
        )
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.conv2(self.conv1(x)))  # (N, mid, H / stride, W / stride)
        y = self.norm3(self.conv3(y))  # (N, out, H / stride, W / stride)
        return self.act(self.drop_path(y) + self.shortcut(x))


def cost(
    tape: Tape,
    *,
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    attention_channels: int,
    stride: int,
    kernel: int,
    radix: int,
    cardinality: int,
    pooled: bool,
    pooled_shortcut: bool,
    **_: object,
) -> None:
    """Count what ResNeStBottleneck does."""
    held = tape.hold()
    tape.conv(mid_channels, 1)
    tape.norm_act()
    split_attention(
        tape,
        mid_channels,
        kernel,
        1 if pooled else stride,
        cardinality=cardinality,
        radix=radix,
        attention_channels=attention_channels,
    )
    if pooled:
        tape.local_pool(stride)
    tape.conv(out_channels, 1)
    tape.norm()
    if stride == 1 and in_channels == out_channels:
        tape.add(held)
    else:
        add_projection(tape, held, out_channels, stride, pooled=pooled_shortcut)
    tape.pointwise()


def _whole_width_inside(values: Options, out_channels: int) -> int:
    """Width inside: int(ratio x block output), rounded up to whole groups."""
    groups = int(values["radix"]) * int(values["cardinality"])
    width = -(-width_inside(values, out_channels) // groups) * groups
    if width > options.MAX_RATIO * out_channels:
        raise SpaceError(
            f"A bottleneck is at most {options.MAX_RATIO:g} times as wide inside as its"
            f" {out_channels} output channels; {groups} groups make it {width}."
        )
    return width


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    radix, cardinality = int(values["radix"]), int(values["cardinality"])
    mid = _whole_width_inside(values, out_channels)
    return {
        **bottleneck_arguments(values, mid, in_channels, out_channels, stride=stride),
        "radix": radix,
        "cardinality": cardinality,
        "attention_channels": attention_width(mid, mid, cardinality, radix),
    }


def _canonical(
    values: Options,
    in_channels: int,  # noqa: ARG001 - the options have their effect whatever comes in
    out_channels: int,
    stride: int,
) -> tuple[str, Options]:
    mid = _whole_width_inside(values, out_channels)
    kept = bottleneck_canonical(values, mid, out_channels, stride, downsample="pool")
    return "resnest_bottleneck", kept


BLOCK = Block(
    name="resnest_bottleneck",
    module=ResNeStBottleneck,
    options={
        "ratio": options.ratio(0.25, low=0.01, high=options.MAX_RATIO, structural=True),
        "kernels": options.kernel(),
        "radix": options.count(2, structural=True),
        "cardinality": options.count(1, structural=True),
        "activation": options.activation(),
        "downsample": options.one_of("pool", DOWNSAMPLE),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
