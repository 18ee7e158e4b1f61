"""The search-space DSL: a space is data, with `choice(...)` wherever a value may stand.

    from nas.search_space import SearchSpace, block, choice, stage

    SPACE = SearchSpace(
        name="tiny",
        resolution=choice(16, 32),
        stem=stage(block("conv"), width=16, stride=2),
        stages=[
            stage(
                block("mbconv", kernels=choice("3", "3.5"), expansion=choice(3, 6)),
                width=choice(16, 24), depth=choice(1, 2, 3), stride=2,
            ),
        ],
        head=stage(block("conv", kernels="1"), width=128),
    )

A choice becomes a flat parameter named after its place (`stage1.kernels`), or after the `name` it
is given, under which several places share it. Where blocks themselves are the choice, a block's own
options exist only when it is chosen (`stage1.block`, `stage1.mbconv.kernels`); inside
`per_layer(...)` each layer chooses for itself (`stage1.layer2.kernels`).
"""

from nas.cost import Limits
from nas.search_space.files import load, members, names, spaces
from nas.search_space.nodes import (
    Choice,
    Compound,
    block,
    choice,
    per_layer,
    scaled,
    stage,
)
from nas.search_space.parameters import Assignment, Parameter
from nas.search_space.space import SearchSpace

__all__ = [
    "Assignment", "Choice", "Compound", "Limits", "Parameter", "SearchSpace", "block", "choice",
    "load", "members", "names", "per_layer", "scaled", "spaces", "stage",
]  # fmt: skip
