"""ResNet, ResNeXt, ResNeSt and ConvNeXt, and the way from ResNet-50 to ConvNeXt-T step by step.

Deep Residual Learning, arXiv:1512.03385, table 1; ResNeXt, arXiv:1611.05431, table 1; ResNeSt,
arXiv:2004.08955; A ConvNet for the 2020s, arXiv:2201.03545, figure 2 and table 9. The members are
timm's networks; their ResNets stride in the 3x3 convolution of a bottleneck, where the paper does
in the 1x1 before it, and their ResNeSts have radix 2, cardinality 1 and no "fast" attention.

The space holds what figure 2 of the ConvNeXt paper changes one after the other, and narrower and
shallower networks for small images. Of its steps, `block` is four: a bottleneck, its convolution
depthwise, the bottleneck inverted, the depthwise convolution first. `width` is that of the first
stage (64 in ResNet-50, 96 in ConvNeXt-T; a bottleneck's output is four times as wide). A norm or an
activation for every convolution, separate downsampling and layer scale are choices of the last of
the four blocks, which alone is built in all these ways. `norm` is that block's, the patchify stem's
and, where it is a layer norm, the classifier's.
"""

from nas.search_space import Compound, SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Stage


def stages(
    of: BlockSpec, widths: tuple[int, int, int, int], depths: tuple[int, int, int, int]
) -> list[Stage]:
    """Return four stages, each half as large as the one before: conv2 to conv5 of ResNet."""
    rows = zip(widths, depths, (1, 2, 2, 2), strict=True)
    return [stage(of, width=width, depth=depth, stride=stride) for width, depth, stride in rows]


def resnet(
    name: str,
    of: BlockSpec,
    depths: tuple[int, int, int, int],
    *,
    wide: int = 4,
    deep: bool = False,
) -> SearchSpace:
    """Put the stem before stages that are `wide` times 64, 128, 256 and 512 channels wide."""
    return SearchSpace(
        name=name,
        stem=stage(block("resnet_stem", deep=deep), width=64, stride=4),
        stages=stages(of, (64 * wide, 128 * wide, 256 * wide, 512 * wide), depths),
    )


def resnest(name: str, depths: tuple[int, int, int, int]) -> SearchSpace:
    """Return a ResNeSt of timm's "d" kind: deep stem, average pools where images get smaller."""
    return resnet(name, block("resnest_bottleneck", radix=2), depths, deep=True)


def convnext(name: str, depths: tuple[int, int, int, int]) -> SearchSpace:
    """Return a ConvNeXt that is 96, 192, 384 and 768 channels wide."""
    return SearchSpace(
        name=name,
        stem=stage(block("patchify", norm="layer"), width=96, stride=4),
        stages=stages(block("convnext", kernels="7"), (96, 192, 384, 768), depths),
        classifier={"layer_norm": True},
    )


def bottleneck(ratio: float, groups: int) -> BlockSpec:
    """Return a bottleneck whose inside is `ratio` times as wide as its output."""
    return block("bottleneck", ratio=ratio, groups=groups)


MEMBERS = {
    "resnet18": resnet("resnet18", block("basic"), (2, 2, 2, 2), wide=1),
    "resnet50": resnet("resnet50", bottleneck(0.25, 1), (3, 4, 6, 3)),
    "resnext50_32x4d": resnet("resnext50_32x4d", bottleneck(0.5, 32), (3, 4, 6, 3)),
    "resnext101_32x8d": resnet("resnext101_32x8d", bottleneck(1.0, 32), (3, 4, 23, 3)),
    "resnest14d": resnest("resnest14d", (1, 1, 1, 1)),
    "resnest26d": resnest("resnest26d", (2, 2, 2, 2)),
    "resnest50d": resnest("resnest50d", (3, 4, 6, 3)),
    "convnext_tiny": convnext("convnext_tiny", (3, 3, 9, 3)),
    "convnext_small": convnext("convnext_small", (3, 3, 27, 3)),
}

WIDTHS = (16, 32, 48, 64, 96)
RATIOS = ("1.1.3.1", "2.2.2.2", "3.4.6.3", "3.3.9.3")
STEPS = ("bottleneck", "depthwise", "inverted", "convnext")
ACTIVATION = choice("relu", "gelu", name="activation")
NORM = choice("batch", "layer", name="norm")
KERNELS = choice("3", "5", "7", "9", "11", name="kernels")
BLOCK = choice(
    block("bottleneck", activation=ACTIVATION),
    block("bottleneck", groups=0, kernels=KERNELS, activation=ACTIVATION),
    block("bottleneck", ratio=4, groups=0, kernels=KERNELS, activation=ACTIVATION),
    block(
        "convnext",
        kernels=KERNELS,
        activation=ACTIVATION,
        activations=choice("every", "one", name="activations"),
        norms=choice("every", "one", name="norms"),
        norm=NORM,
        downsample=choice("shortcut", "separate", name="downsample"),
        layer_scale=choice(False, True, name="layer_scale"),
    ),
    name="block",
    labels=STEPS,
)


def step_by_step(number: int, stride: int) -> Stage:
    """Return stage 1, 2, 3 or 4 of the way from ResNet-50 to ConvNeXt-T."""
    width = 64 * 2 ** (number - 1)
    depths = (int(ratio.split(".")[number - 1]) for ratio in RATIOS)
    return stage(
        BLOCK,
        width=choice(4 * width, 4 * width, width, width, name="block", labels=STEPS),
        depth=choice(*depths, name="stage_ratio", labels=RATIOS),
        stride=stride,
    )


SPACE = SearchSpace(
    name="convnext_resnet",
    resolution=choice(32, 48, 64, 96, 128, 160, 192, 224),
    stem=stage(
        choice(block("resnet_stem", activation=ACTIVATION), block("patchify", norm=NORM)),
        width=64,
        stride=choice(2, 4),
    ),
    stages=[step_by_step(1, 1), step_by_step(2, 2), step_by_step(3, 2), step_by_step(4, 2)],
    classifier={"layer_norm": choice(False, True, name="norm", labels=("batch", "layer"))},
    scaling=Compound(
        beta=choice(*(width / 64 for width in WIDTHS), name="width", labels=WIDTHS), phi=1
    ),
)
