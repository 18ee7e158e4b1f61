"""Depthwise-separable convolution: MobileNets, arXiv:1704.04861; with MixConv and SE as options."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.mixconv import canonical_partition, depthwise, partition_channels
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape
from nas.errors import SpaceError


class DepthwiseSeparable(nn.Module):
    """k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        project_groups: int = 1,
        skip: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(in_channels, se_channels, activation) if se_channels else nn.Identity()
        )
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return x + self.drop_path(y) if self.skip else y


def cost(
    tape: Tape,
    in_channels: int,  # noqa: ARG001 - the tape knows; the signature is the module's
    out_channels: int,
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    stride: int,
    se_channels: int,
    activation: type[nn.Module],  # noqa: ARG001 - costs no macs; its memory is in norm_act
    project_groups: int,
    skip: bool,
    drop_path: float,  # noqa: ARG001 - the identity at inference
) -> None:
    """Count what DepthwiseSeparable does."""
    held = tape.hold() if skip else 0
    tape.mix_conv(group_channels, kernels, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    tape.conv(out_channels, 1, 1, project_groups)
    tape.norm()
    if skip:
        tape.add(held)


def separable_arguments(
    values: Options, hidden_channels: int, out_channels: int, *, in_channels: int, stride: int
) -> Arguments:
    """Return what a depthwise-separable block and MBConv have in common, after the expansion."""
    kernels = options.kernel_sizes(str(values["kernels"]))
    groups = int(values["project_groups"])
    if hidden_channels % groups or out_channels % groups:
        raise SpaceError(
            f"project_groups divides the channels, {hidden_channels} in and {out_channels} out;"
            f" {groups} does not."
        )
    partition = str(values["partition"])
    skip = bool(values["skip"]) and stride == 1 and in_channels == out_channels
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "group_channels": partition_channels(hidden_channels, len(kernels), partition),
        "kernels": kernels,
        "stride": stride,
        "se_channels": options.se_channels(float(values["se_ratio"]), in_channels),
        "activation": options.ACTIVATIONS[str(values["activation"])],
        "project_groups": groups,
        "skip": skip,
        "drop_path": float(values["drop_path"]) if skip else 0.0,
    }


def separable_canonical(
    values: Options, hidden_channels: int, out_channels: int, *, in_channels: int, stride: int
) -> Options:
    """Drop what has no effect: partition of one group, skip and drop where shapes differ."""
    kernels = options.kernel_sizes(str(values["kernels"]))
    can_skip = stride == 1 and in_channels == out_channels
    skips = can_skip and values["skip"]
    return values | {
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "partition": canonical_partition(hidden_channels, len(kernels), str(values["partition"])),
        "se_ratio": options.canonical_se_ratio(float(values["se_ratio"]), in_channels),
        "skip": values["skip"] if can_skip else True,
        "drop_path": values["drop_path"] if skips else 0.0,
    }


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    return separable_arguments(
        values, in_channels, out_channels, in_channels=in_channels, stride=stride
    )


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    return "depthwise_separable", separable_canonical(
        values, in_channels, out_channels, in_channels=in_channels, stride=stride
    )


BLOCK = Block(
    name="depthwise_separable",
    module=DepthwiseSeparable,
    options={
        "kernels": options.kernels(),
        "partition": options.partition(),
        "se_ratio": options.ratio(0.0),
        "activation": options.activation(),
        "project_groups": options.groups(),
        "skip": options.flag(True),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
