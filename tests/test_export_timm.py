"""The format timm: the model that timm builds computes the same; what it can't say is refused."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import timm_referee
from test_formats import SMALL, exportable

from nas import blocks
from nas.architecture import Architecture, Row
from nas.errors import NasError
from nas.export import proof
from nas.export.timm import source
from nas.search_space import load, members, spaces

SAID = {  # a member of each family, at a small size
    "mixnet_s": "ir_r1_k3.5.7_s2_e6.0_c40_se0.5_nsw",
    "mnasnet_100": "ir_r1_k5_s2_e3.0_c40",
    "mobilenetv2_100": "ir_r1_k3_s2_e6.0_c24",
    "efficientnet_b0": "ir_r1_k3_s2_e6.0_c24_se0.25",
    "efficientnetv2_s": "er_r1_k3_s2_e4.0_c48",
    "efficientnet_cc_b0_4e": "cc4",
}


def body(*rows: Row) -> Architecture:
    return blocks.canonical(replace(SMALL, body=rows))


@pytest.mark.parametrize("name", SAID)
def test_timm_builds_a_published_network_from_its_strings(name: str) -> None:
    """The strings are timm's own, with the network's numbers."""
    assert SAID[name] in source(load(name).decode({}))


NETWORKS = {
    "mixed": body(
        Row("mbconv", 16, 2, (("expand_groups", 2), ("expansion", 4), ("kernels", "3.5.7"),
                              ("project_groups", 2), ("se_ratio", 0.5))),
        Row("mbconv", 16, 1, (("activation", "silu"), ("expansion", 3))),
        Row("mbconv", 16, 1, (("expansion", 2), ("skip", "none"))),
    ),
    "separable": body(Row("depthwise_separable", 12, 1, (("se_ratio", 0.25),)), Row("conv", 12)),
    "fused": body(
        Row("fused_mbconv", 16, 2, (("activation", "hard_swish"),)),
        Row("residual_conv", 16), Row("fused_mbconv", 16, 1, (("se_ratio", 1.0),)),
    ),
    "experts": body(Row("condconv", 16, 2, (("expansion", 2),)), Row("condconv", 16)),
    "gates": body(
        *[Row("mbconv", 16, 1, (("activation", "hard_swish"), ("expansion", 2),
              ("se_activation", "relu"), ("se_gate", "hard_sigmoid"), ("se_ratio", 0.5)))] * 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_of_timm_computes_the_same(name: str, tmp_path: Path) -> None:
    """timm.create_model with the weights by its own names, beside the built network."""
    timm_referee.timm()
    proven = proof.prove("timm", exportable(NETWORKS[name]), tmp_path)
    assert proven.failure is None
    assert proven.verified is not None
    assert proven.verified <= 1e-5
    assert {path.name for path in tmp_path.iterdir()} == {"timm_model.py", "timm_model.safetensors"}


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        (body(Row("ghost", 12)), "the block ghost"),
        (body(Row("mbconv", 12, 1, (("kernels", "3.5.7"), ("partition", "exponential")))), "parti"),
        (body(Row("mbconv", 12, 1, (("expansion", 2.5),))), "expansion = 2.5, which gives 20"),
        (body(Row("mbconv", 8, 1, (("skip", "pool"),))), "skip = pool"),
        (body(Row("conv", 12, 1, (("groups", 2),))), "conv.groups = 2"),
        (body(Row("residual_conv", 8, 1, (("se_ratio", 0.5),))), "residual_conv.se_ratio"),
        (body(Row("mbconv", 8, 1, (("activation", "gelu"),))), "activations gelu, relu"),
        (replace(SMALL, stem=(Row("conv", 8),)), "a stem that is not one convolution"),
        (load("mobilenetv3_small_100").decode({}), "hidden_channels"),
    ],
)  # fmt: skip
def test_an_option_that_timm_lacks_is_named(
    architecture: Architecture, told: str, tmp_path: Path
) -> None:
    """The failure names the option, its value and its place; no file is left."""
    timm_referee.timm()
    proven = proof.prove("timm", exportable(architecture.at(resolution=32)), tmp_path)
    assert "can't say" in str(proven.failure)
    assert told in str(proven.failure)
    assert list(tmp_path.iterdir()) == []


def test_every_network_is_said_or_refused() -> None:
    """All named members and a sample of every space: a text, or an error that names a reason."""
    said, reasons = 0, set()
    for name in (*members(), *spaces()):
        space = load(name)
        architecture = space.decode(space.draw(random.Random(0)))
        try:
            said += bool(source(architecture))
        except NasError as error:
            reasons.add(str(error).partition("(")[0])
    assert said > 20
    assert all("can't say" in reason for reason in reasons)
