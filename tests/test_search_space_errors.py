"""What a description may not say: each message names the stage, the option, the value, the rule."""

from collections.abc import Callable
from typing import Any

import pytest

from nas.errors import SpaceError
from nas.search_space import (
    Compound,
    Limits,
    SearchSpace,
    block,
    choice,
    per_layer,
    scaled,
    stage,
)
from nas.search_space.nodes import Stage


def space(*stages: Stage, **changes: Any) -> SearchSpace:
    """A good stage, then these."""
    fine = stage(block("conv"), width=16)
    return SearchSpace(**{"name": "s", "stages": [fine, *stages]} | changes)


def of(chosen: Any, **options: Any) -> SearchSpace:
    """A space whose second stage has this block (by name: with these options)."""
    return space(stage(block(chosen, **options) if isinstance(chosen, str) else chosen, width=16))


WIDE = block("mbconv", expansion=choice(*range(1, 33)))
ACT = choice("relu", "silu", name="act")
BLOCKS: dict[str, tuple[Callable[[], Any], str]] = {
    "even kernel": (
        lambda: of("mbconv", kernels=choice("3", "3.4")),
        "stage2: mbconv.kernels is odd kernel sizes such as \"3\" or \"3.5.7\", not '3.4'.",
    ),
    "unknown block": (
        lambda: of("mbconv2"),
        "stage2: No block named 'mbconv2'. Did you mean 'mbconv'? Available: ",
    ),
    "unknown option": (
        lambda: of("mbconv", kernel="3"),
        "stage2: mbconv: No option named 'kernel'. Did you mean 'kernels'? Available: ",
    ),
    "option of another block": (
        lambda: of("conv", se_ratio=0.25),
        "stage2: conv: No option named 'se_ratio'.",
    ),
    "unknown activation": (
        lambda: of("conv", activation=choice("relu", "swish")),
        "stage2: conv.activation is one of relu, relu6, silu, hard_swish, gelu, mish, not 'swish'.",
    ),
    "ratio out of range": (
        lambda: of("mbconv", se_ratio=per_layer(choice(0, 40))),
        "stage2: mbconv.se_ratio is a number from 0 to 32, not 40.",
    ),
    "truth value for a number": (
        lambda: of("mbconv", expansion=True),
        "stage2: mbconv.expansion is a number from 1 to 32, not True.",
    ),
    "number for a truth value": (
        lambda: space(classifier={"layer_norm": 1}),
        "classifier.layer_norm: classifier.layer_norm is true or false, not 1.",
    ),
    "no value": (
        lambda: of("mbconv", skip=None),
        "stage2: mbconv.skip is text, a number or true/false, not None.",
    ),
    "more groups than channels": (
        lambda: space(stage(block("depthwise_separable", kernels=".".join("3" * 17)), width=8)),
        "stage2: kernels: 17 groups need at least 17 channels, not 16.",
    ),
    "groups at one of the widths": (
        lambda: space(stage(block("mbconv", project_groups=choice(1, 3)), width=choice(24, 32))),
        "stage2: project_groups divides the channels, 96 in and 32 out; 3 does not.",
    ),
    "groups that do not divide": (
        lambda: of("conv", groups=3),
        "stage2: conv.groups divides the channels, 16 in and 16 out; 3 does not.",
    ),
    "classifier as a stage": (
        lambda: of("classifier"),
        "stage2: the classifier ends every network by itself; it is no stage's block.",
    ),
    "no block": (lambda: of(choice("mbconv")), "stage2.block is block(...), not 'mbconv'."),
}  # fmt: skip
CHOICES: dict[str, tuple[Callable[[], Any], str]] = {
    "empty choice": (
        lambda: of("mbconv", kernels=choice()),
        "stage2.kernels: a choice needs at least one option.",
    ),
    "duplicate options": (
        lambda: space(stage(block("conv"), width=choice(16, 24, 16))),
        "stage2.width: the options of a choice differ from each other; 16 is there twice.",
    ),
    "equal labels": (
        lambda: space(stage(block("conv"), width=choice(8, 16, labels=(True, 1)))),
        "stage2.width: the options of a choice differ from each other; True is there twice.",
    ),
    "one block twice": (
        lambda: of(choice(block("conv"), block("conv", kernels="1"))),
        "stage2.block: the options of a choice differ from each other; 'conv' is there twice.",
    ),
    "nested choice": (
        lambda: of("mbconv", expansion=choice(3, choice(4, 6))),
        "stage2.expansion: a choice can't stand inside another.",
    ),
    "nested choice per layer": (
        lambda: of(choice(block("conv"), per_layer(choice(block("conv"))))),
        "stage2.block: a choice can't stand inside another.",
    ),
    "scaled inside a choice": (
        lambda: space(stage(block("conv"), width=choice(scaled(8, 2), 16))),
        "stage2.width: scaled(...) stands for a width, outside a choice.",
    ),
    "per layer without a choice": (
        lambda: of("mbconv", kernels=per_layer("3")),  # type: ignore[arg-type]
        "stage2.kernels: per_layer(...) holds a choice, not '3'.",
    ),
    "per layer where there are no layers": (
        lambda: space(stage(block("conv"), width=per_layer(choice(8, 16)))),
        "stage2.width: only a block and its options are chosen per layer.",
    ),
    "resolution per layer": (
        lambda: space(resolution=per_layer(choice(8, 16))),
        "resolution: only a block and its options are chosen per layer.",
    ),
    "shared per layer": (
        lambda: of("mbconv", activation=per_layer(ACT)),
        "stage2.activation: a choice per layer can't be shared under a name.",
    ),
    "shared name with other options": (
        lambda: space(
            stage(block("conv", activation=ACT), width=8),
            stage(block("conv", activation=choice("silu", "relu", name="act")), width=8),
        ),
        "stage3.activation: the shared choice 'act' has other options elsewhere: "
        "'relu', 'silu', not 'silu', 'relu'.",
    ),
    "shared name for other kinds": (
        lambda: space(
            stage(block("mbconv", se_ratio=choice(0, 1, name="x")), width=8),
            classifier={"layer_norm": choice(False, True, name="x")},
        ),
        "classifier.layer_norm: the shared choice 'x' has other options elsewhere: "
        "0, 1, not False, True.",
    ),
    "too few labels": (
        lambda: of("mbconv", kernels=choice("3", "5", labels=("small",))),
        "stage2.kernels: labels are text, numbers or true/false, one for each of the 2 options,"
        " not ('small',).",
    ),
    "labels as one text": (
        lambda: of("mbconv", kernels=choice("3", "5", labels="ab")),
        "A choice's labels are a list or a tuple, not 'ab'.",
    ),
    "one label twice": (
        lambda: of("mbconv", kernels=choice("3", "5", labels=("a", "a"))),
        "stage2.kernels: the options of a choice differ from each other; 'a' is there twice.",
    ),
    "shared name that is a place": (
        lambda: space(
            stage(block("conv"), width=choice(8, 16)),
            stage(block("conv"), width=choice(8, 16, name="stage2.width")),
        ),
        "stage3.width: 'stage2.width' is both a place and the name of a shared choice.",
    ),
    "bad shared name": (
        lambda: of("conv", activation=choice("relu", name="the activation")),
        "stage2.activation: a shared choice's name is letters, digits, '_', '-', '.', "
        "a letter or digit first, not 'the activation'.",
    ),
}
REST: dict[str, tuple[Callable[[], Any], str]] = {
    "bad name": (
        lambda: space(name="my space"),
        "A space's name is letters, digits, '_', '-', '.', a letter or digit first, "
        "not 'my space'.",
    ),
    "name is no text": (lambda: space(name=3), "A space's name is letters, digits"),
    "no stages": (
        lambda: space(stages=[]),
        "Space 's' has no stage; it needs at least one.",
    ),
    "stages are no stages": (
        lambda: space(stages=[block("conv")]),
        "stages is a stage or a list of stages, not [BlockSpec(name='conv', options=())].",
    ),
    "width": (
        lambda: space(stage(block("conv"), width=0)),
        "stage2.width: a number of channels, not 0.",
    ),
    "width as text": (
        lambda: space(stage(block("conv"), width="16")),
        "stage2.width: a number of channels, not '16'.",
    ),
    "depth": (
        lambda: space(stage(block("conv"), width=8, depth=choice(0, 1))),
        "stage2.depth: a whole number of layers from 1 to 1000, not 0.",
    ),
    "depth when scaled": (
        lambda: space(
            stage(block("conv"), width=8, depth=100), scaling=Compound(alpha=4, phi=choice(1, 2))
        ),
        "stage2.depth: scaled, it is over 1000 layers.",
    ),
    "width when scaled": (
        lambda: space(stage(block("conv"), width=800_000), scaling=Compound(beta=2, phi=1)),
        "stage2.width: scaled, it is over 1,000,000 channels.",
    ),
    "resolution when scaled": (
        lambda: space(resolution=224, scaling=Compound(gamma=16, phi=2)),
        "scaling.gamma: 224 px become 57,344, over 16,384.",
    ),
    "stride": (
        lambda: space(stage(block("conv"), width=8, stride=1.5)),
        "stage2.stride: a whole number of 1 or more, not 1.5.",
    ),
    "base": (
        lambda: space(stage(block("conv"), width=scaled(choice(8, 16), 1.0))),  # type: ignore[arg-type]
        "stage2.width's base: a whole number of 1 or more, not Choice(",
    ),
    "multiplier": (
        lambda: space(stage(block("conv"), width=scaled(8, choice(0, 1)))),
        "stage2.width_multiplier: a number over 0, to 16, not 0.",
    ),
    "resolution": (
        lambda: space(resolution=choice(32, 0)),
        "resolution: whole numbers of pixels to 16,384, not 0.",
    ),
    "dropout twice": (
        lambda: space(classifier={"dropout": 0.1}),
        "classifier is a mapping of the classifier's options; dropout, a field of its own, is not"
        " among them. Not {'dropout': 0.1}.",
    ),
    "dropout": (
        lambda: space(dropout=choice(0.2, 1)),
        "classifier.dropout: classifier.dropout is a probability from 0 to under 1, not 1.",
    ),
    "choice of classes": (
        lambda: space(classes=choice(2, 3)),
        "classes: a whole number of 1 or more, not Choice(",
    ),
    "scaling": (
        lambda: space(scaling={"phi": 1}),
        "scaling is Compound(...), not {'phi': 1}.",
    ),
    "alpha": (
        lambda: space(scaling=Compound(alpha=0)),
        "scaling.alpha: a number over 0, to 16, not 0.",
    ),
    "phi": (lambda: space(scaling=Compound(phi=-1)), "scaling.phi: a number from 0 to 16, not -1."),
    "limit": (
        lambda: space(limits=Limits(macs=0)),
        "limits: A limit on macs is a number of at least 1, not 0.",
    ),
    "unknown limit": (
        lambda: space(limits={"flops": 1}),
        "limits: No limit on 'flops'; limits: macs, params, activations, peak_activation_bytes.",
    ),
    "too many combinations": (
        lambda: space(*[stage(WIDE, width=choice(*range(8, 88)))] * 2),
        "stage3: over 200,000 combinations of widths.",
    ),
}  # fmt: skip
EVERY = BLOCKS | CHOICES | REST


@pytest.mark.parametrize("case", EVERY)
def test_a_broken_rule_is_refused_with_its_place(case: str) -> None:
    """One message: where, which option, what is valid, what was there."""
    make, message = EVERY[case]
    with pytest.raises(SpaceError) as raised:
        make()
    assert str(raised.value).startswith(message)


def test_the_line_of_the_stage_is_known() -> None:
    """A mistake in a block has the line of block(...), one in a stage that of stage(...)."""
    first = test_the_line_of_the_stage_is_known.__code__.co_firstlineno
    with pytest.raises(SpaceError) as raised:
        of(
            block(
                "mbconv2",
            )
        )
    assert raised.value.line == first + 5
    with pytest.raises(SpaceError) as raised:
        space(stage(block("conv"), width=-1))
    assert raised.value.line == first + 11
