"""MBConv: MobileNetV2's inverted residual, arXiv:1801.04381, with SE (MnasNet, arXiv:1807.11626),
MixConv and grouped 1x1 convolutions (arXiv:1907.09595) as options.
"""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.depthwise_separable import BLOCK as DEPTHWISE_SEPARABLE
from nas.blocks.depthwise_separable import separable_arguments, separable_canonical
from nas.blocks.mixconv import depthwise
from nas.blocks.skip import Skip, add_skip
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.cost import Tape


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
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        expand_groups: int = 1,
        project_groups: int = 1,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return self.skip(x, y) if self.skip else y


def cost(
    tape: Tape,
    *,
    hidden_channels: int,
    out_channels: int,
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    stride: int,
    se_channels: int,
    expand_groups: int,
    project_groups: int,
    skip: str,
    **_: object,
) -> None:
    """Count what MBConv does."""
    held = tape.hold() if skip != "none" else None
    tape.conv(hidden_channels, 1, 1, expand_groups)
    tape.norm_act()
    tape.mix_conv(group_channels, kernels, stride)
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    tape.conv(out_channels, 1, 1, project_groups)
    tape.norm()
    if held:
        add_skip(tape, held, skip, stride)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    groups = int(values["expand_groups"])
    options.check_groups("mbconv.expand_groups", groups, in_channels, hidden_channels)
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
        "expansion": options.expansion(),
        "activation": options.activation(),
        **options.squeeze_excite(),
        "expand_groups": options.groups(),
        "project_groups": options.groups(),
        **options.residual(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
