"""GhostNet 0.5, 1.0 and 1.3 as published, and a space of Ghost and Mix-Ghost bottlenecks.

GhostNet: More Features from Cheap Operations, arXiv:1911.11907, table 1; what the table leaves open
(SE widths, the rounding of widths) is as in timm. Counted at 224 px and 1000 classes:

    member        parameters         macs    (the paper prints)
    ghostnet_050   2,587,292   42,328,152    2.6 M,  42 M
    ghostnet_100   5,182,508  141,150,512    5.2 M, 141 M
    ghostnet_130   7,358,820  227,003,256    7.3 M, 226 M
"""

from math import ceil

from nas.blocks.rounding import round_channels
from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import Choice, Stage

# Kernel, expanded channels, channels, SE, stride: one line of the paper's table each.
TABLE = (
    (3, 16, 16, 0, 1),
    (3, 48, 24, 0, 2),
    (3, 72, 24, 0, 1),
    (5, 72, 40, 0.25, 2),
    (5, 120, 40, 0.25, 1),
    (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 480, 112, 0.25, 1),
    (3, 672, 112, 0.25, 1),
    (5, 672, 160, 0.25, 2),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 0.25, 1),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 0.25, 1),
)


def expansion(hidden_channels: int, in_channels: int) -> float:
    """Return the least expansion of four decimals that gives exactly so many channels inside."""
    return ceil(hidden_channels / in_channels * 10**4) / 10**4


def bottlenecks(width: float) -> list[Stage]:
    """Lay out the table, its widths times `width`, rounded to multiples of 4."""
    stages, in_channels = [], round_channels(16 * width, 4)
    for kernel, hidden, channels, se, stride in TABLE:
        out_channels = round_channels(channels * width, 4)
        ghost = block(
            "ghost",
            kernels=str(kernel),
            expansion=expansion(round_channels(hidden * width, 4), in_channels),
            se_ratio=se,
            se_from="expanded",
            se_divisor=4,
            se_gate="hard_sigmoid",
        )
        stages.append(stage(ghost, width=out_channels, stride=stride))
        in_channels = out_channels
    return stages


def ghostnet(name: str, width: float) -> SearchSpace:
    """Put stem and head around the bottlenecks."""
    return SearchSpace(
        name=name,
        stem=stage(block("conv"), width=round_channels(16 * width, 4), stride=2),
        stages=bottlenecks(width),
        head=stage(block("conv", kernels="1"), width=round_channels(960 * width, 4)),
        classifier={"hidden_channels": 1280},
        dropout=0.2,
    )


MEMBERS = {
    f"ghostnet_{round(100 * width):03}": ghostnet(f"ghostnet_{round(100 * width):03}", width)
    for width in (0.5, 1.0, 1.3)
}

ACTIVATION = choice("relu", "hard_swish", "silu", name="activation")
RATIO = choice(2, 4, name="ratio")


def chosen(widths: tuple[int, ...], depths: tuple[int, ...], stride: int | Choice) -> Stage:
    """A stage of ghost bottlenecks; the cheap operation is a convolution or a MixConv."""
    return stage(
        block(
            "ghost",
            kernels=choice("3", "5"),
            cheap_kernels=choice("3", "3.5", "3.5.7.9"),
            ratio=RATIO,
            expansion=choice(2, 3, 4, 6),
            se_ratio=choice(0, 0.25, 0.5),
            se_gate="hard_sigmoid",
            activation=ACTIVATION,
        ),
        width=choice(*widths),
        depth=choice(*depths),
        stride=stride,
    )


SPACE = SearchSpace(
    name="ghostnet",
    resolution=choice(16, 24, 28, 32, 48, 56, 64, 96, 128, 160, 192, 224),
    stem=stage(block("conv", activation=ACTIVATION), width=choice(16, 24), stride=choice(1, 2)),
    stages=[
        chosen((16, 24), (1, 2), stride=1),
        chosen((24, 32), (1, 2), stride=2),
        chosen((40, 56), (1, 2, 3), stride=2),
        chosen((80, 112), (2, 3, 4, 6), stride=2),
        chosen((112, 160, 208), (1, 2, 3, 5), stride=choice(1, 2)),
    ],
    head=stage(
        block("conv", kernels="1", activation=ACTIVATION), width=choice(240, 480, 960, 1280)
    ),
    dropout=0.2,
)
