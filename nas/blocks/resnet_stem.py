"""The stem of ResNet, arXiv:1512.03385; the deep one is ResNet-C's, arXiv:1812.01187."""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.conv import ConvNormAct
from nas.cost import Tape
from nas.errors import SpaceError

STRIDES = (1, 2, 4)


class ResNetStem(nn.Module):
    """7x7 convolution, or three of 3x3 (deep), and at stride 4 a max pool; stride 2 each.

    At stride 2 there is no pool, at stride 1 the convolution has none either: for small images.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 4,
        deep: bool = False,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        half, first = max(1, out_channels // 2), min(stride, 2)
        self.conv = (
            nn.Sequential(
                ConvNormAct(in_channels, half, 3, first, activation=activation),
                ConvNormAct(half, half, 3, activation=activation),
                ConvNormAct(half, out_channels, 3, activation=activation),
            )
            if deep
            else ConvNormAct(in_channels, out_channels, 7, first, activation=activation)
        )
        self.pool = nn.MaxPool2d(3, 2, 1) if stride == 4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))


def cost(tape: Tape, args: Args) -> None:
    """Count ResNetStem."""
    half, first = max(1, args.out_channels // 2), min(args.stride, 2)
    convs = ((half, 3, first), (half, 3, 1), (args.out_channels, 3, 1))
    for channels, kernel, step in convs if args.deep else ((args.out_channels, 7, first),):
        tape.conv(channels, kernel, stride=step)
        tape.norm_act()
    if args.stride == 4:
        tape.max_pool(stride=2)


def _arguments(values: Options, place: Place) -> Arguments:
    if place.stride not in STRIDES:
        raise SpaceError(f"A resnet_stem's stride is 1, 2 or 4, not {place.stride}.")
    return options.plain_arguments(ResNetStem, values, place)


def _canonical(values: Options, place: Place) -> tuple[str, Options]:
    """One convolution without a pool is a plain convolution."""
    if place.stride < 4 and not values["deep"]:
        return "conv", {**values, "kernels": "7"}
    return "resnet_stem", values


OPTIONS = {"deep": options.flag(False), "activation": options.activation()}
BLOCK = Block("resnet_stem", ResNetStem, OPTIONS, _arguments, cost, _canonical)
