"""ResNet, ResNeXt, ResNeSt, ConvNeXt, and the way between: counted numbers, and timm as referee."""

import re

import pytest
import referee
import timm_referee
import torch
from torch import nn

from nas import blocks, network
from nas.architecture import Architecture, Row, Value
from nas.errors import SpaceError
from nas.search_space import load

COUNTED = [
    ("resnet18", 11_689_512, 1_814_073_344),
    ("resnet50", 25_557_032, 4_089_184_256),
    ("resnext50_32x4d", 25_028_904, 4_230_479_872),
    ("resnext101_32x8d", 88_791_336, 16_414_015_488),
    ("resnest14d", 10_611_688, 2_749_405_184),
    ("resnest26d", 17_069_448, 3_623_391_232),
    ("resnest50d", 27_483_240, 5_371_160_576),
    ("convnext_tiny", 28_589_128, 4_455_531_264),
    ("convnext_small", 50_223_688, 8_683_712_256),
]
# From ResNet-50 to ConvNeXt-T: what each step sets, and the parameters and macs it leads to.
STEPS: list[tuple[dict[str, Value], int, int]] = [
    ({}, 25_557_032, 4_089_184_256),
    ({"stage_ratio": "3.3.9.3"}, 28_628_520, 4_525_916_160),
    ({"stem.block": "patchify"}, 28_622_184, 4_417_536_000),
    ({"block": "depthwise", "kernels": "3"}, 15_722_664, 2_349_507_072),
    ({"width": 96}, 33_761_032, 5_267_976_960),
    ({"block": "inverted"}, 25_851_496, 4_644_406_272),
    ({"block": "convnext"}, 25_625_512, 4_065_080_448),
    ({"kernels": "7"}, 25_863_592, 4_145_612_928),
    ({"activation": "gelu"}, 25_863_592, 4_145_612_928),
    ({"activations": "one"}, 25_863_592, 4_145_612_928),
    ({"norms": "one"}, 25_830_472, 4_145_612_928),
    ({"norm": "layer"}, 25_838_056, 4_145_612_928),
    ({"downsample": "separate"}, 28_582_504, 4_455_531_264),
    ({"layer_scale": True}, 28_589_128, 4_455_531_264),
]


def member(name: str) -> Architecture:
    return load(name).decode({})


@pytest.mark.parametrize(("name", "params", "macs"), COUNTED)
def test_members_have_their_counted_numbers(name: str, params: int, macs: int) -> None:
    """Parameters and macs to the last one, at 224 px and 1000 classes."""
    architecture = member(name)
    assert (architecture.resolution, architecture.classes) == (224, 1000)
    cost = network.cost(architecture)
    assert (cost.params, cost.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, 75) for name, _, _ in COUNTED] + [("resnet18", 96), ("resnest14d", 90)],
)
def test_members_count_what_fvcore_counts_on_timm(name: str, size: int) -> None:
    """Parameters, macs and activations of timm's own modules, where strides leave a remainder."""
    theirs = timm_referee.build(name)
    cost = network.cost(member(name).at(resolution=size))
    assert cost.params == sum(parameter.numel() for parameter in theirs.parameters())
    assert (cost.macs, cost.activations) == referee.macs_and_activations(theirs, 3, size)


def test_convnext_drops_the_remainder_at_a_published_size() -> None:
    """240 px end in 7 x 7 places, as in timm, not in 8 x 8."""
    architecture = member("convnext_tiny").at(resolution=240)
    macs, _ = referee.macs_and_activations(timm_referee.build("convnext_tiny"), 3, 240)
    assert network.cost(architecture).macs == macs
    *_, (_, _, last) = network.walk(architecture)
    assert last == 7


@pytest.mark.parametrize(("name", "size"), [("resnet50", 64), ("resnest14d", 75)])
def test_resnets_compute_what_timm_computes(name: str, size: int) -> None:
    """With timm's weights copied, logits agree within 1e-4, at an odd size too."""
    assert timm_referee.difference(name, size=size) <= 1e-4


def test_convnext_computes_what_timm_computes() -> None:
    """With timm's weights copied name by name, and a layer scale that is not near zero."""
    images = torch.randn(2, 3, 75, 75, generator=torch.Generator().manual_seed(1))
    theirs = timm_referee.calibrated("convnext_tiny", images)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith("gamma"):
                nn.init.uniform_(parameter, 0.5, 1.5)
    ours = network.build(member("convnext_tiny")).eval()
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    state = {_renamed(name): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in state.items()})
    with torch.no_grad():
        expected, actual = theirs(images), ours(images)
    apart = (expected[0] - expected[1]).abs().max()
    assert (actual - expected).abs().max() <= 1e-4 * apart


def _renamed(name: str) -> str:
    """Return our name for one of timm's ConvNeXt's tensors."""
    name = re.sub(r"^stages\.(\d)\.blocks\.", lambda m: f"stage{int(m[1]) + 1}.", name)
    name = re.sub(r"^stages\.(\d)\.", lambda m: f"stage{int(m[1]) + 1}.0.", name)
    for theirs, ours in (
        ("stem.0.", "stem.0.conv."), ("stem.1.", "stem.0.norm."), ("head.norm.", "head.0.norm."),
        ("head.fc.", "head.0.linear."), ("downsample.0.", "downsample.norm."),
        ("downsample.1.", "downsample.conv."), ("conv_dw.", "depthwise."), ("mlp.fc1.", "expand."),
        ("mlp.fc2.", "project."), ("gamma", "scale.weight"),
    ):  # fmt: skip
        if theirs in name:
            return name.replace(theirs, ours)
    return re.sub(r"\.norm\.(?=\w+$)", ".norm1.", name)


def test_the_way_from_resnet_to_convnext_has_both_ends() -> None:
    """ResNet-50 and ConvNeXt-T at 224 px are assignments of one space."""
    space = load("convnext_resnet")
    for name in ("resnet50", "convnext_tiny"):
        values = space.encode(member(name))
        assert values["resolution"] == 224
        assert space.decode(values) == member(name)


def test_every_step_of_the_way_is_a_choice() -> None:
    """One choice after the other turns ResNet-50 into ConvNeXt-T; each step is another network."""
    space = load("convnext_resnet")
    values = space.encode(member("resnet50"))
    ids = []
    for changed, params, macs in STEPS:
        values = space.complete({**values, **changed})
        architecture = space.decode(values)
        cost = network.cost(architecture)
        assert (cost.params, cost.macs) == (params, macs)
        ids.append(architecture.id)
    assert len(set(ids)) == len(STEPS)
    assert ids[-1] == member("convnext_tiny").id


def test_a_separate_downsampling_rounds_down_and_a_shortcut_up() -> None:
    """75 px become 37 or 38; an image smaller than its patch becomes one place."""
    separate, shortcut = Row("convnext", 8, 2), Row("convnext", 8, 2, (("downsample", "shortcut"),))
    assert [blocks.out_size(row, 75) for row in (separate, shortcut)] == [37, 38]
    assert [blocks.out_size(row, 1) for row in (separate, shortcut)] == [1, 1]
    assert [blocks.out_size(Row("patchify", 8, 4), size) for size in (3, 4, 7, 8)] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 1), ("convnext_tiny", 1), ("convnext_tiny", 3)]
)
def test_members_take_images_of_any_size(name: str, size: int) -> None:
    """Down to a single pixel: what is missing of a patch is zero."""
    built = network.build(member(name).at(resolution=size)).eval()
    with torch.no_grad():
        assert built(torch.randn(2, 3, size, size)).shape == (2, 1000)


def test_a_stem_has_stride_4_2_or_1() -> None:
    """Convolution and pool have 2 each, at stride 2 there is no pool; 3 is not made of them."""
    sizes = [blocks.out_size(Row("resnet_stem", 8, stride), 32) for stride in (1, 2, 4)]
    assert sizes == [32, 16, 8]
    with pytest.raises(SpaceError, match="stride is 1, 2 or 4, not 3"):
        blocks.canonical_row(Row("resnet_stem", 8, 3), 3)


def test_a_stem_of_one_convolution_is_a_convolution() -> None:
    """Without its pool the 7x7 stem has no name of its own; the deep one keeps it."""
    assert blocks.canonical_row(Row("resnet_stem", 64, 2), 3) == Row(
        "conv", 64, 2, (("kernels", "7"),)
    )
    deep = Row("resnet_stem", 64, 2, (("deep", True),))
    assert blocks.canonical_row(deep, 3) == deep


def test_as_many_groups_as_channels_are_depthwise() -> None:
    """64 channels inside: 64 groups are written 0; at one channel inside there is one group."""
    rows = [Row("bottleneck", 256, 1, (("groups", groups),)) for groups in (0, 64)]
    assert {blocks.canonical_row(row, 256).options for row in rows} == {(("groups", 0),)}
    narrow = Row("bottleneck", 4, 1, (("groups", 0),))
    assert blocks.canonical_row(narrow, 4) == Row("bottleneck", 4)


def test_how_an_image_gets_smaller_has_no_effect_where_it_does_not() -> None:
    """At stride 1 and the same width the option is dropped, in every block that has it."""
    for block, value in (
        ("basic", "pool_shortcut"), ("bottleneck", "pool"), ("resnest_bottleneck", "conv"),
        ("convnext", "shortcut"),
    ):  # fmt: skip
        row = Row(block, 32, 1, (("downsample", value),))
        assert blocks.canonical_row(row, 32) == Row(block, 32)
        strided = Row(block, 32, 2, (("downsample", value),))
        assert blocks.canonical_row(strided, 32) == strided


@pytest.mark.parametrize("block", ["convnext", "patchify"])
def test_a_layer_norm_needs_two_channels(block: str) -> None:
    """Over one channel it is constant; a batch norm is not."""
    with pytest.raises(SpaceError, match="at least 2 channels, not 1"):
        blocks.canonical_row(Row(block, 1), 1)
    blocks.canonical_row(Row(block, 1, 1, (("norm", "batch"),)), 1)


def test_groups_that_do_not_divide_are_refused() -> None:
    """The message has the rule and both widths."""
    with pytest.raises(SpaceError, match=r"bottleneck\.groups divides the channels, 64 in and 64"):
        blocks.canonical_row(Row("bottleneck", 256, 1, (("groups", 3),)), 256)
