"""A supernet: networks share weights, each is what it would be alone, and a search learns of it."""

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import arguments, nas_here, result

from nas import search_space
from nas.data import DataSet
from nas.data.dataset import content_hash, in_memory
from nas.network import build
from nas.store import queries
from nas.store.store import Store
from nas.study import one_shot
from nas.training.recipes import compose
from nas.training.supernet import Child, Course, Slice, Supernet
from tests.space_strategies import assignments


def children_of(name: str, count: int, seed: int = 0, resolution: int = 16) -> list[Child]:
    """Return networks that are drawn from a shipped space at a size, for grey images."""
    space = search_space.load(name).at_resolution(resolution).fitting()
    rng = random.Random(seed)
    drawn = (space.decode(space.draw(rng), in_channels=1, classes=2) for _ in range(count))
    return [Child(architecture) for architecture in drawn]


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
    mixed, plain = (
        Child(space.decode({}, in_channels=1, classes=2)) for space in map(one_block, ("3.5", "7"))
    )
    net = Supernet([mixed, plain])
    name = next(name for name in plain.slices if name.endswith("depthwise.weight"))
    whole = net.weights(plain)[name]
    parts = [net.weights(mixed)[name.replace("weight", f"convs.{i}.weight")] for i in (0, 1)]
    half = len(parts[0])
    assert torch.equal(parts[0], whole[:half, :, 2:5, 2:5])
    assert torch.equal(parts[1], whole[half:, :, 1:6, 1:6])


def one_block(kernels: str) -> search_space.SearchSpace:
    """Return a space of a single network with these kernels."""
    block, stage = search_space.block, search_space.stage
    return search_space.SearchSpace(
        name="one", resolution=16, stem=stage(block("conv"), width=8),
        stages=[stage(block("mbconv", kernels=kernels, expansion=2), width=8)],
    )  # fmt: skip


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


def test_all_networks_learn_and_the_training_says_how_far_it_is() -> None:
    """After 40 updates each of eight networks tells bright from dark images, by its own weights."""
    data, children, told = bright_and_dark(), children_of("mixconv", 8), list[int]()
    course = Course(children, data, compose(data, given={"epochs": 2}))
    before = torch.random.get_rng_state()
    net = course.train(40, step=told.append)
    assert told == list(range(1, 41))
    assert torch.equal(before, torch.random.get_rng_state())
    scores = [course.score(net, child)["accuracy"] for child in children]
    assert min(scores) > 0.9
    assert [course.score(net, child)["accuracy"] for child in children] == scores
    again = course.train(40)
    pairs = zip(net.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def lessons_of(folder: Path) -> list[Any]:
    """Return the lessons of the tiny study as they are stored."""
    with closing(Store.open(f"sqlite:///{folder}/nas.db")) as store, store.read() as connection:
        return list(queries.study(connection, "tiny").config["lessons"])


def test_a_search_learns_from_its_own_supernet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lesson is made before the first trial, kept, and not made again by a resumed search."""
    monkeypatch.setattr(one_shot, "FEWEST", 4)
    words = arguments(tmp_path, trials=2, epochs=1, workers=0)
    ended = nas_here("search", *words, "--learn-from", "supernet", "--json")
    result(ended)
    assert "learning: from supernet, " in ended.stderr
    [lesson] = lessons_of(tmp_path)
    assert lesson["study"] == "supernet"
    assert all(0 <= metric <= 1 for metric in lesson["metrics"])
    assert len(lesson["metrics"]) == len(lesson["codes"]) >= 4
    monkeypatch.setattr(one_shot, "lesson", None)
    words[words.index("--trials") + 1] = "3"
    result(nas_here("search", *words, "--learn-from", "supernet", "--json"))
    assert lessons_of(tmp_path) == [lesson]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (("--learn-from", "supernet", "--time", "1s"), "a supernet may take 20% of the time limit"),
        (("--learn-from", "supernet", "--sampler", "tpe"), "--learn-from is for --sampler nas"),
        (("--learn-from", "none", "--study", "supernet"), "what --learn-from calls a supernet"),
    ],
)
def test_what_cannot_be_is_refused_before_a_study_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], rule: str
) -> None:
    """One sentence with the rule, exit code 2, and no store."""
    monkeypatch.setattr(one_shot, "FEWEST", 4)
    words = arguments(tmp_path, workers=0)
    if "--study" in given:
        at = words.index("--study")
        words = [*words[:at], *words[at + 2 :]]
    ended = nas_here("search", *words, *given)
    assert ended.returncode == 2
    assert rule in ended.stderr
    assert not (tmp_path / "nas.db").exists()
    assert not ended.stdout
