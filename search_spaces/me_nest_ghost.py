"""ME-NeSt-Ghost S, M, L and XL in two presets, and a space around them.

The networks were made for CIFAR-100 at 128 px, resized to 256 px for training, against
EfficientNetV2. Their early stages are MixConv and split attention, the late ones MixConv, SE and
Ghost. Which MixConv that is makes two presets:

- `me_nest_ghost_s` to `_xl` have the sizes that the report prints (21, 51, 102, 172 M). Their
  "MixConv" is not depthwise: every branch reads all channels, in gcd(C_in, C_branch) groups.
- `me_nest_ghost_s_depthwise` to `_xl_depthwise` are the same rows with a true, depthwise MixConv;
  where it widens, each input channel gives `expansion` outputs.

Counted with 100 classes, macs at 256 px:

    size   parameters            macs   depthwise parameters            macs
    S      21,835,204   4,321,632,000             15,234,532   3,354,320,640
    M      50,633,948   7,446,844,416             37,913,780   5,750,648,832
    L     102,864,108  15,579,215,872             80,455,476  12,641,007,616
    XL    172,566,116  21,547,371,520            138,355,388  17,257,950,208
"""

from typing import Any

from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import BlockSpec, Choice, Stage

MIX = {"kernels": "3.5.7.9", "shuffle_groups": 2}


def ms(expansion: int, mixconv: str) -> BlockSpec:
    """MixConv - split attention."""
    return block("mixconv_split_attention", mixconv=mixconv, expansion=expansion, **MIX)


def ghost(expansion: int, mixconv: str) -> BlockSpec:
    """MixConv - SE - Ghost; the squeeze is a multiple of 8 near a quarter of the block's input."""
    return block(
        "mixconv_se_ghost",
        mixconv=mixconv,
        expansion=expansion,
        cheap_kernels="3.5.7.9",
        se_ratio=0.25,
        se_divisor=8,
        **MIX,
    )


# Block, expansion, channels, layers, stride.
TABLE = {
    "s": (
        (ms, 1, 24, 2, 1),
        (ms, 4, 48, 4, 2),
        (ms, 4, 64, 4, 2),
        (ghost, 4, 128, 6, 2),
        (ghost, 6, 160, 9, 1),
        (ghost, 6, 256, 15, 2),
    ),
    "m": (
        (ms, 1, 24, 3, 1),
        (ms, 4, 48, 5, 2),
        (ms, 4, 80, 5, 2),
        (ghost, 4, 160, 7, 2),
        (ghost, 6, 176, 14, 1),
        (ghost, 6, 304, 18, 2),
        (ghost, 6, 512, 5, 1),
    ),
    "l": (
        (ms, 1, 32, 4, 1),
        (ms, 4, 64, 7, 2),
        (ms, 4, 96, 7, 2),
        (ghost, 4, 192, 10, 2),
        (ghost, 6, 224, 19, 1),
        (ghost, 6, 384, 25, 2),
        (ghost, 6, 640, 7, 1),
    ),
    "xl": (
        (ms, 1, 32, 4, 1),
        (ms, 4, 64, 8, 2),
        (ms, 4, 96, 8, 2),
        (ghost, 4, 192, 16, 2),
        (ghost, 6, 256, 24, 1),
        (ghost, 6, 512, 32, 2),
        (ghost, 6, 640, 8, 1),
    ),
}


def me_nest_ghost(name: str, size: str, mixconv: str) -> SearchSpace:
    """Put stem and head around the rows of the table."""
    return SearchSpace(
        name=name,
        resolution=128,
        stem=stage(block("conv", activation="mish"), width=24, stride=2),
        stages=[
            stage(made(expansion, mixconv), width=channels, depth=layers, stride=stride)
            for made, expansion, channels, layers, stride in TABLE[size]
        ],
        head=stage(block("conv", kernels="1", activation="mish"), width=1792),
        classes=100,
    )


PRESETS = {"": "dense", "_depthwise": "depthwise"}
MEMBERS = {
    name: me_nest_ghost(name, size, mixconv)
    for ending, mixconv in PRESETS.items()
    for size in TABLE
    for name in [f"me_nest_ghost_{size}{ending}"]
}

ACTIVATION = choice("mish", "silu", "relu", name="activation")
SHARED: dict[str, Any] = {
    "mixconv": choice("depthwise", "dense", name="mixconv"),
    "shuffle_groups": choice(1, 2, 4, name="shuffle_groups"),
    "activation": ACTIVATION,
}
RADIX = choice(1, 2, 4, name="radix")
CARDINALITY = choice(1, 2, name="cardinality")
RATIO = choice(2, 4, name="ratio")
CHEAP_KERNELS = choice("3", "3.5", "3.5.7.9", name="cheap_kernels")
# One, two or four branches: a third of the channels would leave a dense branch next to no groups.
KERNELS = ("3", "5", "3.5", "3.5.7.9")


def split_attention(expansions: Choice, *, width: Choice, depth: Choice, stride: int) -> Stage:
    """An early stage, of MixConv - split attention."""
    made = block(
        "mixconv_split_attention",
        kernels=choice(*KERNELS),
        expansion=expansions,
        radix=RADIX,
        cardinality=CARDINALITY,
        **SHARED,
    )
    return stage(made, width=width, depth=depth, stride=stride)


def mix_ghost(expansions: Choice, *, width: Choice, depth: Choice, stride: int | Choice) -> Stage:
    """A late stage, of MixConv - SE - Ghost."""
    made = block(
        "mixconv_se_ghost",
        kernels=choice(*KERNELS),
        cheap_kernels=CHEAP_KERNELS,
        ratio=RATIO,
        expansion=expansions,
        se_ratio=choice(0, 0.25, 0.5),
        se_divisor=8,
        **SHARED,
    )
    return stage(made, width=width, depth=depth, stride=stride)


# Both S networks are in it.
SPACE = SearchSpace(
    name="me_nest_ghost",
    resolution=choice(24, 28, 32, 48, 56, 64, 96, 128, 192, 256),
    stem=stage(block("conv", activation=ACTIVATION), width=choice(16, 24, 32), stride=choice(1, 2)),
    stages=[
        split_attention(choice(1, 2), width=choice(16, 24, 32), depth=choice(1, 2), stride=1),
        split_attention(choice(2, 4), width=choice(32, 48, 64), depth=choice(1, 2, 4), stride=2),
        split_attention(choice(2, 4), width=choice(48, 64, 96), depth=choice(1, 2, 4), stride=2),
        mix_ghost(choice(2, 4), width=choice(64, 96, 128), depth=choice(1, 2, 3, 6), stride=2),
        mix_ghost(choice(2, 4, 6), width=choice(96, 128, 160), depth=choice(1, 2, 3, 9), stride=1),
        mix_ghost(
            choice(2, 4, 6),
            width=choice(128, 192, 256),
            depth=choice(1, 2, 3, 15),
            stride=choice(1, 2),
        ),
    ],
    head=stage(block("conv", kernels="1", activation=ACTIVATION), width=choice(512, 1024, 1792)),
)
