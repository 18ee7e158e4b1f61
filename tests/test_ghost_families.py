"""GhostNet, split attention and ME-NeSt-Ghost: published counts, timm's functions, their rules."""

import json
from collections import Counter
from pathlib import Path

import pytest
import referee
import timm_referee
import torch
from torch import nn

from nas import blocks, network
from nas.architecture import Row, Value
from nas.blocks.classes import loaded
from nas.blocks.dense_mixconv import MIXCONVS, mix_conv
from nas.blocks.modules.split_attention import SplitAttention
from nas.blocks.modules.widening_mixconv import WideningMixConv2d
from nas.blocks.split_attention import read_attention, split_attention
from nas.cost import Tape
from nas.errors import SpaceError
from nas.export import Facts
from nas.export.python import source
from nas.search_space import load

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "me_nest_ghost.json"

# Parameters with 100 classes, macs at 256 px: of the report's preset, of the depthwise one.
ME_NEST_GHOST = {
    "s": (21_835_204, 4_321_632_000, 15_234_532, 3_354_320_640),
    "m": (50_633_948, 7_446_844_416, 37_913_780, 5_750_648_832),
    "l": (102_864_108, 15_579_215_872, 80_455_476, 12_641_007_616),
    "xl": (172_566_116, 21_547_371_520, 138_355_388, 17_257_950_208),
}


def placed(
    block: str, channels: int = 24, width: int = 24, stride: int = 1, **options: Value
) -> Row:
    """Return a block's canonical row."""
    return blocks.canonical_row(Row(block, width, stride, tuple(sorted(options.items()))), channels)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("ghostnet_050", 2_587_292, 42_328_152),
        ("ghostnet_100", 5_182_508, 141_150_512),
        ("ghostnet_130", 7_358_820, 227_003_256),
    ],
)
def test_ghostnets_have_their_published_cost(name: str, params: int, macs: int) -> None:
    """At 224 px and 1000 classes, as timm's networks have it."""
    architecture = load(name).decode({})
    assert (architecture.resolution, architecture.classes) == (224, 1000)
    cost = network.cost(architecture)
    assert (cost.params, cost.macs) == (params, macs)


@pytest.mark.parametrize("name", ["ghostnet_050", "ghostnet_100", "ghostnet_130"])
def test_ghostnets_cost_what_timms_cost(name: str) -> None:
    """Parameters on the meta device, macs and activations of timm's network at 40 px."""
    cost = network.cost(load(name).decode({}).at(resolution=40))
    assert cost.params == timm_referee.params(name)
    expected = referee.macs_and_activations(timm_referee.build(name), 3, 40)
    assert (cost.macs, cost.activations) == expected


def test_ghostnet_computes_what_timms_computes() -> None:
    """With timm's weights, norms random, the logits of 1.0 agree."""
    assert timm_referee.difference("ghostnet_100") < 1e-4


@pytest.mark.parametrize("size", ME_NEST_GHOST)
@pytest.mark.parametrize("preset", ["", "_depthwise"])
def test_me_nest_ghost_has_its_counted_cost(size: str, preset: str) -> None:
    """For 100 classes at 128 px, and for its training size of 256 px; built, as many parameters."""
    architecture = load(f"me_nest_ghost_{size}{preset}").decode({})
    assert (architecture.resolution, architecture.classes) == (128, 100)
    cost = network.cost(architecture.at(resolution=256))
    expected = ME_NEST_GHOST[size][2:] if preset else ME_NEST_GHOST[size][:2]
    assert (cost.params, cost.macs) == expected
    assert referee.meta_params(architecture) == cost.params


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference numbers are not in this checkout")
def test_me_nest_ghost_agrees_with_the_reference() -> None:
    """Its numbers are those of the reference, macs to the decimals given there."""
    facts = json.loads(REFERENCE.read_text())
    for size, (params, macs, depthwise_params, depthwise_macs) in ME_NEST_GHOST.items():
        report = facts["preset_report_counts"][size.upper()]
        assert (params, round(macs / 1e9, 3)) == (report["params"], report["gmacs_256"])
        assert depthwise_params == facts["preset_depthwise_params"][size.upper()]
        expected = facts["preset_depthwise_gmacs_256"][size.upper()]
        assert round(depthwise_macs / 1e9, 2) == expected


def test_me_nest_ghost_s_consists_of_the_counted_parts() -> None:
    """Its parameters by part, norms with the convolution before them, as they were counted."""
    with torch.device("meta"):
        built = network.build(load("me_nest_ghost_s").decode({}))
    found: Counter[str] = Counter()
    for name, parameter in built.named_parameters():
        part = name.split(".")[2]
        early = name.startswith(("stage1.", "stage2.", "stage3."))
        if name.startswith(("stem", "head")):
            part = "stem, head, fc"
        elif part in ("norm", "mixconv") or (part == "expand" and early):
            part = "MixConv"
        elif part in ("expand", "project"):
            part = "Ghost"
        found[part] += parameter.numel()
    assert found == {
        "MixConv": 5_676_992,
        "attention": 1_004_400,
        "skip": 73_856,
        "Ghost": 10_737_536,
        "se": 3_700_088,
        "stem, head, fc": 642_332,
    }


@pytest.mark.parametrize("name", ["me_nest_ghost_s", "me_nest_ghost_s_depthwise"])
def test_the_space_holds_both_small_networks(name: str) -> None:
    """A search of me_nest_ghost may propose S, in either preset."""
    space, architecture = load("me_nest_ghost"), load(name).decode({})
    assert space.decode(space.encode(architecture), classes=100) == architecture


@pytest.mark.parametrize(
    ("preset", "unused"), [("", "WideningMixConv2d"), ("_depthwise", "DenseMixConv2d")]
)
def test_an_emitted_file_has_the_mixconv_it_uses(preset: str, unused: str) -> None:
    """The other one is not dragged in."""
    assert unused not in source(load(f"me_nest_ghost_s{preset}").decode({}), Facts())


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "kernel", "stride", "cardinality", "radix"),
    [(16, 32, 3, 2, 1, 2), (16, 32, 3, 1, 4, 2), (24, 24, 5, 1, 1, 1), (24, 48, 3, 2, 2, 4)],
)
def test_split_attention_is_timms(
    in_channels: int, out_channels: int, kernel: int, stride: int, cardinality: int, radix: int
) -> None:
    """With timm's weights, in the same order, it gives timm's output."""
    split_attn = timm_referee.timm().layers.SplitAttn
    torch.manual_seed(0)
    theirs = split_attn(
        in_channels, out_channels, kernel, stride, groups=cardinality, radix=radix,
        norm_layer=nn.BatchNorm2d,
    )  # fmt: skip
    splits = {"cardinality": cardinality, "radix": radix}
    attention = read_attention(splits, in_channels, out_channels, kernel)
    ours = SplitAttention(in_channels, out_channels, loaded(attention), stride)
    images = torch.randn(4, in_channels, 9, 9)
    theirs(images)  # gives the norms a mean and a deviation
    names = {"conv": "conv", "bn0": "norm1", "fc1": "reduce", "bn1": "norm2", "fc2": "expand"}
    for given, own in names.items():
        getattr(ours, own).load_state_dict(getattr(theirs, given).state_dict())
    with torch.no_grad():
        expected, actual = theirs.eval()(images), ours.eval()(images)
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("cardinality", "radix", "stride"), [(1, 2, 1), (2, 2, 2), (1, 1, 1), (4, 3, 2)]
)
def test_split_attention_counts_what_the_referees_count(
    cardinality: int, radix: int, stride: int
) -> None:
    """Other blocks count it by its helper: parameters, macs, activations and memory."""
    attention = read_attention({"cardinality": cardinality, "radix": radix}, 24, 48, 3)
    built = SplitAttention(24, 48, loaded(attention), stride)
    tape = Tape(24, 7)
    split_attention(tape, 48, attention, stride=stride)
    cost = tape.cost()
    assert cost.params == sum(parameter.numel() for parameter in built.parameters())
    assert (cost.macs, cost.activations) == referee.macs_and_activations(built, 24, 7)
    assert cost.peak_activation_bytes == referee.peak_activation_bytes(built, 24, 7)


@pytest.mark.parametrize(
    ("mixconv", "weights", "reads"), [("dense", 164, 24), ("depthwise", 41, 6)]
)
def test_a_dense_mixconv_is_not_the_depthwise_one(mixconv: str, weights: int, reads: int) -> None:
    """With kernels 3, 5, 7, 9: weights per channel, and the input channels a branch reads."""
    tape, groups, kernels = Tape(24, 9), (6, 6, 6, 6), (3, 5, 7, 9)
    mix_conv(tape, MIXCONVS[mixconv], groups, kernels)
    built = MIXCONVS[mixconv].load()(24, groups, kernels)
    assert tape.params == sum(parameter.numel() for parameter in built.parameters())
    assert tape.params == weights * 24
    image = torch.ones(1, 24, 9, 9, requires_grad=True)
    built(image)[:, :6].sum().backward()
    assert image.grad is not None
    assert int(image.grad.abs().sum((0, 2, 3)).count_nonzero()) == reads


def test_a_depthwise_mixconv_widens_group_by_group() -> None:
    """16 channels to 32 in groups of 10 and 6: each channel gives two, 9 or 25 weights each."""
    built = WideningMixConv2d(16, (20, 12), (3, 5))
    assert [conv.weight.shape for conv in built.convs] == [(20, 1, 3, 3), (12, 1, 5, 5)]
    assert built(torch.zeros(1, 16, 7, 7)).shape == (1, 32, 7, 7)


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        ("ghost", {"ratio": 5}, "A ghost ratio divides the module's 48 channels; 5 does not"),
        ("ghost", {"ratio": 1}, "ghost.ratio is a whole number from 2 to 64, not 1"),
        ("mixconv_se_ghost", {"ratio": 7}, "ratio divides the module's 144 channels; 7 does not"),
        ("mixconv_se_ghost", {"shuffle_groups": 5}, "shuffle_groups divides the channels"),
        ("mixconv_split_attention", {"expansion": 1.5}, "widens 24 channels by a whole number"),
        ("mixconv_split_attention", {"radix": 5}, "radix x cardinality divides the channels"),
        ("mixconv_split_attention", {"mixconv": "wide"}, "one of depthwise, dense, not 'wide'"),
    ],
)
def test_what_does_not_divide_is_refused(
    block: str, options: dict[str, Value], message: str
) -> None:
    """At 24 channels; the message states the rule and the value."""
    with pytest.raises(SpaceError, match=message):
        placed(block, **options)


@pytest.mark.parametrize("block", ["mixconv_split_attention", "mixconv_se_ghost"])
def test_a_dense_mixconv_of_one_kernel_is_depthwise(block: str) -> None:
    """Channels in, channels out: gcd groups of one channel each; with two kernels it is another."""
    assert placed(block, mixconv="dense", kernels="5") == placed(block, kernels="5")
    assert placed(block, mixconv="dense", kernels="3.5") != placed(block, kernels="3.5")


@pytest.mark.parametrize("block", ["mixconv_split_attention", "mixconv_se_ghost"])
def test_a_shuffle_of_single_channels_is_none(block: str) -> None:
    """As many groups as channels leave every channel where it is."""
    assert placed(block, shuffle_groups=24) == placed(block)
    assert placed(block, shuffle_groups=12) != placed(block)


def test_a_ghost_bottleneck_without_stride_and_projection_has_no_kernel() -> None:
    """Its k x k convolutions exist where it halves the image or changes the width."""
    assert placed("ghost", kernels="5") == placed("ghost")
    assert placed("ghost", kernels="5", stride=2) != placed("ghost", stride=2)
    assert placed("ghost", 48, kernels="5") != placed("ghost", 48)
