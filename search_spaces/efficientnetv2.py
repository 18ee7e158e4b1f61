"""EfficientNetV2-S, M, L, XL and B0 as released, four of a report, and a space around them.

EfficientNetV2: Smaller Models and Faster Training, arXiv:2104.00298, table 4; M to XL are those of
the released code. Counted at 1000 classes:

| member | px | params | macs |
| --- | --- | --- | --- |
| `efficientnetv2_b0`, `tf_efficientnetv2_b0` | 224 | 7,139,704 | 718,086,176 |
| `efficientnetv2_s` | 384 | 21,458,488 | 8,365,617,152 |
| `efficientnetv2_m` | 480 | 54,139,356 | 24,582,460,384 |
| `efficientnetv2_l` | 480 | 118,515,272 | 56,079,699,008 |
| `efficientnetv2_xl` | 512 | 208,119,808 | 93,353,451,520 |

timm's B0 pads as TensorFlow does and has another epsilon in its norms, which changes no count: ours
is the same network with PyTorch's padding, under both names.

The `_report` four, from an experiment on CIFAR-100 at 128 px, are not the released ones with
another head: the stem is 24 wide in all of them, the head 1792; the first stage keeps a 1x1
projection at expansion 1 (which the released ones do not have), and the squeeze is a quarter of the
block's input to a multiple of 8. At 100 classes S has 20,490,132 parameters, M 53,686,316, L
117,742,092, XL 207,346,628.
"""

from typing import Any

from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Stage

Row = tuple[str, int, int, int, int]  # operation, expansion, width, layers, stride

TABLES: dict[str, list[Row]] = {
    "b0": [
        ("fused", 1, 16, 1, 1),
        ("fused", 4, 32, 2, 2),
        ("fused", 4, 48, 2, 2),
        ("mbconv", 4, 96, 3, 2),
        ("mbconv", 6, 112, 5, 1),
        ("mbconv", 6, 192, 8, 2),
    ],
    "s": [
        ("fused", 1, 24, 2, 1),
        ("fused", 4, 48, 4, 2),
        ("fused", 4, 64, 4, 2),
        ("mbconv", 4, 128, 6, 2),
        ("mbconv", 6, 160, 9, 1),
        ("mbconv", 6, 256, 15, 2),
    ],
    "m": [
        ("fused", 1, 24, 3, 1),
        ("fused", 4, 48, 5, 2),
        ("fused", 4, 80, 5, 2),
        ("mbconv", 4, 160, 7, 2),
        ("mbconv", 6, 176, 14, 1),
        ("mbconv", 6, 304, 18, 2),
        ("mbconv", 6, 512, 5, 1),
    ],
    "l": [
        ("fused", 1, 32, 4, 1),
        ("fused", 4, 64, 7, 2),
        ("fused", 4, 96, 7, 2),
        ("mbconv", 4, 192, 10, 2),
        ("mbconv", 6, 224, 19, 1),
        ("mbconv", 6, 384, 25, 2),
        ("mbconv", 6, 640, 7, 1),
    ],
    "xl": [
        ("fused", 1, 32, 4, 1),
        ("fused", 4, 64, 8, 2),
        ("fused", 4, 96, 8, 2),
        ("mbconv", 4, 192, 16, 2),
        ("mbconv", 6, 256, 24, 1),
        ("mbconv", 6, 512, 32, 2),
        ("mbconv", 6, 640, 8, 1),
    ],
}


def fused(expansion: Any, *, project: bool = False) -> BlockSpec:
    """Fused-MBConv without SE; at expansion 1 one convolution, or with `project` two."""
    return block("fused_mbconv", expansion=expansion, project=project, activation="silu")


def mbconv(expansion: Any, se_divisor: int = 1) -> BlockSpec:
    """MBConv with SE of a quarter of its input's width."""
    return block(
        "mbconv", expansion=expansion, se_ratio=0.25, se_divisor=se_divisor, activation="silu"
    )


def stages(table: list[Row], *, report: bool = False) -> list[Stage]:
    """Read a table's rows, as released or as in the report."""
    found = []
    for operation, expansion, width, layers, stride in table:
        spec = (
            fused(expansion, project=report)
            if operation == "fused"
            else mbconv(expansion, 8 if report else 1)
        )
        found.append(stage(spec, width=width, depth=layers, stride=stride))
    return found


def released(name: str, size: str, *, stem: int, resolution: int, dropout: float) -> SearchSpace:
    """Put stem and head of the released models around the stages of this size."""
    return SearchSpace(
        name=name,
        resolution=resolution,
        stem=stage(block("conv", activation="silu"), width=stem, stride=2),
        stages=stages(TABLES[size]),
        head=stage(block("conv", kernels="1", activation="silu"), width=1280),
        dropout=dropout,
    )


def report(size: str) -> SearchSpace:
    """Put stem and head of the report's networks around the stages of this size."""
    return SearchSpace(
        name=f"efficientnetv2_{size}_report",
        resolution=128,
        stem=stage(block("conv", activation="silu"), width=24, stride=2),
        stages=stages(TABLES[size], report=True),
        head=stage(block("conv", kernels="1", activation="silu"), width=1792),
        classes=100,
    )


MEMBERS = {
    space.name: space
    for space in (
        released("efficientnetv2_b0", "b0", stem=32, resolution=224, dropout=0.2),
        released("tf_efficientnetv2_b0", "b0", stem=32, resolution=224, dropout=0.2),
        released("efficientnetv2_s", "s", stem=24, resolution=384, dropout=0.2),
        released("efficientnetv2_m", "m", stem=24, resolution=480, dropout=0.3),
        released("efficientnetv2_l", "l", stem=32, resolution=480, dropout=0.4),
        released("efficientnetv2_xl", "xl", stem=32, resolution=512, dropout=0.4),
        *map(report, ("s", "m", "l", "xl")),
    )
}


def searched(width: Any, depth: Any, stride: Any) -> Stage:
    """Make a stage that is fused or not: the question V2's own search answered."""
    kernels: dict[str, Any] = {"kernels": choice("3", "5"), "activation": "silu"}
    return stage(
        choice(
            block(
                "fused_mbconv",
                expansion=choice(1, 2, 4, 6),
                se_ratio=choice(0, 0.25),
                **kernels,
            ),
            block("mbconv", expansion=choice(2, 4, 6), se_ratio=choice(0, 0.25), **kernels),
        ),
        width=width,
        depth=depth,
        stride=stride,
    )


SPACE = SearchSpace(
    name="efficientnetv2",
    resolution=choice(32, 48, 64, 96, 128, 160, 192, 224),
    stem=stage(block("conv", activation="silu"), width=choice(16, 24, 32), stride=choice(1, 2)),
    stages=[
        stage(fused(1), width=choice(16, 24), depth=choice(1, 2)),
        searched(width=choice(24, 32, 48), depth=choice(1, 2, 3, 4), stride=2),
        searched(width=choice(32, 48, 64), depth=choice(1, 2, 3, 4), stride=2),
        searched(width=choice(64, 96, 128), depth=choice(1, 2, 3, 4), stride=2),
        searched(width=choice(96, 112, 160), depth=choice(1, 2, 3, 4), stride=1),
        searched(width=choice(128, 192, 256), depth=choice(1, 2, 3, 4), stride=choice(1, 2)),
    ],
    head=stage(block("conv", kernels="1", activation="silu"), width=choice(256, 512, 1024, 1280)),
    dropout=0.2,
)
