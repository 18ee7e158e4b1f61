"""Fused-MBConv: EfficientNet-EdgeTPU's block, which MBConv's 1x1 expansion and depthwise
convolution become in EfficientNetV2, arXiv:2104.00298.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.residual_conv import BLOCK as RESIDUAL_CONV
from nas.blocks.skip import Skip, add_skip
from nas.blocks.squeeze_excite import SqueezeExcite
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
        se_channels: int = 0,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(
            in_channels, hidden_channels, kernel, stride, kernel // 2, bias=False
        )
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(hidden_channels, out_channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H / stride, W / stride)
        y = self.norm2(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return self.skip(x, y) if self.skip else y


def cost(
    tape: Tape,
    *,
    hidden_channels: int,
    out_channels: int,
    kernel: int,
    stride: int,
    se_channels: int,
    skip: str,
    **_: object,
) -> None:
    """Count what FusedMBConv does."""
    held = tape.hold() if skip != "none" else None
    tape.conv(hidden_channels, kernel, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    tape.conv(out_channels, 1)
    tape.norm()
    if held:
        add_skip(tape, held, skip, stride)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    if _is_one_convolution(values, in_channels):  # its squeeze has rules of its own
        options.squeeze_excite_arguments(values, in_channels, out_channels)
    return {
        "in_channels": in_channels,
        "hidden_channels": hidden_channels,
        "out_channels": out_channels,
        "kernel": int(values["kernels"]),
        "stride": stride,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **options.squeeze_excite_arguments(values, in_channels, hidden_channels),
        **options.residual_arguments(values, in_channels, out_channels, stride),
    }


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    """Without an expansion, and where none is asked for, there is no projection either."""
    if _is_one_convolution(values, in_channels):
        kept = {name: values[name] for name in RESIDUAL_CONV.options}
        return RESIDUAL_CONV.canonical(kept, in_channels, out_channels, stride)
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    return "fused_mbconv", {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "expansion": options.canonical_expansion(float(values["expansion"]), in_channels),
        "project": hidden_channels == in_channels,
        **options.canonical_squeeze_excite(values, in_channels, hidden_channels),
        **options.canonical_residual(values, in_channels, out_channels, stride),
    }


def _is_one_convolution(values: Options, in_channels: int) -> bool:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    return hidden_channels == in_channels and not values["project"]


BLOCK = Block(
    name="fused_mbconv",
    module=FusedMBConv,
    options={
        "kernels": options.kernel(),
        "expansion": options.expansion(4),
        "project": options.flag(False)._replace(structural=True),
        "activation": options.activation(),
        **options.squeeze_excite(),
        **options.residual(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
