"""Hypothesis strategies: random search spaces with every kind of choice, and their assignments."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from nas.architecture import Value
from nas.errors import SpaceError
from nas.search_space import Compound, SearchSpace, block, choice, per_layer, scaled, stage
from nas.search_space.nodes import BlockSpec, Stage

# Every draw of this name gives the same choice, as in a space that shares it.
SHARED = {
    "activation": choice("relu", "silu", name="activation"),
    "se_ratio": choice(0, 0.5, name="se_ratio"),
    "skip": choice("identity", "none", name="skip"),
    "depth": choice(1, 2, name="depth"),
    "width": choice(8, 16, name="width"),
    "factor": choice(1.0, 1.5, name="factor"),
}
SIZES = ("small", "large")  # labels under which one choice sets depths, widths and more
OPTIONS: dict[str, dict[str, tuple[Value, ...]]] = {
    "conv": {"kernels": ("1", "3"), "groups": (1, 2), "activation": ("relu", "mish")},
    "depthwise_separable": {
        "kernels": ("3", "3.5"), "partition": ("equal", "exponential"), "se_ratio": (0, 0.25),
        "activation": ("relu", "gelu"), "skip": ("identity", "pool", "none"),
        "drop_path": (0.0, 0.1),
    },
    "mbconv": {
        "kernels": ("3", "5", "3.5.7"), "partition": ("equal", "exponential"),
        "expansion": (1, 1.5, 3), "se_ratio": (0, 0.25), "project_groups": (1, 2),
        "activation": ("relu6", "hard_swish"), "skip": ("identity", "pool", "none"),
    },
}  # fmt: skip


def value(draw: Any, pool: Sequence[Any], shared: str = "", *, layers: bool = False) -> Any:
    """Draw a value, a choice, a choice per layer, a shared choice or a choice with labels."""
    kinds = (
        ["value", "value", "choice", "linked"]
        + ["layers"] * layers
        + ["shared"] * (shared in SHARED)
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "value":
        return draw(st.sampled_from(pool))
    if kind == "shared":
        return SHARED[shared]
    if kind == "linked":
        return choice(*draw(st.tuples(*[st.sampled_from(pool)] * 2)), name="size", labels=SIZES)
    options = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    return per_layer(choice(*options)) if kind == "layers" else choice(*options)


def drawn_block(draw: Any, name: str) -> BlockSpec:
    """Draw a block with a few of its options."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS[name])), max_size=3, unique=True))
    drawn = {option: value(draw, OPTIONS[name][option], option, layers=True) for option in names}
    return block(name, **drawn)


def drawn_stage(draw: Any) -> Stage:
    """Draw a stage: its block may be a choice, of the stage or of each layer."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), min_size=1, max_size=3, unique=True))
    specs = [drawn_block(draw, name) for name in names]
    kind = draw(st.sampled_from(("one", "choice", "layers")))
    chosen = {"one": specs[0], "choice": choice(*specs), "layers": per_layer(choice(*specs))}[kind]
    width = value(draw, (8, 12, 16), "width")
    if draw(st.integers(0, 3)) == 0:
        width = scaled(16, value(draw, (0.5, 1.0, 1.25)))
    depth, stride = value(draw, (1, 2, 3), "depth"), value(draw, (1, 2))
    return stage(chosen, width=width, depth=depth, stride=stride)


@st.composite
def search_spaces(draw: Any) -> SearchSpace:
    """Draw a space of one to three stages, with and without stem, head and compound scaling."""
    factors = (1.0, 1.2, 2.0)
    scaling = Compound(
        alpha=value(draw, factors, "factor"), beta=value(draw, factors, "factor"),
        gamma=value(draw, (1.0, 2.0)), phi=value(draw, (0, 1, 0.5)),
    )  # fmt: skip
    return SearchSpace(
        name="drawn",
        in_channels=4,
        classes=draw(st.integers(2, 5)),
        resolution=value(draw, (8, 12, 16)),
        stem=[drawn_stage(draw) for _ in range(draw(st.integers(0, 1)))],
        stages=[drawn_stage(draw) for _ in range(draw(st.integers(1, 3)))],
        head=[stage(block("conv"), width=value(draw, (8, 16), "width"))] * draw(st.integers(0, 1)),
        dropout=value(draw, (0.0, 0.2)),
        classifier=draw(
            st.sampled_from(({}, {"hidden_channels": value(draw, (0, 8)), "layer_norm": True}))
        ),
        scaling=draw(st.sampled_from((None, scaling))),
        fit_kernels=draw(st.booleans()),
    )


@st.composite
def assignments(draw: Any) -> tuple[SearchSpace, dict[str, Value]]:
    """Draw a space and one of its assignments."""
    space = draw(search_spaces())
    return space, space.sample(random.Random(draw(st.integers(0, 10**6))))


def every_assignment(
    space: SearchSpace, values: dict[str, Value] | None = None
) -> Iterator[dict[str, Value]]:
    """Yield all assignments, by asking only `decode` for the next missing parameter."""
    values = values or {}
    try:
        space.decode(values)
    except SpaceError as error:
        name, chosen = error.name, error.chosen  # type: ignore[attr-defined]
        for label in chosen.labels:
            yield from every_assignment(space, {**values, name: label})
        return
    yield values
