"""SE and conditional convolution on a 56 px network of inverted residuals, and the space of both.

After Squeeze-and-Excitation, arXiv:1709.01507 (the gate has a quarter of the expanded width, with
biases), and CondConv, arXiv:1904.04971 (four experts). Counted at 56 px and 100 classes:

| member | convolutions of the rows | SE | params | macs |
| --- | --- | --- | --- | --- |
| `se_condconv_standard` | plain | no | 2,029,572 | 193,898,304 |
| `se_condconv_se` | plain | yes | 3,316,684 | 195,178,816 |
| `se_condconv_cond_per_conv` | CondConv, one routing each | yes | 7,757,836 | 201,084,256 |
| `se_condconv_cond_per_block` | CondConv, one routing per block | yes | 7,715,468 | 201,042,016 |

Public implementations route per block. In the published table a stray 7,008 stands in the fourth
row of the coefficients and pushes the others one row down, and the last row has 0 macs instead of
128,000: the true columns are held by `tests/test_mobile_families.py`.
"""

from typing import Any

from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Stage

# Rows 2 to 11 of the table: No, stride, repeat. Row 1 is the stem, 12 the head, 13 the classifier.
ROWS = [
    (16, 1, 1),
    (24, 1, 1),
    (24, 1, 1),
    (40, 2, 1),
    (40, 1, 2),
    (80, 2, 1),
    (80, 1, 3),
    (160, 2, 1),
    (160, 1, 4),
    (320, 1, 1),
]


def plain(se: Any = 0) -> BlockSpec:
    """Inverted residual, with SE of a share of its expanded width."""
    return block("mbconv", expansion=4, se_ratio=se, se_from="expanded")


def conditional(routing: Any, se: Any = 0.25, experts: Any = 4) -> BlockSpec:
    """Inverted residual whose convolutions are mixed from experts for each image."""
    return block(
        "condconv", expansion=4, se_ratio=se, se_from="expanded", experts=experts, routing=routing
    )


def network(name: str, rows: list[Stage], resolution: Any = 56) -> SearchSpace:
    """Put the plain stem and head around the rows."""
    return SearchSpace(
        name=name,
        resolution=resolution,
        stem=stage(block("conv"), width=16),
        stages=rows,
        head=stage(block("conv", kernels="1"), width=1280),
        classes=100,
    )


def fixed(name: str, row: BlockSpec) -> SearchSpace:
    """Give every row the same block."""
    return network(
        name, [stage(row, width=width, stride=s, depth=repeat) for width, s, repeat in ROWS]
    )


MEMBERS = {
    "se_condconv_standard": fixed("se_condconv_standard", plain()),
    "se_condconv_se": fixed("se_condconv_se", plain(0.25)),
    "se_condconv_cond_per_conv": fixed("se_condconv_cond_per_conv", conditional("convolution")),
    "se_condconv_cond_per_block": fixed("se_condconv_cond_per_block", conditional("block")),
}

# Every row is standard, with SE, or with CondConv (and SE or not).
SPACE = network(
    "se_condconv",
    [
        stage(
            choice(
                plain(choice(0, 0.25)),
                conditional(
                    choice("block", "convolution", name="routing"),
                    choice(0, 0.25),
                    choice(2, 4, 8, name="experts"),
                ),
            ),
            width=width,
            stride=stride,
            depth=repeat,
        )
        for width, stride, repeat in ROWS
    ],
    resolution=choice(28, 32, 40, 48, 56, 64, 96, 112),
)
