"""Transfer: weights move between architectures, so far as they fit, and never fail to."""

import random
from dataclasses import replace

import pytest
import referee
import torch
from torch import Tensor, nn

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.search_space import SearchSpace, block, choice, load, spaces, stage
from nas.training import channels
from nas.training.sources import Source
from nas.training.transfer import Taken, transfer

PAIRS = 200
SIZE = 16
KERNELS = choice("3", "5", "3.5.7", "3.3")
SPACE = SearchSpace(
    name="pairs",
    resolution=SIZE,
    stem=stage(block("conv", kernels=choice("3", "5")), width=choice(8, 12), stride=2),
    stages=[
        stage(
            choice(
                block("mbconv", kernels=KERNELS, expansion=choice(2, 3.5), se_ratio=choice(0, 0.5)),
                block("ghost", cheap_kernels=choice("3", "3.5"), ratio=choice(2, 4)),
                block("condconv", experts=choice(2, 3)),
            ),
            width=choice(8, 16),
            depth=choice(1, 2, 3),
            stride=choice(1, 2),
        ),
        stage(
            choice(
                block("mbconv", expand_groups=choice(1, 2, 4), skip=choice("identity", "none")),
                block("resnest_bottleneck", radix=choice(1, 2)),
                block("mixconv_se_ghost", mixconv=choice("depthwise", "dense")),
                block("convnext", kernels=choice("3", "7")),
            ),
            width=choice(16, 24),
            depth=choice(1, 2),
            stride=2,
        ),
    ],
    head=[stage(block("conv", kernels="1"), width=choice(32, 48))],
)


def source(architecture: Architecture, seed: int = 0) -> Source:
    """Return a network with random weights and statistics that have an effect."""
    return Source("parent", architecture, referee.calibrated(architecture, seed).state_dict())


def moved(architecture: Architecture, parent: Source) -> tuple[nn.Module, Taken]:
    """Return a new network that took the parent's weights, and how much it took."""
    torch.manual_seed(1)
    module = network.build(architecture)
    return module.eval(), transfer(module, architecture, parent)


def images(architecture: Architecture) -> Tensor:
    """Return a few random images for a network."""
    size = architecture.resolution
    shape = (2, architecture.in_channels, size, size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def outputs(module: nn.Module, x: Tensor) -> Tensor:
    """Return a network's outputs without gradients."""
    with torch.no_grad():
        return module(x)


def body(*rows: Row, in_channels: int = 1, classes: int = 10) -> Architecture:
    """Return a small network with these rows between its stem and its classifier."""
    head = (Row("conv", 32, 1, (("kernels", "1"),)), Row("classifier", classes))
    stem = (Row("conv", 8, 2),)
    return blocks.canonical(Architecture(in_channels, SIZE, classes, stem, rows, head))


def mbconv(width: int, stride: int = 1, **options: object) -> Row:
    """Return an MBConv with a squeeze."""
    return Row("mbconv", width, stride, tuple(sorted({"se_ratio": 0.5, **options}.items())))


def test_200_random_pairs_of_a_space() -> None:
    """Weights move between any two; to an equal network all of them, bit for bit."""
    draw = random.Random(0)
    for _ in range(PAIRS):
        pair = [SPACE.decode(SPACE.sample(draw), in_channels=1, classes=7) for _ in range(2)]
        parent = Source("parent", pair[0], network.build(pair[0]).state_dict())
        _, taken = moved(pair[1], parent)
        assert 0 < taken.params <= taken.of
        same, taken = moved(pair[0], parent)
        assert taken.params == taken.of
        state = same.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in parent.state.items())


@pytest.mark.parametrize("name", sorted(spaces()))
def test_pairs_of_a_shipped_space(name: str) -> None:
    """Every block can be traced; an equal network computes the same, bit for bit."""
    space, draw = load(name), random.Random(name)
    pair = [space.decode(space.sample(draw)).at(resolution=SIZE, classes=7) for _ in range(2)]
    state = network.build(pair[1]).state_dict()
    axes = channels.channels_of(pair[1]).axes
    assert axes.keys() == {key for key, tensor in state.items() if tensor.ndim}
    _, taken = moved(pair[0], Source("parent", pair[1], state))
    assert 0 < taken.params <= taken.of
    parent = source(pair[1])
    same, _ = moved(pair[1], parent)
    assert torch.equal(outputs(same, images(pair[1])), outputs(parent.build(), images(pair[1])))


PARENT = body(mbconv(12, 2, expansion=2), mbconv(12, expansion=2), mbconv(16, 2, expansion=3))
LARGER = {
    "kernels": body(
        mbconv(12, 2, expansion=2, kernels="5"), mbconv(12, expansion=2), mbconv(16, 2, expansion=3)
    ),
    "hidden channels": body(
        mbconv(12, 2, expansion=4, se_ratio=0.75), mbconv(12, expansion=3),
        mbconv(16, 2, expansion=3),
    ),
    "channels": body(
        mbconv(20, 2, expansion=2), mbconv(20, expansion=3), mbconv(24, 2, expansion=3)
    ),
    "blocks": body(
        mbconv(12, 2, expansion=2), mbconv(12, expansion=2), mbconv(12, expansion=6),
        mbconv(16, 2, expansion=3), mbconv(16, expansion=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("more", LARGER)
def test_a_larger_network_computes_what_the_smaller_one_did(more: str) -> None:
    """New channels are read with zeros, larger kernels have zeros around, new blocks do nothing."""
    parent = source(PARENT)
    child, taken = moved(LARGER[more], parent)
    x = images(PARENT)
    assert torch.allclose(outputs(child, x), outputs(parent.build(), x), atol=1e-5)
    assert taken.params < taken.of


def test_a_smaller_network_keeps_the_important_channels() -> None:
    """Channels that nothing reads are those that a narrower network does without."""
    wide, narrow = (body(mbconv(12, 2, expansion=each, se_ratio=0.0)) for each in (4, 2))
    parent = source(wide)
    weight = parent.state["stage1.0.project.weight"]
    weight[:, torch.randperm(32, generator=torch.Generator().manual_seed(0))[:16]] = 0
    child, taken = moved(narrow, parent)
    x = images(wide)
    assert torch.allclose(outputs(child, x), outputs(parent.build(), x), atol=1e-5)
    assert taken.params == taken.of


def test_kernel_groups_find_their_own_kernels() -> None:
    """A channel of kernels "3.5" goes to one with the same kernel size where there is one."""
    one, other = (body(mbconv(12, 2, kernels=each)) for each in ("3.5", "3.5.7"))
    parent = source(one)
    for name, value in (("0", 3.0), ("1", 5.0)):
        parent.state[f"stage1.0.depthwise.convs.{name}.weight"].fill_(value)
    child, _ = moved(other, parent)
    weights = child.state_dict()
    for name, value in (("0", 3.0), ("1", 5.0)):
        assert (weights[f"stage1.0.depthwise.convs.{name}.weight"] == value).all()
    assert {0.0, 3.0, 5.0} >= set(weights["stage1.0.depthwise.convs.2.weight"].unique().tolist())


def test_images_of_other_channels() -> None:
    """The first convolution is summed for gray images, and repeated for more channels."""
    parent = source(body(mbconv(12, 2), in_channels=3))
    x = images(parent.architecture)
    for count in (1, 6):
        child, taken = moved(parent.architecture.at(in_channels=count), parent)
        seen = x[:, :1] if count == 1 else x.repeat(1, 2, 1, 1)
        meant = x[:, :1].repeat(1, 3, 1, 1) if count == 1 else x
        assert taken.params == taken.of
        assert torch.allclose(outputs(child, seen), outputs(parent.build(), meant), atol=1e-5)


def test_other_classes_have_a_new_classifier() -> None:
    """All but the classifier is taken; the classifier is as it began."""
    parent = source(body(mbconv(12, 2), classes=10))
    architecture = parent.architecture.at(classes=3)
    child, taken = moved(architecture, parent)
    torch.manual_seed(1)
    fresh, state = network.build(architecture).state_dict(), child.state_dict()
    for name, tensor in state.items():
        begun = fresh if ".linear." in name else parent.state
        assert torch.equal(tensor, begun[name]), name
    assert taken.params == taken.of - 3 * 33


def test_a_block_that_cannot_be_traced_still_gives_equal_shapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A block whose forward does what labels can't stand is copied where shapes are equal."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        self.norm1(self.expand(x))
        raise ValueError("images only")

    parent = source(PARENT)
    with monkeypatch.context() as patch:
        patch.setattr("nas.blocks.modules.mbconv.MBConv.forward", forward)
        child, taken = moved(PARENT, parent)
        other, _ = moved(replace(PARENT, body=LARGER["channels"].body), parent)
    assert taken.params == taken.of
    assert torch.equal(outputs(child, images(PARENT)), outputs(parent.build(), images(PARENT)))
    assert outputs(other, images(PARENT)).isfinite().all()


def test_a_source_says_how_much_was_taken() -> None:
    """The share is of the parameters, in words."""
    assert str(Taken(50, 200)) == "25% of its 200 parameters"
