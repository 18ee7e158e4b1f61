"""The norms of blocks: options and cost."""

from nas.blocks import Options
from nas.blocks.classes import Class
from nas.cost import Tape
from nas.errors import SpaceError

NORMS = {"layer": Class.own("layer_norm", "LayerNorm2d"), "batch": Class.torch("BatchNorm2d")}


def named_norm(values: Options, *widths: int) -> Class:
    """Return the norm of an option; raises SpaceError for a layer norm over a single channel."""
    name = values["norm"]
    if name == "layer" and min(widths) < 2:
        raise SpaceError("norm: layer compares at least 2 channels, not 1.")
    return NORMS[name]


def count_norm(tape: Tape, norm: Class) -> None:
    """Count a layer norm over the channels, or a batch norm."""
    if NORMS["layer"].names(norm):
        tape.layer_norm()
    else:
        tape.norm()
