"""An architecture summed up by its parts: the stem, each stage, the head."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from nas import blocks, network
from nas.architecture import Architecture
from nas.report.diagram import kernel_groups


@dataclass(frozen=True)
class Stage:
    """One part: how often it has each block, the sizes in and out in pixels, its width, its cost.

    `kernels` are those of all its layers, the smallest first.
    """

    name: str
    blocks: dict[str, int]
    size_in: int
    size_out: int
    out_channels: int
    kernels: tuple[int, ...]
    macs: int
    params: int
    activations: int


def stages(architecture: Architecture) -> list[Stage]:
    """Return the parts of an architecture; the head ends in one vector of logits."""
    steps = iter(network.block_costs(architecture))
    found = []
    for part, rows in architecture.parts():
        inside = list(islice(steps, len(rows)))
        if not inside:
            continue
        last, _, size, _ = inside[-1]
        groups = [group for row, channels, *_ in inside for group in kernel_groups(row, channels)]
        found.append(
            Stage(
                name=part,
                blocks=dict(Counter(row.block for row in rows)),
                size_in=inside[0][2],
                size_out=1 if part == "head" else blocks.out_size(last, size),
                out_channels=last.out_channels,
                kernels=tuple(sorted({group.kernel for group in groups if group.kernel})),
                macs=sum(counted.macs for *_, counted in inside),
                params=sum(counted.params for *_, counted in inside),
                activations=sum(counted.activations for *_, counted in inside),
            )
        )
    return found
