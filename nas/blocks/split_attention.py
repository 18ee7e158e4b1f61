"""Split attention: options and cost."""

from nas.blocks import Options, options
from nas.blocks.classes import Class, Instance
from nas.blocks.rounding import round_channels
from nas.cost import Tape
from nas.errors import SpaceError

ATTENTION = Class.own("split_attention", "Attention")


def split_attention(tape: Tape, out_channels: int, attention: Instance, *, stride: int = 1) -> None:
    """Count SplitAttention."""
    radix, cardinality = attention.radix, attention.cardinality
    tape.conv(radix * out_channels, attention.kernel, stride=stride, groups=radix * cardinality)
    tape.norm_act()
    splits = tape.hold()
    tape.pool()
    tape.sum_groups(radix)
    tape.conv(attention.channels, 1, groups=cardinality, bias=True)
    tape.norm_act()
    tape.conv(radix * out_channels, 1, groups=cardinality, bias=True)
    tape.act()
    tape.gate(splits)
    tape.sum_groups(radix)


def read_attention(values: Options, in_channels: int, out_channels: int, kernel: int) -> Instance:
    """Return a module's attention: a quarter of radix x input wide, a multiple of 8, at least 32.

    Raises SpaceError where radix and cardinality do not divide the channels.
    """
    radix, cardinality = values["radix"], values["cardinality"]
    groups = radix * cardinality
    options.check_groups("radix x cardinality", groups, in_channels, radix * out_channels)
    width = round_channels(in_channels * radix * 0.25, 8, least=32)
    if width % cardinality:
        raise SpaceError(
            f"cardinality divides the attention's channels, {width}; {cardinality} does not."
        )
    return ATTENTION(channels=width, kernel=kernel, radix=radix, cardinality=cardinality)
