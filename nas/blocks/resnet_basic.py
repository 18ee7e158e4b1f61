"""Deep Residual Learning for Image Recognition, arXiv:1512.03385: the block of ResNet-18 and 34."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.conv import ConvNormAct
from nas.blocks.projection import Projection, add_projection
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape

DOWNSAMPLE = ("conv", "pool_shortcut")


class BasicBlock(nn.Module):
    """3x3, 3x3, + the input as it is or projected, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        kernel: int = 3,
        activation: type[nn.Module] = nn.ReLU,
        pooled_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel, 1, kernel // 2, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else Projection(in_channels, out_channels, stride, pooled_shortcut)
        )
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.conv1(x)))
        return self.act(self.drop_path(y) + self.shortcut(x))


def cost(
    tape: Tape,
    *,
    in_channels: int,
    out_channels: int,
    stride: int,
    kernel: int,
    pooled_shortcut: bool,
    **_: object,
) -> None:
    """Count what BasicBlock does."""
    held = tape.hold()
    tape.conv(out_channels, kernel, stride)
    tape.norm_act()
    tape.conv(out_channels, kernel)
    tape.norm()
    if stride == 1 and in_channels == out_channels:
        tape.add(held)
    else:
        add_projection(tape, held, out_channels, stride, pooled=pooled_shortcut)
    tape.pointwise()


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "stride": stride,
        "kernel": int(values["kernels"]),
        "activation": options.ACTIVATIONS[str(values["activation"])],
        "pooled_shortcut": stride > 1 and values["downsample"] == "pool_shortcut",
        "drop_path": float(values["drop_path"]),
    }


def _canonical(
    values: Options,
    in_channels: int,  # noqa: ARG001 - the options have their effect at any width
    out_channels: int,  # noqa: ARG001
    stride: int,
) -> tuple[str, Options]:
    """Drop how the image is made smaller where it is not."""
    return "basic", {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "downsample": values["downsample"] if stride > 1 else "conv",
    }


BLOCK = Block(
    name="basic",
    module=BasicBlock,
    options={
        "kernels": options.kernel(),
        "activation": options.activation(),
        "downsample": options.one_of("conv", DOWNSAMPLE),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
