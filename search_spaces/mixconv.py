"""MixConv networks from 16 to 224 px: kernel groups, expansion, SE, width and depth per stage.

The backbone is MixNet's, arXiv:1907.09595; what it fixes is chosen here stage by stage (factorised
hierarchical, as in MnasNet, arXiv:1807.11626).
"""

from nas.search_space import Choice, SearchSpace, block, choice, stage
from nas.search_space.nodes import Stage

ACTIVATION = choice("relu", "hard_swish", "silu", name="activation")
PARTITION = choice("equal", "exponential", name="partition")


def mixed(width: Choice, depth: Choice, stride: int | Choice) -> Stage:
    """A stage of MBConv blocks with MixConv."""
    return stage(
        block(
            "mbconv",
            kernels=choice("3", "5", "3.5", "3.5.7", "3.5.7.9", "3.5.7.9.11"),
            partition=PARTITION,
            expansion=choice(2, 3, 4, 6),
            se_ratio=choice(0, 0.25, 0.5),
            activation=ACTIVATION,
        ),
        width=width,
        depth=depth,
        stride=stride,
    )


SPACE = SearchSpace(
    name="mixconv",
    resolution=choice(16, 24, 28, 32, 48, 56, 64, 96, 128, 160, 192, 224),
    stem=stage(block("conv", activation=ACTIVATION), width=choice(16, 24, 32), stride=choice(1, 2)),
    stages=[
        stage(
            block("depthwise_separable", kernels=choice("3", "3.5"), activation=ACTIVATION),
            width=16,
        ),
        mixed(width=choice(16, 24, 32), depth=choice(1, 2, 3), stride=2),
        mixed(width=choice(24, 32, 40, 56), depth=choice(1, 2, 3, 4), stride=2),
        mixed(width=choice(48, 64, 80, 112), depth=choice(1, 2, 3, 4), stride=2),
        mixed(width=choice(64, 96, 120, 160, 200), depth=choice(1, 2, 3, 4), stride=choice(1, 2)),
    ],
    head=stage(
        block("conv", kernels="1", activation=ACTIVATION), width=choice(256, 512, 1024, 1536)
    ),
    dropout=0.2,
)
