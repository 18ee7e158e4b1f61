"""One walk over an architecture; folded one way it is the module, folded the other way the cost."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nas import blocks
from nas.architecture import Architecture, Row
from nas.cost import Cost

if TYPE_CHECKING:
    from torch import nn


def walk(architecture: Architecture) -> Iterator[tuple[Row, int, int]]:
    """Yield each row with its input's channels and size: the block sees (channels, size, size)."""
    channels, size = architecture.in_channels, architecture.resolution
    for row in architecture.rows:
        yield row, channels, size
        channels = row.out_channels
        size = blocks.out_size(row, size)


def build(architecture: Architecture) -> "nn.Module":
    """Build the module: (N, in_channels, resolution, resolution) in, (N, classes) logits out."""
    from torch import nn

    steps = walk(architecture)
    parts: dict[str, nn.Module] = {}
    for name, rows in architecture.parts():
        layers = (blocks.build(row, channels) for _, (row, channels, _) in zip(rows, steps))  # noqa: B905
        parts[name] = nn.Sequential(*layers)
    return nn.Sequential(OrderedDict(parts))


def cost(architecture: Architecture) -> Cost:
    """Count the whole network for one image."""
    macs = params = activations = peak = 0
    for row, channels, size in walk(architecture):
        counted = row.counted.get((channels, size)) or blocks.cost(row, channels, size)
        macs += counted[0]
        params += counted[1]
        activations += counted[2]
        if counted[3] > peak:
            peak = counted[3]
    return Cost(macs, params, activations, peak)


def block_costs(architecture: Architecture) -> list[tuple[Row, int, int, Cost]]:
    """Return (row, input channels, input size, cost) block by block."""
    return [(*step, blocks.cost(*step)) for step in walk(architecture)]
