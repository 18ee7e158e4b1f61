"""An architecture summed up by its parts: the stem, each stage, the head."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from nas import blocks, network
from nas.architecture import Architecture, Row


class Group(NamedTuple):
    """Channels that one kernel size works on: the size (None: no kernel) and their share."""

    kernel: int | None
    share: float


def kernel_groups(row: Row, in_channels: int) -> tuple[Group, ...]:
    """Return a row's kernel groups with their shares of its channels; they add up to 1."""
    arguments = blocks.arguments(row, in_channels)
    kernels = next(
        (arguments[k] for k in ("kernels", "kernel", "kernel_size") if k in arguments), None
    )
    if kernels is None:
        kernels = blocks.get(row.block).complete(dict(row.options)).get("kernels")
    if kernels is None:
        return (Group(None, 1.0),)
    if isinstance(kernels, str):
        kernels = kernels.split(".")
    sizes = [int(k) for k in kernels] if isinstance(kernels, Sequence) else [int(kernels)]
    channels = arguments.get("group_channels")
    if not isinstance(channels, Sequence) or len(channels) != len(sizes):
        channels = [1] * len(sizes)
    whole = sum(channels)
    return tuple(Group(k, c / whole) for k, c in zip(sizes, channels, strict=True))


@dataclass(frozen=True)
class Part:
    """One part of a network: the number of each of its blocks, its sizes, width and cost.

    Sizes are in pixels; `kernels` are the kernel sizes of all layers, the smallest first.
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

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain data."""
        return {
            "part": self.name,
            "blocks": self.blocks,
            "resolution_in": self.size_in,
            "resolution_out": self.size_out,
            "out_channels": self.out_channels,
            "layers": sum(self.blocks.values()),
            "macs": self.macs,
            "params": self.params,
            "activations": self.activations,
        }


def stages(architecture: Architecture) -> list[Part]:
    """Return the parts of an architecture; the head ends in one vector of logits."""
    steps = iter(network.block_costs(architecture))
    parts: list[Part] = []
    for name, rows in architecture.parts():
        inside = list(islice(steps, len(rows)))
        if not inside:
            continue
        last, _, size, _ = inside[-1]
        groups = [group for row, channels, *_ in inside for group in kernel_groups(row, channels)]
        parts.append(
            Part(
                name=name,
                blocks=dict(Counter(row.block for row in rows)),
                size_in=inside[0][2],
                size_out=1 if name == "head" else blocks.out_size(last, size),
                out_channels=last.out_channels,
                kernels=tuple(sorted({group.kernel for group in groups if group.kernel})),
                macs=sum(counted.macs for *_, counted in inside),
                params=sum(counted.params for *_, counted in inside),
                activations=sum(counted.activations for *_, counted in inside),
            )
        )
    return parts
