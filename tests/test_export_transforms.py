"""The emitted file under PyTorch's tools: script, symbolic trace, compile, export."""

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import EASY_WIDTH, Placed, network_of, placed_rows
from torch import Tensor, nn

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.export import Facts
from nas.export.python import source
from nas.search_space import members

# Warnings of torch itself, where its own code calls what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Options that change numbers or a class, not the statements that run.
NUMBERS = {"activation", "dropout", "expansion", "kernels", "partition", "se_activation", "se_gate"}
IMAGE_BLOCKS = [name for name in blocks.names() if name != "classifier"]


def imported(architecture: Architecture, folder: Path) -> nn.Module:
    """Import an emitted file as a module, as a user does, and build its network."""
    path = folder / "model.py"
    path.write_text(source(architecture, Facts()))
    spec = importlib.util.spec_from_file_location("emitted_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["emitted_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: nn.Module = module.Network().eval()
    return built


def images_of(architecture: Architecture) -> Tensor:
    size = architecture.resolution
    return torch.randn(2, architecture.in_channels, size, size)


@cache
def kinds() -> dict[str, list[Placed]]:
    """Return a row of each kind that a named member has, by its block."""
    found: dict[tuple[object, ...], Placed] = {}
    for member in members().values():
        for row, channels, _ in network.walk(member.decode({})):
            options = tuple(name for name, _ in row.options if name not in NUMBERS)
            mixed = "." in str(dict(row.options).get("kernels"))
            found.setdefault((row.block, row.stride > 1, mixed, options), Placed(row, channels, 8))
    return {
        name: [kind for kind in found.values() if kind.row.block == name] for name in blocks.names()
    }


def check_script_and_trace(placed: Placed, folder: Path) -> None:
    architecture = network_of(placed)
    built, images = imported(architecture, folder), images_of(architecture)
    with torch.no_grad(), torch.jit.optimized_execution(False):  # optimising takes seconds
        for transform in (torch.jit.script, torch.fx.symbolic_trace):
            assert torch.equal(transform(built)(images), built(images))


@pytest.mark.parametrize("name", blocks.names())
def test_every_published_kind_of_block_is_scripted_and_traced(name: str, tmp_path: Path) -> None:
    """torch.jit.script and torch.fx.symbolic_trace compute what the emitted network computes."""
    for placed in kinds()[name]:
        check_script_and_trace(placed, tmp_path)


@pytest.mark.parametrize("name", blocks.names())
@settings(max_examples=2, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_options_of_a_block_are_scripted_and_traced(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows that no member has are, too."""
    check_script_and_trace(data.draw(placed_rows(name)), tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Tensor]:
    """Return the emitted network that has every block once, and images for it."""
    rows = [Row(name, EASY_WIDTH) for name in IMAGE_BLOCKS]
    architecture = Architecture(3, 8, 5, (), tuple(rows), (Row("classifier", 5),))
    return imported(architecture, tmp_path_factory.mktemp("chain")), images_of(architecture)


@pytest.mark.parametrize(
    "transform",
    [
        lambda built, _: torch.compile(built, backend="eager", fullgraph=True),
        lambda built, images: torch.export.export(built, (images,)).module(),
    ],
    ids=["compile", "export"],
)
def test_all_blocks_are_compiled_and_exported(
    transform: Callable[[nn.Module, Tensor], nn.Module], chain: tuple[nn.Module, Tensor]
) -> None:
    """torch.compile finds one graph, torch.export a program: of a network with every block."""
    built, images = chain
    with torch.no_grad():
        torch.testing.assert_close(transform(built, images)(images), built(images))


def test_a_network_in_training_is_scripted_and_traced(chain: tuple[nn.Module, Tensor]) -> None:
    """With batch statistics, and with the same images dropped by stochastic depth."""
    built, images = chain
    built.train()
    try:
        for transform in (torch.jit.script, torch.fx.symbolic_trace):
            torch.manual_seed(0)
            expected = built(images)
            torch.manual_seed(0)
            assert torch.equal(transform(built)(images), expected)
    finally:
        built.eval()
