"""The supernet of the benchmarks: networks share weights, and each is what it would be alone."""

import json
import random
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import ROOT

from benchmarks import supernet
from benchmarks.shared_weights import Child, Course, Slice, Supernet
from nas import search_space
from nas.data import DataSet
from nas.data.dataset import content_hash, in_memory
from nas.network import build
from nas.training.recipes import compose
from tests.space_strategies import assignments


def bright_and_dark(images: int = 128) -> DataSet:
    """Return grey images of two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 2
    pixels = rng.integers(0, 128, (images, 16, 16, 1)) + 100 * labels[:, None, None, None]
    images_of = pixels.astype(np.uint8), labels
    split = in_memory(*images_of)
    splits = {"train": split, "validation": split}
    hashed = content_hash(images_of)
    return DataSet("bright", hashed, ("dark", "bright"), 1, 16, frozenset(), splits)


def test_a_slice_is_the_first_channels_and_the_middle_of_kernels() -> None:
    """Rows from a row on, columns from the first, of a 5 x 5 kernel the 3 x 3 in its middle."""
    shared = torch.arange(6 * 4 * 5 * 5).view(6, 4, 5, 5)
    part = Slice("conv", 2, (3, 2, 3, 3))
    assert part.end == (5, 2, 3, 3)
    assert torch.equal(part.of(shared), shared[2:5, :2, 1:4, 1:4])
    assert torch.equal(Slice("bias", 0, (2,)).of(torch.arange(3)), torch.arange(2))


def test_kernel_groups_share_with_a_plain_depthwise_convolution() -> None:
    """A channel of MixConv has the middle of its row, whatever group it is in."""
    mixed, plain = network_of("3.5"), network_of("7")
    net = Supernet([mixed, plain])
    name = next(name for name in plain.slices if name.endswith("depthwise.weight"))
    whole = net.weights(plain)[name]
    parts = [net.weights(mixed)[name.replace("weight", f"convs.{i}.weight")] for i in (0, 1)]
    half = len(parts[0])
    assert torch.equal(parts[0], whole[:half, :, 2:5, 2:5])
    assert torch.equal(parts[1], whole[half:, :, 1:6, 1:6])


def network_of(kernels: str) -> Child:
    """Return a tiny network with these kernels, for grey images of 16 px and two classes."""
    block, stage = search_space.block, search_space.stage
    space = search_space.SearchSpace(
        name="one", resolution=16, stem=stage(block("conv"), width=8),
        stages=[stage(block("mbconv", kernels=kernels, expansion=2), width=8)],
    )  # fmt: skip
    return Child(space.decode({}, in_channels=1, classes=2))


@settings(max_examples=10, deadline=None)
@given(assignments(), st.integers(0, 2**16))
def test_a_network_computes_what_it_would_with_its_weights_alone(drawn: Any, seed: int) -> None:
    """In any space: the shared weights of a network, put into its own module, answer alike."""
    space, values = drawn
    rng = random.Random(seed)
    found = [values, *(space.draw(rng) for _ in range(3))]
    children = [Child(space.decode(each)) for each in found]
    torch.manual_seed(seed)
    net, x = Supernet(children), {}
    for child in children:
        size = child.resolution
        x.setdefault(size, torch.randn(3, space.in_channels, size, size))
        module = build(child.architecture).train()
        child.skeleton.train()
        for each in (module, child.skeleton):
            for part in each.modules():
                if isinstance(part, torch.nn.Dropout):
                    part.eval()
        module.load_state_dict(net.weights(child), strict=False)
        torch.manual_seed(seed)
        alone = module(x[size])
        torch.manual_seed(seed)
        assert torch.allclose(net(child, x[size]), alone, atol=1e-5)


def test_all_networks_learn_by_the_shared_weights() -> None:
    """After 40 updates each of four networks tells bright from dark images, by shared weights.

    The scores and the weights follow from the seed, and no generator of random numbers is touched.
    """
    data = bright_and_dark()
    children = [network_of(kernels) for kernels in ("3", "7", "3.5", "3.5.7")]
    course = Course(children, data, compose(data, given={"epochs": 2}))
    before = torch.random.get_rng_state()
    net = course.train(40)
    assert torch.equal(before, torch.random.get_rng_state())
    scores = [course.score(net, child)["accuracy"] for child in children]
    assert min(scores) > 0.9
    assert [course.score(net, child)["accuracy"] for child in children] == scores
    pairs = zip(course.train(3).parameters(), course.train(3).parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_the_page_has_the_table_of_the_results() -> None:
    """It follows from the committed numbers, to the last digit."""
    kept = json.loads((ROOT / "benchmarks/results/supernet.json").read_text())
    assert supernet.table(kept) in (ROOT / "docs/how-it-works/engine.md").read_text()
