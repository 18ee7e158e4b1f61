"""MBConv: MobileNetV2's inverted residual, arXiv:1801.04381, with SE (MnasNet, arXiv:1807.11626),
MixConv and grouped 1x1 convolutions (arXiv:1907.09595) as options.
"""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.depthwise_separable import OPTIONS as SEPARABLE
from nas.blocks.depthwise_separable import separable_arguments
from nas.blocks.mixconv import depthwise
from nas.blocks.skip import Skip, SkipConnection, add_skip
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
from nas.cost import Tape


class MBConv(nn.Module):
    """1x1 expand, k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        groups_1x1: tuple[int, int] = (1, 1),
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        hidden_channels, (expand_groups, project_groups) = sum(group_channels), groups_1x1
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)


def cost(tape: Tape, args: Args) -> None:
    """Count MBConv."""
    held = tape.hold() if args.skip else None
    tape.conv(sum(args.group_channels), 1, groups=args.groups_1x1[0])
    tape.norm_act()
    tape.mix_conv(args.group_channels, args.kernels, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1, groups=args.groups_1x1[1])
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    groups = values["expand_groups"]
    options.check_groups("mbconv.expand_groups", groups, place.in_channels, hidden_channels)
    shared = separable_arguments(MBConv, values, place, hidden_channels)
    return shared | {"groups_1x1": (groups, values["project_groups"])}


def _options_of(arguments: Arguments, _: Place) -> Options:
    expand_groups, project_groups = arguments["groups_1x1"]
    return {"expand_groups": expand_groups, "project_groups": project_groups}


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without an expansion there is no expanding convolution: a depthwise-separable block."""
    hidden_channels = options.hidden_channels(values, place)
    expands = hidden_channels != place.in_channels
    return "mbconv" if expands else "depthwise_separable", values


OPTIONS = {
    **SEPARABLE,
    "expansion": options.expansion(),
    "expand_groups": options.groups(),
}
BLOCK = Block(
    "mbconv", MBConv, OPTIONS, _arguments, cost, _canonical, options_of=_options_of,
    joined=options.joined_groups,
)  # fmt: skip
