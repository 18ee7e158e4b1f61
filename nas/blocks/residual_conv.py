"""Convolution with SE and a skip: an operation of MnasNet's space, arXiv:1807.11626, and the first
stage of EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.conv import ConvNormAct
from nas.blocks.skip import Skip, SkipConnection, add_skip
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
from nas.cost import Tape


class ResidualConv(nn.Module):
    """k x k convolution, batch norm, activation [+ SE] [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.se = SqueezeExcite(out_channels, se) if se else nn.Identity()
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.conv(x))
        return y if self.skip is None else self.skip(x, y)


def cost(tape: Tape, args: Args) -> None:
    """Count ResidualConv."""
    held = tape.hold() if args.skip else None
    tape.conv(args.out_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    return options.plain_arguments(ResidualConv, values, place, place.out_channels)


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """Without SE and skip it is a plain convolution."""
    plain = not values["se_ratio"] and not options.read_skip(values, place)
    return "conv" if plain else "residual_conv", values


OPTIONS = {
    "kernels": options.kernel(),
    "activation": options.activation(),
    **options.squeeze_excite(),
    **options.residual(),
}
BLOCK = Block("residual_conv", ResidualConv, OPTIONS, _arguments, cost, _canonical)
