"""Depthwise-separable convolution: MobileNets, arXiv:1704.04861; with MixConv and SE as options."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.mixconv import canonical_partition, depthwise, partition_channels
from nas.blocks.skip import Skip, add_skip
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.cost import Tape


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
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        project_groups: int = 1,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(in_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return self.skip(x, y) if self.skip else y


def cost(
    tape: Tape,
    *,
    out_channels: int,
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    stride: int,
    se_channels: int,
    project_groups: int,
    skip: str,
    **_: object,
) -> None:
    """Count what DepthwiseSeparable does."""
    held = tape.hold() if skip != "none" else None
    tape.mix_conv(group_channels, kernels, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    tape.conv(out_channels, 1, 1, project_groups)
    tape.norm()
    if held:
        add_skip(tape, held, skip, stride)


def separable_arguments(
    values: Options, hidden_channels: int, out_channels: int, *, in_channels: int, stride: int
) -> Arguments:
    """Return what a depthwise-separable block and MBConv have in common, after the expansion."""
    kernels = options.kernel_sizes(str(values["kernels"]))
    groups = int(values["project_groups"])
    options.check_groups("project_groups", groups, hidden_channels, out_channels)
    partition = str(values["partition"])
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "group_channels": partition_channels(hidden_channels, len(kernels), partition),
        "kernels": kernels,
        "stride": stride,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        "project_groups": groups,
        **options.squeeze_excite_arguments(values, in_channels, hidden_channels),
        **options.residual_arguments(values, in_channels, out_channels, stride),
    }


def separable_canonical(
    values: Options, hidden_channels: int, out_channels: int, *, in_channels: int, stride: int
) -> Options:
    """Drop what has no effect: partition of one group, a skip where shapes differ."""
    kernels = options.kernel_sizes(str(values["kernels"]))
    return {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "partition": canonical_partition(hidden_channels, len(kernels), str(values["partition"])),
        **options.canonical_squeeze_excite(values, in_channels, hidden_channels),
        **options.canonical_residual(values, in_channels, out_channels, stride),
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
        "activation": options.activation(),
        **options.squeeze_excite(),
        "project_groups": options.groups(),
        **options.residual(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
