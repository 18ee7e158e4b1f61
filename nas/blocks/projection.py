"""The shortcut of a residual block: its cost."""

from nas.blocks.classes import Class
from nas.blocks.layer_norm import NORMS, count_norm
from nas.cost import Held, Tape


def add_shortcut(tape: Tape, held: Held, stride: int, downsample: str) -> None:
    """Count the shortcut of the block's input, which was held, and the sum with it."""
    if stride == 1 and held.channels == tape.channels:
        tape.add(held)
    else:
        add_projection(tape, held, stride, pooled=downsample != "conv")


def add_projection(
    tape: Tape,
    held: Held,
    stride: int,
    *,
    pooled: bool = False,
    norm: Class = NORMS["batch"],
) -> None:
    """Count the projection of the block's input, which was held, and the sum with it."""
    output = tape.hold()
    tape.take(held)
    if pooled:
        tape.local_pool(stride=stride)
    tape.conv(output.channels, 1, stride=1 if pooled else stride)
    count_norm(tape, norm)
    tape.add(output)
