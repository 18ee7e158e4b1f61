"""Convolution with SE and a skip: an operation of MnasNet's space, arXiv:1807.11626, and the first
stage of EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.conv import BLOCK as CONV
from nas.blocks.conv import ConvNormAct
from nas.blocks.skip import Skip, add_skip
from nas.blocks.squeeze_excite import SqueezeExcite
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
        se_channels: int = 0,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.se = (
            SqueezeExcite(out_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.conv(x))
        return self.skip(x, y) if self.skip else y


def cost(
    tape: Tape,
    *,
    out_channels: int,
    kernel: int,
    stride: int,
    se_channels: int,
    skip: str,
    **_: object,
) -> None:
    """Count what ResidualConv does."""
    held = tape.hold() if skip != "none" else None
    tape.conv(out_channels, kernel, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    if held:
        add_skip(tape, held, skip, stride)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel": int(values["kernels"]),
        "stride": stride,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **options.squeeze_excite_arguments(values, in_channels, out_channels),
        **options.residual_arguments(values, in_channels, out_channels, stride),
    }


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    """Without SE and skip it is a plain convolution."""
    kept = {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        **options.canonical_squeeze_excite(values, in_channels, out_channels),
        **options.canonical_residual(values, in_channels, out_channels, stride),
    }
    found = options.residual_arguments(values, in_channels, out_channels, stride)
    if found["skip"] == "none" and not kept["se_ratio"]:
        return CONV.name, {"groups": 1} | {name: kept[name] for name in ("kernels", "activation")}
    return "residual_conv", kept


BLOCK = Block(
    name="residual_conv",
    module=ResidualConv,
    options={
        "kernels": options.kernel(),
        "activation": options.activation(),
        **options.squeeze_excite(),
        **options.residual(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
