"""MnasNet-B1, A1 and small as released, and the factorised hierarchical search space.

MnasNet: Platform-Aware Neural Architecture Search for Mobile, arXiv:1807.11626, figure 7 and
section 4. Counted at 224 px and 1000 classes:

| member | params | macs |
| --- | --- | --- |
| `mnasnet_100` (B1: without SE) | 4,383,312 | 314,415,872 |
| `semnasnet_100` (A1) | 3,887,038 | 311,579,072 |
| `mnasnet_small` | 2,030,264 | 68,339,184 |

The space: each of five stages chooses for itself an operation (convolution, depthwise-separable,
MBConv with expansion 3 or 6), kernel 3 or 5, SE 0 or 0.25, a skip (pool, identity, none), 0.75, 1
or 1.25 times the filters of MobileNetV2 and one layer less, as many or one more: 432 ways, and
432^5 = 15,045,919,506,432 in all. Its resolution is 224, which is no choice, so that this is its
size; for small images give another: `space.at_resolution(64)`, `nas cost mnasnet_100
--resolution 64`.
"""

from typing import Any

from nas.search_space import SearchSpace, block, choice, scaled, stage
from nas.search_space.nodes import Stage

Row = tuple[str, float, int, int, int, float]  # kernel, expansion, width, layers, stride, SE

B1: list[Row] = [
    ("3", 3, 24, 3, 2, 0),
    ("5", 3, 40, 3, 2, 0),
    ("5", 6, 80, 3, 2, 0),
    ("3", 6, 96, 2, 1, 0),
    ("5", 6, 192, 4, 2, 0),
    ("3", 6, 320, 1, 1, 0),
]
A1: list[Row] = [
    ("3", 6, 24, 2, 2, 0),
    ("5", 3, 40, 3, 2, 0.25),
    ("3", 6, 80, 4, 2, 0),
    ("3", 6, 112, 2, 1, 0.25),
    ("5", 6, 160, 3, 2, 0.25),
    ("3", 6, 320, 1, 1, 0),
]
SMALL: list[Row] = [
    ("3", 3, 16, 1, 2, 0),
    ("3", 6, 16, 2, 2, 0),
    ("5", 6, 32, 4, 2, 0.25),
    ("3", 6, 32, 3, 1, 0.25),
    ("5", 6, 88, 3, 2, 0.25),
    ("3", 6, 144, 1, 1, 0),
]


def network(name: str, stages: list[Stage], stem: int = 32, first: int = 16) -> SearchSpace:
    """Put MnasNet's stem, separable convolution and head around the stages."""
    return SearchSpace(
        name=name,
        stem=stage(block("conv"), width=stem, stride=2),
        stages=[stage(block("depthwise_separable"), width=first), *stages],
        head=stage(block("conv", kernels="1"), width=1280),
        dropout=0.2,
    )


def rows(table: list[Row]) -> list[Stage]:
    """Read the rows of MBConv."""
    return [
        stage(
            block("mbconv", kernels=kernels, expansion=expansion, se_ratio=se),
            width=width,
            depth=layers,
            stride=stride,
        )
        for kernels, expansion, width, layers, stride, se in table
    ]


MEMBERS = {
    "mnasnet_100": network("mnasnet_100", rows(B1)),
    "semnasnet_100": network("semnasnet_100", rows(A1)),
    "mnasnet_small": network("mnasnet_small", rows(SMALL), stem=8, first=8),
}


def searched(number: int, width: int, layers: int, stride: int) -> Stage:
    """Make a stage on MobileNetV2's base; its operations share kernel, SE and skip."""
    shared: dict[str, Any] = {
        "kernels": choice("3", "5", name=f"stage{number}.kernels"),
        "se_ratio": choice(0, 0.25, name=f"stage{number}.se_ratio"),
        "skip": choice("pool", "identity", "none", name=f"stage{number}.skip"),
    }
    return stage(
        choice(
            block("residual_conv", **shared),
            block("depthwise_separable", **shared),
            block("mbconv", expansion=choice(3, 6), **shared),
        ),
        width=scaled(width, choice(0.75, 1.0, 1.25)),
        depth=choice(layers - 1, layers, layers + 1),
        stride=stride,
    )


SPACE = network(
    "mnasnet",
    [
        searched(2, width=24, layers=2, stride=2),
        searched(3, width=32, layers=3, stride=2),
        searched(4, width=64, layers=4, stride=2),
        searched(5, width=96, layers=3, stride=1),
        searched(6, width=160, layers=3, stride=2),
        stage(block("mbconv", expansion=6), width=320),
    ],
)
