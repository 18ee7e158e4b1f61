"""The mobile families: counted numbers, and timm's networks as a referee of size and function."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
import timm_referee
import torch

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.blocks.modules.condconv import CondConv2d
from nas.search_space import load
from nas.search_space.space import SearchSpace

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the reference numbers are not in this checkout"
)

# Member, resolution, parameters, macs; 1000 classes but where the network is from another data set.
COUNTED = [
    ("mixnet_xl", 224, 11_896_768, 904_010_880),
    ("mobilenetv2_100", 224, 3_504_872, 300_774_272),
    ("mobilenetv3_large_100", 224, 5_483_032, 216_589_760),
    ("mobilenetv3_small_100", 224, 2_542_856, 56_510_400),
    ("mnasnet_100", 224, 4_383_312, 314_415_872),
    ("semnasnet_100", 224, 3_887_038, 311_579_072),
    ("mnasnet_small", 224, 2_030_264, 68_339_184),
    ("efficientnet_b0", 224, 5_288_548, 385_814_752),
    ("efficientnet_b1", 240, 7_794_184, 686_802_832),
    ("efficientnet_b2", 260, 9_109_994, 993_561_872),
    ("efficientnet_b3", 300, 12_233_232, 1_827_141_392),
    ("efficientnet_b4", 380, 19_341_616, 4_393_771_024),
    ("efficientnet_b5", 456, 30_389_784, 10_266_384_752),
    ("efficientnet_b6", 528, 43_040_704, 19_067_593_536),
    ("efficientnet_b7", 600, 66_347_960, 37_745_884_192),
    ("efficientnet_cc_b0_4e", 224, 13_314_116, 396_513_888),
    ("efficientnet_cc_b0_8e", 224, 24_013_284, 407_213_024),
    ("efficientnet_cc_b1_8e", 240, 39_715_968, 723_282_704),
    ("efficientnetv2_b0", 224, 7_139_704, 718_086_176),
    ("tf_efficientnetv2_b0", 224, 7_139_704, 718_086_176),
    ("efficientnetv2_s", 224, 21_458_488, 2_849_895_872),
    ("efficientnetv2_s", 300, 21_458_488, 5_307_561_248),
    ("efficientnetv2_s", 384, 21_458_488, 8_365_617_152),
    ("efficientnetv2_m", 480, 54_139_356, 24_582_460_384),
    ("efficientnetv2_l", 480, 118_515_272, 56_079_699_008),
    ("efficientnetv2_xl", 512, 208_119_808, 93_353_451_520),
    ("efficientnetv2_s_report", 128, 20_490_132, 939_623_424),
    ("efficientnetv2_m_report", 128, 53_686_316, 1_768_964_608),
    ("efficientnetv2_l_report", 128, 117_742_092, 4_012_063_744),
    ("efficientnetv2_xl_report", 128, 207_346_628, 5_875_500_032),
    ("se_condconv_standard", 56, 2_029_572, 193_898_304),
    ("se_condconv_se", 56, 3_316_684, 195_178_816),
    ("se_condconv_cond_per_conv", 56, 7_757_836, 201_084_256),
    ("se_condconv_cond_per_block", 56, 7_715_468, 201_042_016),
]
# One member at least of each family that timm has.
SAME_FUNCTION = [
    "mixnet_s", "semnasnet_100", "mobilenetv2_100", "mobilenetv3_small_100", "efficientnet_b0",
    "efficientnet_cc_b0_4e", "efficientnetv2_s",
]  # fmt: skip


def member(name: str) -> Architecture:
    return load(name).decode({})


def reference(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


@pytest.mark.parametrize(("name", "size", "params", "macs"), COUNTED)
def test_members_have_their_counted_numbers(name: str, size: int, params: int, macs: int) -> None:
    """Parameters and macs to the last one."""
    cost = network.cost(member(name).at(resolution=size))
    assert (cost.params, cost.macs) == (params, macs)


@pytest.mark.parametrize("name", timm_referee.shared_names())
def test_members_have_the_parameters_of_timm(name: str) -> None:
    """Every member that timm has under its name, other families' too, without memory."""
    ours = member(name)
    theirs = timm_referee.params(name, num_classes=ours.classes, in_chans=ours.in_channels)
    assert network.cost(ours).params == theirs


@pytest.mark.parametrize("name", SAME_FUNCTION)
def test_members_compute_what_timm_computes(name: str) -> None:
    """With timm's weights copied, logits of two 64 px images agree within 1e-4."""
    assert timm_referee.difference(name) <= 1e-4


def test_another_activation_is_noticed_as_another_function() -> None:
    """The check above has teeth: SiLU in one block of MobileNetV2 is far off."""
    ours = member("mobilenetv2_100")
    rows = list(ours.body)
    rows[3] = Row(rows[3].block, rows[3].out_channels, rows[3].stride, (("activation", "silu"),))
    changed = Architecture(3, 224, 1000, ours.stem, tuple(rows), ours.head)
    assert timm_referee.difference("mobilenetv2_100", architecture=changed) > 1e-2


def test_weights_are_copied_all_or_not_at_all() -> None:
    """A network of other shapes is refused, not filled in part."""
    theirs = timm_referee.build("mobilenetv2_100")
    with pytest.raises(ValueError, match="differ in number"):
        timm_referee.copy_weights(
            theirs, network.build(member("mnasnet_small")), torch.zeros(1, 3, 32, 32)
        )


@needs_reference
@pytest.mark.parametrize("size", range(8))
def test_efficientnets_have_the_published_rows(size: int) -> None:
    """B0 to B7: widths and layers of every stage, stem and head, and parameters for 5 classes."""
    facts = reference("efficientnet.json")
    expected, scale = facts["b0_to_b7"][f"b{size}"], facts["compound"]["published"][f"b{size}"]
    ours = member(f"efficientnet_b{size}")
    widths = [row.out_channels for row in ours.body]
    assert widths == [width for width, layers in expected["stages"] for _ in range(layers)]
    assert ours.stem[0].out_channels == expected["stem"]
    assert ours.head[0].out_channels == expected["head"]
    assert network.cost(ours.at(classes=5)).params == expected["params_5_classes"]
    assert ours.resolution == scale["res"]
    assert dict(ours.head[-1].options) == {"dropout": scale["dropout"]}


def test_the_formula_is_not_the_published_coefficients() -> None:
    """At phi 1 the stem is 32 x 1.1 wide and 224 px become 256; neither is B1's."""
    space = load("efficientnet")
    values = {parameter.name: parameter.choices[-1] for parameter in space.parameters()}
    zero, one = (space.decode({**values, "scaling.phi": phi}) for phi in (0, 1))
    b1 = member("efficientnet_b1")
    assert (zero.resolution, zero.stem[0].out_channels) == (224, 32)
    assert (one.resolution, one.stem[0].out_channels) == (256, 32)
    assert (b1.resolution, b1.stem[0].out_channels) == (240, 32)
    assert one.head[0].out_channels == 1408
    assert b1.head[0].out_channels == 1280


def test_b0_is_in_the_space_of_its_backbone() -> None:
    """EfficientNet-B0 is one of the assignments, at phi 0."""
    values = load("efficientnet").encode(member("efficientnet_b0"))
    assert values["scaling.phi"] == 0


def test_the_report_keeps_a_projection_where_the_released_network_has_none() -> None:
    """The first stage is 3x3 and 1x1 in the report, one convolution as released."""
    kinds = {
        name: {row.block for row in member(name).body[:2]}
        for name in ("efficientnetv2_s", "efficientnetv2_s_report")
    }
    expected = {"residual_conv"}, {"fused_mbconv"}
    assert tuple(kinds.values()) == expected


def test_mnasnets_space_has_432_ways_for_each_of_five_stages() -> None:
    """432^5 assignments at the one resolution."""
    space = load("mnasnet")
    assert space.size() == 432**5 == 15_045_919_506_432
    assert space.resolution == 224


def test_the_kernel_sweep_is_a_space_of_eight() -> None:
    """One decision; each of its values gives the member of that name."""
    space = load("mixnet")
    (kernels,) = space.parameters()
    assert (kernels.name, space.size()) == ("kernels", 8)
    for abc in kernels.choices:
        architecture = space.decode({"kernels": abc})
        assert architecture == member(f"mixnet_s_k{abc}")
        assert space.encode(architecture) == {"kernels": abc}


@pytest.mark.parametrize("name", ["standard", "se", "cond_per_conv", "cond_per_block"])
def test_the_variants_of_se_condconv_are_in_its_space(name: str) -> None:
    """Each is an assignment: what every row is made of."""
    space: SearchSpace = load("se_condconv")
    architecture = member(f"se_condconv_{name}")
    assert space.decode(space.encode(architecture)) == architecture


@needs_reference
def test_se_condconv_has_the_true_columns_of_the_table() -> None:
    """Row by row: macs, coefficients (convolution and linear weights), what SE and norms add."""
    rows = reference("se_condconv_table.json")["rows"]
    standard, excited = _per_row("standard", rows), _per_row("se", rows)
    for row, (macs, params), (se_macs, se_params) in zip(rows, standard, excited, strict=True):
        assert macs == row["mac"]
        assert params - row["bn_params"] - row["bias"] == row["coefs"]
        assert se_macs - macs == row["se_macs"]
        assert se_params - params == row["se_weights"] + row["se_biases"]


@needs_reference
def test_the_printed_coefficients_of_se_condconv_are_shifted() -> None:
    """A stray 7,008 stands in row 4, and the true rows 4 to 12 in rows 5 to 13.

    The classifier's own are left out, and its macs are printed as 0.
    """
    rows = reference("se_condconv_table.json")["rows"]
    true = [row["coefs"] for row in rows]
    printed = [row["paper_coefs"] for row in rows]
    assert printed == [*true[:3], 7_008, *true[3:-1]]
    assert sum(printed) - 7_008 == sum(true[:-1]) == 1_874_512
    assert [row["row"] for row in rows if row["paper_mac"] != row["mac"]] == [13]


def _per_row(variant: str, rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return macs and parameters of each of the table's rows."""
    costs = iter(network.block_costs(member(f"se_condconv_{variant}")))
    found = []
    for row in rows:
        repeats = [next(costs)[-1] for _ in range(row["repeat"])]
        found.append((sum(c.macs for c in repeats), sum(c.params for c in repeats)))
    return found


def test_a_condconv_gives_each_image_its_own_kernel() -> None:
    """A batch in one grouped convolution is what the images give one by one."""
    torch.manual_seed(0)
    conv = CondConv2d(4, 6, 3, stride=2, groups=2, experts=3)
    images, routing = torch.randn(5, 4, 7, 7), torch.rand(5, 3)
    alone = [conv(images[n : n + 1], routing[n : n + 1]) for n in range(5)]
    assert torch.allclose(conv(images, routing), torch.cat(alone), atol=1e-6)


def test_an_expert_alone_is_a_convolution() -> None:
    """Routed to one expert, a CondConv is nn.Conv2d with that expert's kernel."""
    torch.manual_seed(0)
    conv = CondConv2d(4, 6, 3, experts=2)
    image, kernel = torch.randn(1, 4, 7, 7), conv.weight[1].view(conv.shape)
    routed = conv(image, torch.tensor([[0.0, 1.0]]))
    assert torch.allclose(routed, torch.conv2d(image, kernel, padding=1), atol=1e-6)


def test_experts_begin_as_convolutions_do() -> None:
    """Uniform within 1 / sqrt(fan-in) of one expert, not of all together."""
    conv = CondConv2d(16, 32, 3, experts=4)
    assert conv.weight.shape == (4, prod(conv.shape))
    assert 0.9 < conv.weight.abs().max().item() * (16 * 9) ** 0.5 <= 1


@pytest.mark.parametrize("expansion", [1, 1.0])
def test_a_fused_block_without_expansion_is_one_convolution(expansion: float) -> None:
    """Unless a projection is asked for, which changes nothing where there is an expansion."""
    fused = (("expansion", expansion), ("kernels", "5"), ("se_ratio", 0.25))
    kept = (("kernels", "5"), ("se_ratio", 0.25))
    row = blocks.canonical_row(Row("fused_mbconv", 8, 1, fused), 8)
    assert row == Row("residual_conv", 8, 1, kept)
    projected = blocks.canonical_row(Row("fused_mbconv", 8, 1, (*fused, ("project", True))), 8)
    assert projected == Row(
        "fused_mbconv", 8, 1, (("expansion", 1), *kept[:1], ("project", True), *kept[1:])
    )
    assert blocks.canonical_row(Row("fused_mbconv", 8, 1, (("project", True),)), 8).options == ()


def test_a_condconv_block_without_expansion_keeps_its_expanding_convolution() -> None:
    """It mixes experts, so that it is not the identity a plain 1x1 could be folded into."""
    row = Row("condconv", 8, 1, (("expansion", 1),))
    assert blocks.canonical_row(row, 8) == row
