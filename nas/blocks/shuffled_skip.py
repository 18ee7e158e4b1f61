"""The skip of ME-NeSt-Ghost: options and cost."""

from nas.blocks import Option, Options, options
from nas.blocks.classes import Class, Instance
from nas.cost import Held, Tape

SHUFFLE = Class.own("shuffled_skip", "Shuffle")


def add_shuffled_skip(tape: Tape, held: Held, stride: int, shuffle: Instance) -> None:
    """Count the sum of the input, which was held, and the tensor at hand, and the shuffle."""
    if stride > 1 or held.channels != tape.channels:
        output = tape.hold()
        tape.take(held)
        if stride > 1:
            tape.max_pool(stride=stride)
        tape.conv(output.channels, 1)
        held = output
    tape.add(held)
    if shuffle.groups > 1:
        tape.act()


def shuffle_options() -> dict[str, Option]:
    """Return the options of the skip: groups of the channel shuffle, stochastic depth."""
    return {"shuffle_groups": options.groups(), "drop_path": options.rate()}


def read_shuffle(values: Options, out_channels: int) -> Instance:
    """Return the skip of a module's constructor; a shuffle of single channels is none."""
    groups = values["shuffle_groups"]
    options.check_groups("shuffle_groups", groups, out_channels)
    return SHUFFLE(groups=groups if groups < out_channels else 1, drop_path=values["drop_path"])
