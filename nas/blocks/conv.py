"""Plain convolution with batch norm and activation: stems, and the 1x1 convolution of heads."""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.cost import Tape


class ConvNormAct(nn.Module):
    """k x k convolution, batch norm, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


def cost(tape: Tape, args: Args) -> None:
    """Count ConvNormAct."""
    tape.conv(args.out_channels, args.kernel, stride=args.stride, groups=args.groups)
    tape.norm_act()


def _arguments(values: Options, place: Place) -> Arguments:
    options.check_groups("conv.groups", values["groups"], place.in_channels, place.out_channels)
    return options.plain_arguments(ConvNormAct, values, place)


OPTIONS = {
    "kernels": options.kernel(),
    "groups": options.groups(),
    "activation": options.activation(),
}
BLOCK = Block("conv", ConvNormAct, OPTIONS, _arguments, cost)
