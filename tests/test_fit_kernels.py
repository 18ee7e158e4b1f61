"""Kernels of searched networks have no weights that never meet a pixel."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from nas import blocks, network, search_space
from nas.architecture import Architecture, Row
from nas.blocks import Place
from nas.blocks.modules.mixconv import MixConv2d
from nas.search_space import SearchSpace, block, choice, per_layer, stage
from nas.search_space.preflight import Subject, different_networks, survey

SMALL = 16  # pixels: the last maps of every shipped space have one pixel or a few


def draws(space: SearchSpace, count: int) -> Iterator[tuple[Architecture, Architecture]]:
    """Yield draws of a space as they are printed and as they are searched."""
    rng, fitting = random.Random(0), space.fitting()
    for _ in range(count):
        values = space.draw(rng)
        yield space.decode(values), fitting.decode(values)


def kernels(row: Row, channels: int) -> list[int]:
    """Return all kernel sizes of a row's options that have an effect."""
    block_ = blocks.get(row.block)
    values = block_.complete(dict(row.options))
    return [
        int(size)
        for name, option in block_.options.items()
        if option.fit
        and blocks.canonical_row(replace(row, options=((name, "9"),)), channels).options
        for size in values[name].split(".")
    ]


@pytest.mark.parametrize("name", sorted(search_space.spaces()))
def test_no_kernel_is_larger_than_its_map_needs(name: str) -> None:
    """On s x s no kernel is over 2 s - 1, in every space; what fitted before is what it was."""
    for printed, fitted in draws(search_space.load(name).at_resolution(SMALL), 20):
        for (row, channels, size), original in zip(network.walk(fitted), printed.rows, strict=True):
            most = 2 * size - 1
            assert max(kernels(row, channels), default=1) <= most
            if max(kernels(original, channels), default=1) <= most:
                assert row == original
        assert blocks.canonical(fitted) == fitted


@pytest.mark.parametrize("name", sorted(search_space.spaces()))
def test_costs_are_of_the_kernels_that_are_built(name: str) -> None:
    """A fitted network's parameters are counted as they are built, never more than printed."""
    for printed, fitted in draws(search_space.load(name).at_resolution(SMALL), 2):
        built = sum(weight.numel() for weight in network.build(fitted).parameters())
        assert network.cost(fitted).params == built <= network.cost(printed).params


def test_a_fitted_network_is_the_same_function() -> None:
    """With the weights that meet pixels a fitted MixConv network has the printed one's outputs."""
    cut = 0
    for printed, fitted in draws(search_space.load("mixconv").at_resolution(SMALL), 8):
        torch.manual_seed(0)
        theirs, ours = network.build(printed).eval(), network.build(fitted).eval()
        x = torch.randn(2, printed.in_channels, SMALL, SMALL)
        move(theirs, ours)
        with torch.inference_mode():
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
        cut += printed != fitted
    assert cut == 8


def move(printed: nn.Module, fitted: nn.Module) -> None:
    """Copy all weights; of depthwise kernels the centres, channel by channel."""
    theirs, ours = depthwise(printed), depthwise(fitted)
    rest = {
        name: value
        for name, value in printed.state_dict().items()
        if not name.startswith(tuple(f"{path}." for path in theirs))
    }
    assert not fitted.load_state_dict(rest, strict=False).unexpected_keys
    with torch.no_grad():
        for (_, large), (_, small) in zip(theirs.items(), ours.items(), strict=True):
            channels = [kernel for conv in convs(large) for kernel in conv.weight]
            for conv in convs(small):
                size = conv.weight.shape[-1]
                for kernel in conv.weight:
                    kernel.copy_(centre(channels.pop(0), size))
            assert not channels


def depthwise(module: nn.Module) -> dict[str, nn.Module]:
    """Return the depthwise convolutions by their paths, a MixConv as one."""
    return {path: part for path, part in module.named_modules() if path.endswith("depthwise")}


def convs(module: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a MixConv, or the plain one."""
    found = module.convs if isinstance(module, MixConv2d) else [module]
    return [conv for conv in found if isinstance(conv, nn.Conv2d)]


def centre(kernel: Tensor, size: int) -> Tensor:
    """Return the middle of a (1, k, k) kernel."""
    edge = (kernel.shape[-1] - size) // 2
    return kernel[:, edge : edge + size, edge : edge + size]


@pytest.mark.parametrize(
    ("written", "partition", "size", "expected"),
    [
        ("11", "equal", 2, {}),  # a kernel of 3, the default
        ("3.5.7.9.11", "equal", 2, {}),
        ("3.5.7", "equal", 1, {"kernels": "1"}),
        ("3.5.7", "equal", 3, {"kernels": "3.5.5"}),  # thirds: no partition in two has them
        ("3.5.7", "exponential", 3, {"kernels": "3.5"}),  # a half and two quarters: two halves
        ("3.5.7", "equal", 4, {"kernels": "3.5.7"}),
    ],
)
def test_groups_of_one_kernel_are_joined(
    written: str, partition: str, size: int, expected: dict[str, str]
) -> None:
    """Groups that fall together are one group where a partition has such a share."""
    options = (("expansion", 2), ("kernels", written), ("partition", partition))
    row = blocks.canonical_row(Row("mbconv", 24, 1, options), 24)
    fitted = blocks.fitted_row(row, 24, size)
    assert dict(fitted.options) == {"expansion": 2, **expected}
    channels = blocks.get("mbconv").arguments(
        blocks.get("mbconv").complete(dict(fitted.options)), Place(24, 24, 1)
    )["group_channels"]
    assert sum(channels) == 48


def test_assignments_that_fall_together_are_one_network() -> None:
    """On a map of 2 x 2 the five kernels are one function, which has one id and is trained once."""
    space = SearchSpace(
        name="tiny",
        resolution=2,
        stages=[stage(block("mbconv", kernels=choice("3", "5", "7", "9", "3.5.7.9.11")), width=16)],
    )
    values = [{"stage1.kernels": kernel} for kernel in space.parameters()[0].choices]
    assert len({space.decode(each).id for each in values}) == 5
    assert len({space.fitting().decode(each).id for each in values}) == 1
    assert survey(Subject(space, 3, 10)).fitted == 0
    assert survey(Subject(space.fitting(), 3, 10)).fitted == pytest.approx(0.8, abs=0.05)


def test_different_networks_are_counted() -> None:
    """As many as a whole space has ids, where the draws are of all its assignments' kinds."""
    rows = [
        stage(block("mbconv", kernels=choice("3", "5", "7", "9", "3.5.7.9.11")), width=16),
        stage(block("mbconv", kernels=choice("3", "5")), width=choice(16, 24), stride=2),
    ]
    space = SearchSpace(name="tiny", resolution=4, stages=rows)
    for each in (space, space.fitting()):
        subject = Subject(each, 3, 10)
        names = [parameter.name for parameter in each.parameters()]
        every = product(*(parameter.choices for parameter in each.parameters()))
        ids = {subject.decode(dict(zip(names, values, strict=True))).id for values in every}
        assert different_networks(subject) == pytest.approx(len(ids), rel=0.15)
    assert len(ids) < space.size() == 20


def test_different_networks_are_counted_where_choices_depend_on_others() -> None:
    """On one pixel all kernels are one: of 4 + 4^3 assignments the two depths are left."""
    kernels = per_layer(choice("3", "5", "7", "9"))
    layers = stage(block("mbconv", kernels=kernels), width=16, depth=choice(1, 3))
    space = SearchSpace(name="layers", resolution=1, stages=[layers])
    assert space.size() == 68
    assert different_networks(Subject(space, 3, 10)) == pytest.approx(68, rel=0.5)
    assert different_networks(Subject(space.fitting(), 3, 10)) == 2
