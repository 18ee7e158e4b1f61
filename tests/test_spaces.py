"""Conformance of every shipped search space: its random architectures cost what they build.

A few samples each: 500 of every space, and every member at its own resolution, are the business of
benchmarks/conformance.py and benchmarks/families.py, whose results are committed.
"""

import random
import runpy
from pathlib import Path

import pytest
import referee
import torch

from nas import network
from nas.architecture import Architecture
from nas.export import Facts
from nas.export.python import export
from nas.search_space import Choice, load, members, spaces

SMALL_MEMBERS = [
    name for name, member in members().items() if network.cost(member.decode({})).params < 12e6
]
every_space = pytest.mark.parametrize("name", sorted(spaces()))


def samples(name: str, n: int, *, smallest: bool = True) -> list[Architecture]:
    """Return n random architectures of a space, at its smallest resolution."""
    space, rng = load(name), random.Random(0)
    if smallest and isinstance(space.resolution, Choice):
        space = space.at_resolution(min(space.resolution.options))
    return [space.decode(space.sample(rng)) for _ in range(n)]


@every_space
def test_parameters_are_those_of_the_built_network(name: str) -> None:
    """40 random architectures at any resolution, each built on the meta device."""
    for architecture in samples(name, 40, smallest=False):
        assert network.cost(architecture).params == referee.meta_params(architecture)


@every_space
def test_macs_and_activations_are_those_fvcore_counts(name: str) -> None:
    """5 random architectures at the smallest resolution."""
    for architecture in samples(name, 5):
        cost, built = network.cost(architecture), network.build(architecture)
        size = (architecture.in_channels, architecture.resolution)
        assert (cost.macs, cost.activations) == referee.macs_and_activations(built, *size)


@every_space
def test_peak_memory_is_that_of_a_trace(name: str) -> None:
    """5 random architectures at the smallest resolution, operator by operator."""
    for architecture in samples(name, 5):
        size = (architecture.in_channels, architecture.resolution)
        traced = referee.peak_activation_bytes(network.build(architecture), *size)
        assert network.cost(architecture).peak_activation_bytes == traced


@every_space
def test_emitted_files_are_the_built_networks(name: str, tmp_path: Path) -> None:
    """3 random architectures: same keys and shapes, outputs within 1e-5, nothing to format."""
    for architecture in samples(name, 3):
        built = referee.calibrated(architecture)
        path = export(architecture, built.state_dict(), tmp_path, Facts())
        loaded = runpy.run_path(str(path))["load"]()
        shapes = [(key, tensor.shape) for key, tensor in loaded.state_dict().items()]
        assert shapes == [(key, tensor.shape) for key, tensor in built.state_dict().items()]
        size = architecture.resolution
        images = torch.randn(2, architecture.in_channels, size, size)
        with torch.no_grad():
            expected, actual = built(images), loaded(images)
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert referee.formatting(path.read_text()) == ""


@pytest.mark.parametrize("name", sorted(members()))
def test_a_member_has_the_parameters_it_builds(name: str) -> None:
    """Of every member, also those too large to be run here."""
    architecture = load(name).decode({})
    assert network.cost(architecture).params == referee.meta_params(architecture)


@pytest.mark.parametrize("name", sorted(SMALL_MEMBERS))
def test_a_member_counts_what_the_referees_count(name: str) -> None:
    """Macs, activations and peak memory of members of under 12 M parameters, for small images."""
    architecture = load(name).decode({}).at(resolution=40)
    built, cost = network.build(architecture), network.cost(architecture)
    size = (architecture.in_channels, architecture.resolution)
    assert (cost.macs, cost.activations) == referee.macs_and_activations(built, *size)
    assert cost.peak_activation_bytes == referee.peak_activation_bytes(built, *size)
