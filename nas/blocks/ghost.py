"""GhostNet: More Features from Cheap Operations, arXiv:1911.11907; with MixConv as the cheap
operation it is Mix-Ghost.
"""

import torch
from torch import Tensor, nn

from nas.blocks import Arguments, Block, Option, Options, options
from nas.blocks.dense_mixconv import mix_conv
from nas.blocks.mixconv import partition_channels
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.blocks.stochastic_depth import StochasticDepth
from nas.blocks.widening_mixconv import WideningMixConv2d
from nas.cost import Tape
from nas.errors import SpaceError


class GhostModule(nn.Module):
    """1x1 convolution to a part of the channels; a cheap convolution of these gives the others."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cheap_channels: tuple[int, ...],
        cheap_kernels: tuple[int, ...],
        activation: type[nn.Module],
        cheap: type[nn.Module],
    ) -> None:
        super().__init__()
        ghosts = sum(cheap_channels)
        self.primary = nn.Conv2d(in_channels, out_channels - ghosts, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels - ghosts)
        self.cheap = cheap(out_channels - ghosts, cheap_channels, cheap_kernels)
        self.norm2 = nn.BatchNorm2d(ghosts)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.primary(x)))  # (N, C / ratio, H, W)
        ghosts = self.act(self.norm2(self.cheap(x)))
        return torch.cat((x, ghosts), dim=1)  # (N, C, H, W)


class GhostBottleneck(nn.Module):
    """Ghost expand [, k x k depthwise stride] [+ SE], ghost project + skip.

    The skip is the identity, or k x k depthwise stride and 1x1 where shapes differ.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        cheap_hidden: tuple[int, ...],
        cheap_out: tuple[int, ...],
        cheap_kernels: tuple[int, ...],
        kernel: int = 3,
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        cheap = WideningMixConv2d
        self.expand = GhostModule(
            in_channels, hidden_channels, cheap_hidden, cheap_kernels, activation, cheap
        )
        self.depthwise = (
            depthwise_norm(hidden_channels, kernel, stride) if stride > 1 else nn.Identity()
        )
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = GhostModule(
            hidden_channels, out_channels, cheap_out, cheap_kernels, nn.Identity, cheap
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                *depthwise_norm(in_channels, kernel, stride),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        )
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # (N, hidden, H, W)
        y = self.se(self.depthwise(y))  # (N, hidden, H / stride, W / stride)
        y = self.project(y)  # (N, out, H / stride, W / stride)
        return self.shortcut(x) + self.drop_path(y)


def depthwise_norm(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Build a k x k depthwise convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    )


def ghost_module(
    tape: Tape,
    out_channels: int,
    cheap_channels: tuple[int, ...],
    cheap_kernels: tuple[int, ...],
    cheap: type[nn.Module],
) -> None:
    """Count what GhostModule does."""
    tape.conv(out_channels - sum(cheap_channels), 1)
    tape.norm_act()
    primary = tape.hold()
    mix_conv(tape, cheap, cheap_channels, cheap_kernels)
    tape.norm_act()
    tape.concat(primary)


def cost(
    tape: Tape,
    *,
    in_channels: int,
    hidden_channels: int,
    out_channels: int,
    cheap_hidden: tuple[int, ...],
    cheap_out: tuple[int, ...],
    cheap_kernels: tuple[int, ...],
    kernel: int,
    stride: int,
    se_channels: int,
    **_: object,
) -> None:
    """Count what GhostBottleneck does."""
    held = tape.hold()
    ghost_module(tape, hidden_channels, cheap_hidden, cheap_kernels, WideningMixConv2d)
    if stride > 1:
        tape.conv(hidden_channels, kernel, stride, hidden_channels)
        tape.norm()
    if se_channels:
        tape.squeeze_excite(se_channels)
    ghost_module(tape, out_channels, cheap_out, cheap_kernels, WideningMixConv2d)
    if stride > 1 or in_channels != out_channels:
        output = tape.hold()
        tape.take(held)
        tape.conv(in_channels, kernel, stride, in_channels)
        tape.norm()
        tape.conv(out_channels, 1)
        tape.norm()
        held = output
    tape.add(held)


def ratio() -> Option:
    """Return the option that says how many times as many channels a ghost module has as its 1x1."""
    valid = lambda value: type(value) is int and 2 <= value <= 64  # noqa: E731 - a field
    return Option(2, "a whole number from 2 to 64", valid, structural=True)


def ghost_channels(values: Options, channels: int) -> tuple[int, ...]:
    """Return the channels that each kernel group of the cheap operation makes of the 1x1's.

    Raises SpaceError where the ratio does not divide the module's channels.
    """
    shares = int(values["ratio"])
    if channels % shares:
        raise SpaceError(
            f"A ghost ratio divides the module's {channels} channels; {shares} does not."
        )
    groups = len(options.kernel_sizes(str(values["cheap_kernels"])))
    primary = partition_channels(channels // shares, groups, str(values["partition"]))
    return tuple((shares - 1) * share for share in primary)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    return {
        "in_channels": in_channels,
        "hidden_channels": hidden_channels,
        "out_channels": out_channels,
        "cheap_hidden": ghost_channels(values, hidden_channels),
        "cheap_out": ghost_channels(values, out_channels),
        "cheap_kernels": options.kernel_sizes(str(values["cheap_kernels"])),
        "kernel": int(values["kernels"]) if stride > 1 or in_channels != out_channels else 3,
        "stride": stride,
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **options.squeeze_excite_arguments(values, in_channels, hidden_channels),
        "drop_path": float(values["drop_path"]),
    }


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    """Without a stride and with equal widths no convolution has the kernel."""
    arguments = _arguments(values, in_channels, out_channels, stride)
    equal = values | {"partition": "equal"}
    if _arguments(equal, in_channels, out_channels, stride) == arguments:
        values = equal
    return "ghost", {
        **values,
        "kernels": str(arguments["kernel"]),
        "cheap_kernels": options.canonical_kernels(str(values["cheap_kernels"])),
        "expansion": options.canonical_expansion(float(values["expansion"]), in_channels),
        **options.canonical_squeeze_excite(values, in_channels, arguments["hidden_channels"]),
    }


BLOCK = Block(
    name="ghost",
    module=GhostBottleneck,
    options={
        "kernels": options.kernel(),
        "cheap_kernels": options.kernels(),
        "partition": options.partition(),
        "ratio": ratio(),
        "expansion": options.expansion(2),
        "activation": options.activation(),
        **options.squeeze_excite(),
        "drop_path": options.rate(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
