"""Plain convolution with batch norm and activation: stems, and the 1x1 convolution of heads."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
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


def cost(
    tape: Tape, *, out_channels: int, kernel: int, stride: int, groups: int, **_: object
) -> None:
    """Count what ConvNormAct does."""
    tape.conv(out_channels, kernel, stride, groups)
    tape.norm_act()


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    groups = int(values["groups"])
    options.check_groups("conv.groups", groups, in_channels, out_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel": int(values["kernels"]),
        "stride": stride,
        "groups": groups,
        "activation": options.ACTIVATIONS[str(values["activation"])],
    }


def _canonical(
    values: Options,
    in_channels: int,  # noqa: ARG001 - every option of a plain convolution has an effect
    out_channels: int,  # noqa: ARG001
    stride: int,  # noqa: ARG001
) -> tuple[str, Options]:
    return "conv", values | {"kernels": options.canonical_kernels(str(values["kernels"]))}


BLOCK = Block(
    name="conv",
    module=ConvNormAct,
    options={
        "kernels": options.kernel(),
        "groups": options.groups(),
        "activation": options.activation(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
