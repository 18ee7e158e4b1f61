"""MobileNetV2, MobileNetV3 large and small as published, and a space around V3.

MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381, table 2; Searching for
MobileNetV3, arXiv:1905.02244, tables 1 and 2. Counted at 224 px and 1000 classes:

| member | params | macs |
| --- | --- | --- |
| `mobilenetv2_100` | 3,504,872 | 300,774,272 |
| `mobilenetv3_large_100` | 5,483,032 | 216,589,760 |
| `mobilenetv3_small_100` | 2,542,856 | 56,510,400 |

As in the released models, V3's squeeze is a quarter of the expanded width to a multiple of 8, and
the last hidden layer of V3 stands behind the global pool.
"""

from typing import Any

from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Stage

# Expansion, width, layers, stride: MobileNetV2's table 2.
V2_ROWS = [
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def v2() -> list[Stage]:
    """MobileNetV2: its first row has no expansion."""
    first = block("depthwise_separable", activation="relu6")
    return [stage(first, width=16)] + [
        stage(
            block("mbconv", expansion=expansion, activation="relu6"),
            width=width,
            depth=layers,
            stride=stride,
        )
        for expansion, width, layers, stride in V2_ROWS
    ]


def bneck(kernels: Any, expansion: Any, se: Any, activation: Any) -> BlockSpec:
    """MobileNetV3's block; `se` is a share of the expanded width."""
    return block(
        "mbconv", kernels=kernels, expansion=expansion, activation=activation, **squeeze(se)
    )


def squeeze(se: Any) -> dict[str, Any]:
    """Squeeze-and-excitation as in MobileNetV3."""
    return {
        "se_ratio": se,
        "se_from": "expanded",
        "se_divisor": 8,
        "se_gate": "hard_sigmoid",
        "se_activation": "relu",
    }


def large() -> list[Stage]:
    """MobileNetV3-Large, table 1: expansions instead of expanded widths."""
    re, hs = "relu", "hard_swish"
    return [
        stage(block("depthwise_separable"), width=16),
        stage(bneck("3", 4, 0, re), width=24, stride=2),
        stage(bneck("3", 3, 0, re), width=24),
        stage(bneck("5", 3, 0.25, re), width=40, depth=3, stride=2),
        stage(bneck("3", 6, 0, hs), width=80, stride=2),
        stage(bneck("3", 2.5, 0, hs), width=80),
        stage(bneck("3", 2.3, 0, hs), width=80, depth=2),
        stage(bneck("3", 6, 0.25, hs), width=112, depth=2),
        stage(bneck("5", 6, 0.25, hs), width=160, depth=3, stride=2),
    ]


def small() -> list[Stage]:
    """MobileNetV3-Small, table 2; 3.67 x 24 are its 88 channels."""
    re, hs = "relu", "hard_swish"
    return [
        stage(block("depthwise_separable", **squeeze(0.25)), width=16, stride=2),
        stage(bneck("3", 4.5, 0, re), width=24, stride=2),
        stage(bneck("3", 3.67, 0, re), width=24),
        stage(bneck("5", 4, 0.25, hs), width=40, stride=2),
        stage(bneck("5", 6, 0.25, hs), width=40, depth=2),
        stage(bneck("5", 3, 0.25, hs), width=48, depth=2),
        stage(bneck("5", 6, 0.25, hs), width=96, depth=3, stride=2),
    ]


def v3(name: str, stages: list[Stage], head: int, hidden: int) -> SearchSpace:
    """Put MobileNetV3's stem, 1x1 convolution and hidden layer around the stages."""
    return SearchSpace(
        name=name,
        stem=stage(block("conv", activation="hard_swish"), width=16, stride=2),
        stages=stages,
        head=stage(block("conv", kernels="1", activation="hard_swish"), width=head),
        dropout=0.2,
        classifier={"hidden_channels": hidden, "activation": "hard_swish"},
    )


MEMBERS = {
    "mobilenetv2_100": SearchSpace(
        name="mobilenetv2_100",
        stem=stage(block("conv", activation="relu6"), width=32, stride=2),
        stages=v2(),
        head=stage(block("conv", kernels="1", activation="relu6"), width=1280),
        dropout=0.2,
    ),
    "mobilenetv3_large_100": v3("mobilenetv3_large_100", large(), head=960, hidden=1280),
    "mobilenetv3_small_100": v3("mobilenetv3_small_100", small(), head=576, hidden=1024),
}


def searched(width: Any, depth: Any, stride: Any) -> Stage:
    """A stage of V3's blocks, chosen."""
    chosen = bneck(
        kernels=choice("3", "5"),
        expansion=choice(2.5, 3, 4, 6),
        se=choice(0, 0.25),
        activation=choice("relu", "hard_swish"),
    )
    return stage(chosen, width=width, depth=depth, stride=stride)


SPACE = SearchSpace(
    name="mobilenet",
    resolution=choice(32, 48, 64, 96, 128, 160, 192, 224),
    stem=stage(block("conv", activation="hard_swish"), width=choice(8, 16), stride=choice(1, 2)),
    stages=[
        stage(block("depthwise_separable"), width=choice(8, 16)),
        searched(width=choice(16, 24, 32), depth=choice(1, 2, 3), stride=2),
        searched(width=choice(24, 32, 40, 48), depth=choice(1, 2, 3, 4), stride=2),
        searched(width=choice(48, 64, 80, 96), depth=choice(1, 2, 3, 4), stride=2),
        searched(width=choice(80, 96, 112), depth=choice(1, 2, 3), stride=1),
        searched(width=choice(96, 128, 160, 192), depth=choice(1, 2, 3), stride=choice(1, 2)),
    ],
    head=stage(block("conv", kernels="1", activation="hard_swish"), width=choice(288, 576, 960)),
    dropout=0.2,
    classifier={"hidden_channels": choice(256, 512, 1024, 1280), "activation": "hard_swish"},
)
