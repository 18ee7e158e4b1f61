"""The two kinds of MixConv: options and cost."""

from math import gcd

from nas.blocks import options
from nas.blocks.classes import Class
from nas.cost import Tape

# The two kinds of MixConv: their modules take the same arguments.
MIXCONVS = {
    "depthwise": Class.own("widening_mixconv", "WideningMixConv2d"),
    "dense": Class.own("dense_mixconv", "DenseMixConv2d"),
}
MIXCONV = options.one_of("depthwise", MIXCONVS, structural=True)


def mix_conv(
    tape: Tape,
    mixconv: Class,
    group_channels: tuple[int, ...],
    kernels: tuple[int, ...],
    *,
    stride: int = 1,
) -> None:
    """Count a MixConv of this kind; a depthwise one reads one channel per filter."""
    channels = tape.channels
    reads = tuple(
        channels // gcd(channels, width) if MIXCONVS["dense"].names(mixconv) else 1
        for width in group_channels
    )
    tape.mix_conv(group_channels, kernels, stride=stride, reads=reads)
