"""288 of mixconv's networks, small enough to train all of them: five choices, 0.13 to 0.75 M macs.

`tests/test_search_benchmark.py` holds that every one of them is in `search_spaces/mixconv.py`.
"""

from nas.search_space import SearchSpace, block, choice, stage

EXPANSION = choice(2, 4, 6, name="expansion")
SE_RATIO = choice(0, 0.25, name="se_ratio")
PLAIN = {"partition": "equal", "activation": "relu"}

SPACE = SearchSpace(
    name="mixconv-digits-288",
    resolution=16,
    stem=stage(block("conv", activation="relu"), width=16, stride=2),
    stages=[
        stage(block("depthwise_separable", kernels="3", activation="relu"), width=16),
        stage(
            block(
                "mbconv",
                kernels=choice("3", "5", "3.5", "3.5.7"),
                expansion=EXPANSION,
                se_ratio=SE_RATIO,
                **PLAIN,
            ),
            width=16,
            stride=2,
        ),
        stage(
            block("mbconv", kernels="3", expansion=EXPANSION, se_ratio=SE_RATIO, **PLAIN),
            width=choice(24, 40, 56),
            depth=choice(1, 2, 3, 4),
            stride=2,
        ),
        stage(block("mbconv", kernels="3", expansion=2, se_ratio=0, **PLAIN), width=48, stride=2),
        stage(block("mbconv", kernels="3", expansion=2, se_ratio=0, **PLAIN), width=64),
    ],
    head=stage(block("conv", kernels="1", activation="relu"), width=256),
    dropout=0.2,
)
