"""A block's skip: its cost."""

from nas.blocks.classes import Class, Instance
from nas.cost import Held, Tape

SKIP = Class.own("skip", "Skip")


def add_skip(tape: Tape, held: Held, skip: Instance, stride: int) -> None:
    """Count the sum of the input, which was held, and the tensor at hand."""
    if skip.kind == "pool":
        output = tape.hold()
        tape.take(held)
        tape.local_pool(stride=stride)
        held = output
    tape.add(held)
