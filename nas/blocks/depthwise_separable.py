"""Depthwise-separable convolution: MobileNets, arXiv:1704.04861; with MixConv and SE as options."""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.mixconv import depthwise
from nas.blocks.skip import Skip, SkipConnection, add_skip
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
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
        activation: type[nn.Module] = nn.ReLU,
        project_groups: int = 1,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = SqueezeExcite(in_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return y if self.skip is None else self.skip(x, y)


def cost(tape: Tape, args: Args) -> None:
    """Count DepthwiseSeparable."""
    held = tape.hold() if args.skip else None
    tape.mix_conv(args.group_channels, args.kernels, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1, groups=args.project_groups)
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def separable_arguments(
    module: type[nn.Module], values: Options, place: Place, hidden_channels: int
) -> Arguments:
    """Return the arguments that a depthwise-separable block and MBConv have in common."""
    groups = values["project_groups"]
    options.check_groups("project_groups", groups, hidden_channels, place.out_channels)
    return {
        "group_channels": options.group_channels(values, hidden_channels),
        **options.plain_arguments(module, values, place, hidden_channels),
    }


def _arguments(values: Options, place: Place) -> Arguments:
    return separable_arguments(DepthwiseSeparable, values, place, place.in_channels)


OPTIONS = {
    "kernels": options.kernels(),
    "partition": options.partition(),
    "activation": options.activation(),
    **options.squeeze_excite(),
    "project_groups": options.groups(),
    **options.residual(),
}
BLOCK = Block(
    "depthwise_separable",
    DepthwiseSeparable,
    OPTIONS,
    _arguments,
    cost,
    joined=options.joined_groups,
)
