"""Fused-MBConv: EfficientNet-EdgeTPU's block, which MBConv's 1x1 expansion and depthwise
convolution become in EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.skip import Skip, SkipConnection, add_skip
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
from nas.cost import Tape


class FusedMBConv(nn.Module):
    """k x k expand [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(
            in_channels, hidden_channels, kernel, stride, kernel // 2, bias=False
        )
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(hidden_channels, out_channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H / stride, W / stride)
        y = self.norm2(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)


def cost(tape: Tape, args: Args) -> None:
    """Count FusedMBConv."""
    held = tape.hold() if args.skip else None
    tape.conv(args.hidden_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    tape.conv(args.out_channels, 1)
    tape.norm()
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    if _is_one_convolution(values, place):  # its squeeze has rules of its own
        options.read_squeeze(values, place.in_channels, place.out_channels)
    return options.plain_arguments(FusedMBConv, values, place, hidden_channels)


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without an expansion, and where none is asked for, there is no projection either."""
    return "residual_conv" if _is_one_convolution(values, place) else "fused_mbconv", values


def _options_of(arguments: Arguments, place: Place) -> Options:
    return {"project": arguments["hidden_channels"] == place.in_channels}


def _is_one_convolution(values: Options, place: Place) -> bool:
    return options.hidden_channels(values, place) == place.in_channels and not values["project"]


OPTIONS = {
    "kernels": options.kernel(),
    "expansion": options.expansion(4),
    "project": options.flag(False, structural=True),
    "activation": options.activation(),
    **options.squeeze_excite(),
    **options.residual(),
}
BLOCK = Block(
    "fused_mbconv", FusedMBConv, OPTIONS, _arguments, cost, _canonical, options_of=_options_of
)
