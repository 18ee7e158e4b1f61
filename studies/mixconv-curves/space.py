"""62,208 of mixconv's networks at 16 px, small enough to train many: ten choices, 0.1 to 1 M macs.

`tests/test_search_benchmark.py` holds that every one of them is in `search_spaces/mixconv.py`.
"""

from nas.search_space import SearchSpace, block, choice, stage

EXPANSION = choice(2, 3, 4, 6, name="expansion")
SE_RATIO = choice(0, 0.25, 0.5, name="se_ratio")
ACTIVATION = choice("relu", "hard_swish", "silu", name="activation")
USUAL = {"partition": "equal", "activation": ACTIVATION}
MIXED = {"expansion": EXPANSION, "se_ratio": SE_RATIO, **USUAL}
PLAIN = {"kernels": "3", "expansion": 2, "se_ratio": 0, **USUAL}

SPACE = SearchSpace(
    name="mixconv-curves",
    resolution=16,
    stem=stage(block("conv", activation=ACTIVATION), width=choice(16, 24), stride=2),
    stages=[
        stage(block("depthwise_separable", kernels="3", activation=ACTIVATION), width=16),
        stage(
            block("mbconv", kernels=choice("3", "5", "3.5", "3.5.7"), **MIXED),
            width=choice(16, 24, 32),
            stride=2,
        ),
        stage(
            block("mbconv", kernels=choice("3", "5", "3.5"), **MIXED),
            width=choice(24, 32, 40, 56),
            depth=choice(1, 2, 3),
            stride=2,
        ),
        stage(block("mbconv", **PLAIN), width=48, stride=2),
        stage(block("mbconv", **PLAIN), width=64),
    ],
    head=stage(block("conv", kernels="1", activation=ACTIVATION), width=choice(256, 512)),
    dropout=0.2,
)
