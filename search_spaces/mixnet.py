"""MixNet-S, M and L as published, XL as in timm, and the kernel sweep of MixNet-S: also as a space.

Mixed Depthwise Convolutional Kernels, arXiv:1907.09595, figure 5; the kernel lists, the grouped 1x1
convolutions and the head are those of the released models. Counted at 224 px and 1000 classes: S
4,134,606 parameters, M 5,014,382, L 7,329,252, XL 11,896,768.

The sweep is one decision, `kernels`: 3.5.7, 5.7.9, ... or 17.19.21 wherever a layer's kernels begin
with 3.5.7, with what follows them kept (5.7.9.9.11). `mixnet` is the space of these eight, at 224
px.
"""

from collections.abc import Callable

from nas.blocks.rounding import round_channels
from nas.search_space import Choice, SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Stage

HEAD = stage(block("conv", kernels="1"), width=1536)


def separable() -> BlockSpec:
    """First block of every MixNet: 3x3 depthwise, 1x1."""
    return block("depthwise_separable", kernels="3")


def mixed(
    kernels: str | Choice, expansion: int, *, se: float = 0, groups: tuple[int, int] = (1, 1)
) -> BlockSpec:
    """MBConv with MixConv; `groups` are those of the expanding and the projecting 1x1."""
    return block(
        "mbconv",
        kernels=kernels,
        expansion=expansion,
        se_ratio=se,
        activation="silu" if se else "relu",
        expand_groups=groups[0],
        project_groups=groups[1],
    )


def small(begin: Callable[[str], str | Choice] = "3.5.7".__add__) -> list[Stage]:
    """MixNet-S; where a kernel list begins with 3.5.7, `begin` gets the rest of the list."""
    return [
        stage(separable(), width=16),
        stage(mixed("3", 6, groups=(2, 2)), width=24, stride=2),
        stage(mixed("3", 3, groups=(2, 2)), width=24),
        stage(mixed(begin(""), 6, se=0.5), width=40, stride=2),
        stage(mixed("3.5", 6, se=0.5, groups=(2, 2)), width=40, depth=3),
        stage(mixed(begin(""), 6, se=0.25, groups=(1, 2)), width=80, stride=2),
        stage(mixed("3.5", 6, se=0.25, groups=(1, 2)), width=80, depth=2),
        stage(mixed(begin(""), 6, se=0.5, groups=(2, 2)), width=120),
        stage(mixed(begin(".9"), 3, se=0.5, groups=(2, 2)), width=120, depth=2),
        stage(mixed(begin(".9.11"), 6, se=0.5), width=200, stride=2),
        stage(mixed(begin(".9"), 6, se=0.5, groups=(1, 2)), width=200, depth=2),
    ]


def medium(width: float = 1.0, more: int = 0) -> list[Stage]:
    """MixNet-M; L is the same 1.3 times as wide, XL 1.6 times and with `more` layers per stage."""
    c24, c32, c40, c80, c120, c200 = (
        round_channels(width * channels) for channels in (24, 32, 40, 80, 120, 200)
    )
    return [
        stage(separable(), width=c24),
        stage(mixed("3.5.7", 6, groups=(2, 2)), width=c32, stride=2),
        stage(mixed("3", 3, groups=(2, 2)), width=c32),
        stage(mixed("3.5.7.9", 6, se=0.5), width=c40, stride=2),
        stage(mixed("3.5", 6, se=0.5, groups=(2, 2)), width=c40, depth=3 + more),
        stage(mixed("3.5.7", 6, se=0.25), width=c80, stride=2),
        stage(mixed("3.5.7.9", 6, se=0.25, groups=(2, 2)), width=c80, depth=3 + more),
        stage(mixed("3", 6, se=0.5), width=c120),
        stage(mixed("3.5.7.9", 3, se=0.5, groups=(2, 2)), width=c120, depth=3 + more),
        stage(mixed("3.5.7.9", 6, se=0.5), width=c200, stride=2),
        stage(mixed("3.5.7.9", 6, se=0.5, groups=(1, 2)), width=c200, depth=3 + more),
    ]


def network(name: str, stages: list[Stage], stem: int, classes: int = 1000) -> SearchSpace:
    """Put stem and head around the stages."""
    return SearchSpace(
        name=name,
        stem=stage(block("conv"), width=stem, stride=2),
        stages=stages,
        head=HEAD,
        classes=classes,
    )


SWEEP = [f"{k}.{k + 2}.{k + 4}" for k in range(3, 18, 2)]


def swept(rest: str) -> Choice:
    """Choose what a kernel list begins with, the same for all lists."""
    return choice(*(abc + rest for abc in SWEEP), name="kernels", labels=SWEEP)


MEMBERS = {
    "mixnet_s": network("mixnet_s", small(), stem=16),
    "mixnet_m": network("mixnet_m", medium(), stem=24),
    "mixnet_l": network("mixnet_l", medium(1.3), stem=round_channels(1.3 * 24)),
    "mixnet_xl": network("mixnet_xl", medium(1.6, more=1), stem=round_channels(1.6 * 24)),
} | {
    f"mixnet_s_k{abc}": network(f"mixnet_s_k{abc}", small(abc.__add__), stem=16, classes=2)
    for abc in SWEEP
}
SPACE = network("mixnet", small(swept), stem=16, classes=2)
