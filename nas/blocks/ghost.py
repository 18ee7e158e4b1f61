"""GhostNet: More Features from Cheap Operations, arXiv:1911.11907; with MixConv as the cheap
operation it is Mix-Ghost.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Option, Options, Place, options
from nas.blocks.dense_mixconv import mix_conv
from nas.blocks.squeeze_excite import Squeeze, SqueezeExcite
from nas.blocks.stochastic_depth import StochasticDepth
from nas.blocks.widening_mixconv import WideningMixConv2d
from nas.cost import Tape
from nas.errors import SpaceError


class Ghost(NamedTuple):
    """The cheap operations of two ghost modules: kernel sizes, channels for each, and their kind.

    The first module makes the `hidden` channels, the second the output's.
    """

    kernels: tuple[int, ...]
    hidden: tuple[int, ...]
    out: tuple[int, ...]
    cheap: type[nn.Module]


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
        ghost: Ghost,
        kernel: int = 3,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        kernels, cheap = ghost.kernels, ghost.cheap
        self.expand = GhostModule(
            in_channels, hidden_channels, ghost.hidden, kernels, activation, cheap
        )
        self.depthwise = (
            depthwise_norm(hidden_channels, kernel, stride) if stride > 1 else nn.Identity()
        )
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = GhostModule(
            hidden_channels, out_channels, ghost.out, kernels, nn.Identity, cheap
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


def count_ghost(
    tape: Tape, channels: int, cheap: tuple[int, ...], ghost: Ghost, *, act: bool
) -> None:
    """Count a GhostModule of these output channels, of which `cheap` are the ghosts."""
    count = tape.norm_act if act else tape.norm
    tape.conv(channels - sum(cheap), 1)
    count()
    primary = tape.hold()
    mix_conv(tape, ghost.cheap, cheap, ghost.kernels)
    count()
    tape.concat(primary)


def cost(tape: Tape, args: Args) -> None:
    """Count GhostBottleneck."""
    held = tape.hold()
    count_ghost(tape, args.hidden_channels, args.ghost.hidden, args.ghost, act=True)
    if args.stride > 1:
        tape.conv(tape.channels, args.kernel, stride=args.stride, groups=tape.channels)
        tape.norm()
    if args.se:
        tape.squeeze_excite(args.se.channels)
    count_ghost(tape, args.out_channels, args.ghost.out, args.ghost, act=False)
    if args.stride > 1 or held.channels != args.out_channels:
        output = tape.hold()
        tape.take(held)
        tape.conv(held.channels, args.kernel, stride=args.stride, groups=held.channels)
        tape.norm()
        tape.conv(args.out_channels, 1)
        tape.norm()
        held = output
    tape.add(held)


def ratio() -> Option:
    """Return the option that says how many times as many channels a ghost module has as its 1x1."""
    return options.count(2, "a whole number from 2 to 64", least=2, most=64, structural=True)


def ghost_channels(values: Options, channels: int) -> tuple[int, ...]:
    """Return the channels that each kernel group of the cheap operation makes of the 1x1's.

    Raises SpaceError where the ratio does not divide the module's channels.
    """
    shares = values["ratio"]
    if channels % shares:
        raise SpaceError(
            f"A ghost ratio divides the module's {channels} channels; {shares} does not."
        )
    primary = options.group_channels(values, channels // shares, "cheap_kernels")
    return tuple((shares - 1) * share for share in primary)


def read_ghost(
    values: Options, hidden_channels: int, out_channels: int, cheap: type[nn.Module]
) -> Ghost:
    """Return the ghost modules of a module's constructor."""
    kernels = options.kernel_sizes(values["cheap_kernels"])
    hidden, out = ghost_channels(values, hidden_channels), ghost_channels(values, out_channels)
    return Ghost(kernels, hidden, out, cheap)


def options_of_ghost(ghost: Ghost, hidden_channels: int) -> Options:
    """Return the options that the ghost modules of a module's constructor were made of."""
    kernels = ".".join(map(str, ghost.kernels))
    ratio = hidden_channels // (hidden_channels - sum(ghost.hidden))
    return {"cheap_kernels": kernels, "ratio": ratio}


def _arguments(values: Options, place: Place) -> Arguments:
    hidden_channels = options.hidden_channels(values, place)
    return {
        "ghost": read_ghost(values, hidden_channels, place.out_channels, WideningMixConv2d),
        **options.plain_arguments(GhostBottleneck, values, place, hidden_channels),
        # Without a stride and with equal widths no convolution has the kernel.
        "kernel": int(values["kernels"]) if place.changes else 3,
    }


def _options_of(arguments: Arguments, _: Place) -> Options:
    return options_of_ghost(arguments["ghost"], arguments["hidden_channels"])


OPTIONS = {
    "kernels": options.kernel(),
    "cheap_kernels": options.kernels(),
    "partition": options.partition(),
    "ratio": ratio(),
    "expansion": options.expansion(2),
    "activation": options.activation(),
    **options.squeeze_excite(),
    "drop_path": options.rate(),
}
BLOCK = Block("ghost", GhostBottleneck, OPTIONS, _arguments, cost, options_of=_options_of)
