"""EfficientNet-B0 to B7 and their CondConv variants as published, and B0's space under a formula.

EfficientNet: Rethinking Model Scaling, arXiv:1905.11946, table 1; CondConv, arXiv:1904.04971. Two
things are called its scaling, and both are here: the family's published coefficients (`PUBLISHED`:
B7 is 2.0 times as wide and 3.1 times as deep as B0), and the formula `SPACE` is under, depth
1.2^phi, width 1.1^phi, resolution 1.15^phi, which gives other networks. Counted at 1000 classes:

| member | px | params | macs |
| --- | --- | --- | --- |
| `efficientnet_b0` | 224 | 5,288,548 | 385,814,752 |
| `efficientnet_b1` | 240 | 7,794,184 | 686,802,832 |
| `efficientnet_b2` | 260 | 9,109,994 | 993,561,872 |
| `efficientnet_b3` | 300 | 12,233,232 | 1,827,141,392 |
| `efficientnet_b4` | 380 | 19,341,616 | 4,393,771,024 |
| `efficientnet_b5` | 456 | 30,389,784 | 10,266,384,752 |
| `efficientnet_b6` | 528 | 43,040,704 | 19,067,593,536 |
| `efficientnet_b7` | 600 | 66,347,960 | 37,745,884,192 |
| `efficientnet_cc_b0_4e` | 224 | 13,314,116 | 396,513,888 |
| `efficientnet_cc_b0_8e` | 224 | 24,013,284 | 407,213,024 |
| `efficientnet_cc_b1_8e` | 240 | 39,715,968 | 723,282,704 |

Stem and head are scaled as the stages are, and so is the depth of the first stage.
"""

from typing import Any

from nas.blocks.rounding import round_channels, round_repeats
from nas.search_space import Compound, SearchSpace, block, choice, scaled, stage
from nas.search_space.nodes import Stage

# Table 1, B0: expansion, kernel, width, layers, stride; the stem is 32 wide, the head 1280.
ROWS = [
    (1, "3", 16, 1, 1),
    (6, "3", 24, 2, 2),
    (6, "5", 40, 2, 2),
    (6, "3", 80, 3, 2),
    (6, "5", 112, 3, 1),
    (6, "5", 192, 4, 2),
    (6, "3", 320, 1, 1),
]
CONDITIONAL_ROWS = ROWS[4:]  # which have experts in the CondConv variants

# Width, depth, resolution, dropout.
PUBLISHED = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
    "efficientnet_b3": (1.2, 1.4, 300, 0.3),
    "efficientnet_b4": (1.4, 1.8, 380, 0.4),
    "efficientnet_b5": (1.6, 2.2, 456, 0.4),
    "efficientnet_b6": (1.8, 2.6, 528, 0.5),
    "efficientnet_b7": (2.0, 3.1, 600, 0.5),
}


def fixed(name: str, scale: tuple[float, float, int, float], experts: int = 0) -> SearchSpace:
    """Scale B0 in width and depth; with experts, the last three stages are CondConv."""
    width, depth, resolution, dropout = scale
    stages = []
    for row in ROWS:
        expansion, kernels, channels, layers, stride = row
        cond = {"experts": experts} if experts and row in CONDITIONAL_ROWS else {}
        stages.append(
            stage(
                block(
                    "condconv" if cond else "mbconv",
                    kernels=kernels,
                    expansion=expansion,
                    se_ratio=0.25,
                    activation="silu",
                    **cond,
                ),
                width=round_channels(width * channels),
                depth=round_repeats(depth * layers),
                stride=stride,
            )
        )
    return SearchSpace(
        name=name,
        resolution=resolution,
        stem=stage(block("conv", activation="silu"), width=round_channels(width * 32), stride=2),
        stages=stages,
        head=stage(
            block("conv", kernels="1", activation="silu"), width=round_channels(width * 1280)
        ),
        dropout=dropout,
    )


B0, B1 = PUBLISHED["efficientnet_b0"], PUBLISHED["efficientnet_b1"]
MEMBERS = {name: fixed(name, scale) for name, scale in PUBLISHED.items()} | {
    "efficientnet_cc_b0_4e": fixed("efficientnet_cc_b0_4e", B0, experts=4),
    "efficientnet_cc_b0_8e": fixed("efficientnet_cc_b0_8e", B0, experts=8),
    "efficientnet_cc_b1_8e": fixed("efficientnet_cc_b1_8e", B1, experts=8),
}


def searched(width: int, layers: int, stride: Any) -> Stage:
    """Make a stage of B0's backbone whose block, width and depth are chosen."""
    return stage(
        block(
            "mbconv",
            kernels=choice("3", "5"),
            expansion=choice(3, 4, 6),
            se_ratio=choice(0, 0.25),
            activation="silu",
        ),
        width=scaled(width, choice(0.5, 0.75, 1.0)),
        depth=choice(*range(1, layers + 1)) if layers > 1 else 1,
        stride=stride,
    )


SPACE = SearchSpace(
    name="efficientnet",
    resolution=choice(32, 48, 64, 96, 128, 160, 192, 224),
    stem=stage(
        block("conv", activation="silu"),
        width=scaled(32, choice(0.5, 1.0)),
        stride=choice(1, 2),
    ),
    stages=[
        stage(block("depthwise_separable", se_ratio=choice(0, 0.25), activation="silu"), width=16),
        *(searched(width, layers, stride) for _, _, width, layers, stride in ROWS[1:]),
    ],
    head=stage(
        block("conv", kernels="1", activation="silu"), width=scaled(1280, choice(0.25, 0.5, 1.0))
    ),
    dropout=0.2,
    scaling=Compound(alpha=1.2, beta=1.1, gamma=1.15, phi=choice(0, 0.5, 1, 2)),
)
