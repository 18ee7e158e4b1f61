"""The dense "MixConv" of the ME-NeSt-Ghost report: not MixConv's depthwise convolution.

Its branches have a kernel size each, as MixConv's (arXiv:1907.09595) have, but every branch reads
all channels, in gcd(C_in, C_branch) groups. Four equal branches with kernels 3, 5, 7 and 9 on C
channels have 164 C weights; a depthwise MixConv has 41 C.
"""

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
        channels // gcd(channels, width) if mixconv == MIXCONVS["dense"] else 1
        for width in group_channels
    )
    tape.mix_conv(group_channels, kernels, stride=stride, reads=reads)
