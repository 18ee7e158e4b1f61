"""MBConv: MobileNetV2's inverted residual, arXiv:1801.04381, with SE (MnasNet, arXiv:1807.11626),
MixConv and grouped 1x1 convolutions (arXiv:1907.09595) as options.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.depthwise_separable import BLOCK as DEPTHWISE_SEPARABLE
from nas.blocks.depthwise_separable import separable_arguments, separable_canonical
from nas.blocks.mixconv import depthwise
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Tape
from nas.errors import SpaceError


class MBConv(nn.Module):
    """1x1 expand, k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        expand_groups: int = 1,
        project_groups: int = 1,
        skip: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, activation)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return x + self.drop_path(y) if self.skip else y


def cost(
    tape: Tape,
    in_channels: int,  # noqa: ARG001 - the tape knows; the signature is the module's
    hidden_channels: int,
    out_channels: int,
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    stride: int,
    se_channels: int,
    activation: type[nn.Module],  # noqa: ARG001 - costs no macs; its memory is in norm_act
    expand_groups: int,
    project_groups: int,
    skip: bool,
    drop_path: float,  # noqa: ARG001 - the identity at inference
) -> None:
    """Count what MBConv does."""
    held = tape.hold() if skip else 0
    tape.conv(hidden_channels, 1, 1, expand_groups)
    tape.norm_act()
    tape.mix_conv(group_channels, kernels, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    tape.conv(out_channels, 1, 1, project_groups)
    tape.norm()
    if skip:
        tape.add(held)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    groups = int(values["expand_groups"])
    if in_channels % groups or hidden_channels % groups:
        raise SpaceError(
            f"mbconv.expand_groups divides the channels, {in_channels} in and {hidden_channels}"
            f" out; {groups} does not."
        )
    shared = separable_arguments(
        values, hidden_channels, out_channels, in_channels=in_channels, stride=stride
    )
    return shared | {"hidden_channels": hidden_channels, "expand_groups": groups}


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    """Without an expansion there is no expanding convolution: a depthwise-separable block."""
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    kept = separable_canonical(
        values, hidden_channels, out_channels, in_channels=in_channels, stride=stride
    )
    if hidden_channels == in_channels:
        separable = DEPTHWISE_SEPARABLE.options
        return DEPTHWISE_SEPARABLE.name, {name: kept[name] for name in separable}
    expansion = options.canonical_expansion(float(values["expansion"]), in_channels)
    return "mbconv", kept | {"expansion": expansion}


BLOCK = Block(
    name="mbconv",
    module=MBConv,
    options={
        "kernels": options.kernels(),
        "partition": options.partition(),
        "expansion": options.ratio(6, low=1, high=32, structural=True),
        "se_ratio": options.ratio(0.0),
        "activation": options.activation(),
        "expand_groups": options.groups(),
        "project_groups": options.groups(),
        "skip": options.flag(True),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
