"""The bottleneck of ResNet-50, arXiv:1512.03385, with groups as in ResNeXt, arXiv:1611.05431.

A ratio over 1 inverts it: narrow outside, wide inside, the activation after the sum as before.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Option, Options, options
from nas.blocks.conv import ConvNormAct
from nas.blocks.projection import Projection, add_projection
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape

DOWNSAMPLE = ("conv", "pool_shortcut", "pool")


class Bottleneck(nn.Module):
    """1x1, k x k in groups [, average pool with the stride], 1x1, + shortcut, activation."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        kernel: int = 3,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        pooled: bool = False,
        pooled_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, mid_channels, 1, activation=activation)
        self.conv2 = ConvNormAct(
            mid_channels, mid_channels, kernel, 1 if pooled else stride, groups, activation
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
    stride: int,
    kernel: int,
    groups: int,
    pooled: bool,
    pooled_shortcut: bool,
    **_: object,
) -> None:
    """Count what Bottleneck does."""
    held = tape.hold()
    tape.conv(mid_channels, 1)
    tape.norm_act()
    tape.conv(mid_channels, kernel, 1 if pooled else stride, groups)
    tape.norm_act()
    if pooled:
        tape.local_pool(stride)
    tape.conv(out_channels, 1)
    tape.norm()
    if stride == 1 and in_channels == out_channels:
        tape.add(held)
    else:
        add_projection(tape, held, out_channels, stride, pooled=pooled_shortcut)
    tape.pointwise()


def width_inside(values: Options, out_channels: int) -> int:
    """Width inside the bottleneck: int(ratio x block output), at least 1."""
    return max(1, int(float(values["ratio"]) * out_channels))


def bottleneck_arguments(
    values: Options, mid_channels: int, in_channels: int, out_channels: int, *, stride: int
) -> Arguments:
    """Return what all bottlenecks have in common."""
    return {
        "in_channels": in_channels,
        "mid_channels": mid_channels,
        "out_channels": out_channels,
        "stride": stride,
        "kernel": int(values["kernels"]),
        "activation": options.ACTIVATIONS[str(values["activation"])],
        "pooled": stride > 1 and values["downsample"] == "pool",
        "pooled_shortcut": stride > 1 and values["downsample"] in ("pool", "pool_shortcut"),
        "drop_path": float(values["drop_path"]),
    }


def bottleneck_canonical(
    values: Options, mid_channels: int, out_channels: int, stride: int, *, downsample: str
) -> Options:
    """Write one ratio for all that give the same width, and drop what has no effect.

    Where the image is not made smaller, how it would be is `downsample`, the default.
    """
    ratio = options.canonical_se_ratio(float(values["ratio"]), out_channels, mid_channels)
    return {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "ratio": ratio,
        "downsample": values["downsample"] if stride > 1 else downsample,
    }


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    mid = width_inside(values, out_channels)
    groups = int(values["groups"]) or mid
    options.check_groups("bottleneck.groups", groups, mid, mid)
    found = bottleneck_arguments(values, mid, in_channels, out_channels, stride=stride)
    return found | {"groups": groups}


def _canonical(
    values: Options,
    in_channels: int,  # noqa: ARG001 - the options have their effect whatever comes in
    out_channels: int,
    stride: int,
) -> tuple[str, Options]:
    """As many groups as channels is depthwise."""
    mid = width_inside(values, out_channels)
    groups = int(values["groups"]) or mid
    kept = bottleneck_canonical(values, mid, out_channels, stride, downsample="conv")
    return "bottleneck", kept | {"groups": 0 if groups == mid > 1 else groups}


def _is_groups(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 4096


BLOCK = Block(
    name="bottleneck",
    module=Bottleneck,
    options={
        "ratio": options.ratio(0.25, low=0.01, high=options.MAX_RATIO, structural=True),
        "kernels": options.kernel(),
        "groups": Option(1, "a number of groups, or 0 for depthwise", _is_groups, structural=True),
        "activation": options.activation(),
        "downsample": options.one_of("conv", DOWNSAMPLE),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
