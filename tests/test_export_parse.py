"""An emitted file is read back to its architecture, without being run."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import nas_here, result
from strategies import architectures, network_of, placed_rows

from nas import blocks
from nas.architecture import Architecture, Row
from nas.errors import SpaceError
from nas.export import Facts
from nas.export._parsing import parsed
from nas.export.python import parse, source
from nas.search_space import load, members, spaces

NETWORK = Architecture(
    3, 16, 4,
    (Row("conv", 8, 2),),
    (Row("mbconv", 12, 2, (("kernels", "3.5"), ("se_ratio", 0.5))), Row("mbconv", 12)),
    (Row("classifier", 4),),
)  # fmt: skip
TEXT = source(blocks.canonical(NETWORK), Facts())


def back(architecture: Architecture) -> Architecture:
    return parsed(source(architecture, Facts()), "model.py")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=architectures())
def test_a_random_architecture_comes_back(architecture: Architecture) -> None:
    """Rows, sizes and id are the same."""
    assert back(architecture) == architecture


@pytest.mark.parametrize("name", blocks.names())
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_options_of_a_block_come_back(name: str, data: st.DataObject) -> None:
    """The arguments of a block's module give back the row's canonical options."""
    architecture = blocks.canonical(network_of(data.draw(placed_rows(name))))
    assert back(architecture).id == architecture.id


@pytest.mark.parametrize("name", sorted(spaces()))
def test_an_architecture_of_a_space_comes_back(name: str) -> None:
    """Three samples of every shipped space."""
    space, rng = load(name), random.Random(name)
    for _ in range(3):
        architecture = space.decode(space.sample(rng))
        assert back(architecture).id == architecture.id


def test_a_named_member_comes_back() -> None:
    """All of them."""
    for name, member in members().items():
        architecture = member.decode({})
        assert back(architecture).id == architecture.id, name


def test_a_file_is_read_by_a_process_that_built_nothing(tmp_path: Path) -> None:
    """Classes that a network uses by name alone, such as a norm, are known from the start."""
    architecture = members()["convnext_tiny"].decode({})
    (tmp_path / "model.py").write_text(source(architecture, Facts()))
    code = (
        "import sys; from nas.export._parsing import parsed;"
        "print(parsed(open(sys.argv[1]).read(), 'model.py').id)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.split() == [architecture.id]


def test_a_file_is_read_and_not_run(tmp_path: Path) -> None:
    """A statement of the file has no effect; the blocks' options in calls have."""
    path = tmp_path / "model.py"
    path.write_text(TEXT + "\nraise SystemExit('run')\n")
    assert parse(path).id == blocks.canonical(NETWORK).id
    path.write_text(TEXT.replace("(3, 5), stride=2", "(3, 7), stride=2"))
    assert dict(parse(path).body[0].options)["kernels"] == "3.7"


def test_a_file_is_an_architecture_for_verbs(tmp_path: Path) -> None:
    """`nas cost` counts the network of a file, `nas export` writes it; a changed one is refused."""
    path = tmp_path / "model.py"
    path.write_text(TEXT)
    counted = result(nas_here("cost", str(path), "--json"))
    assert counted["architecture_id"] == blocks.canonical(NETWORK).id
    line = ("export", "--architecture", str(path), "--out", str(tmp_path / "again"), "--json")
    assert result(nas_here(*line))["architecture_id"] == counted["architecture_id"]
    assert parse(tmp_path / "again" / "model.py").id == counted["architecture_id"]
    path.write_text(TEXT.replace("x = self.stage1(x)", "x = self.stage1(self.stage1(x))"))
    ended = nas_here("cost", str(path))
    assert (ended.returncode, "in their order" in ended.stderr) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("class Network", "class Other", "it has no class Network"),
        ("RESOLUTION = 16", "RESOLUTION = size()", "it has no RESOLUTION"),
        ("ConvNormAct(3, 8, 3, stride=2)", "ConvNormAct(3, 8)", "line .*missing a required arg"),
        ("ConvNormAct(3, 8, 3, stride=2)", "ConvNormAct(4, 8, 3)", "its in_channels is 3 after"),
        ("ConvNormAct(3, 8, 3, stride=2)", "ConvNormAct(3, 8, 4)", "odd kernel size"),
        ("ConvNormAct(3, 8, 3, stride=2)", "print(3)", "line .*a layer is one of BasicBlock"),
        ("ConvNormAct(3, 8, 3, stride=2)", "ConvNormAct(3, 8, int('3'))", "no argument that nas"),
        ("Squeeze(4)", "Squeeze('4')", "arguments that no mbconv has"),
        ("(3, 5)", "3", "arguments that no mbconv has"),
        ("super().__init__()", "super().__init__(); x = 1", "a part is self.NAME"),
        ("def forward", "def extra(self): pass\n    def forward", "no others"),
        ("class Network", "(" * 500, ", line .*nested"),
        ("class Network", "\0", "null bytes"),
    ],
)
def test_what_nas_does_not_write_is_refused(old: str, new: str, told: str) -> None:
    """One message with the file, the line and the rule."""
    assert old in TEXT
    with pytest.raises(SpaceError, match=rf"(?s)^model\.py.*{told}"):
        parsed(TEXT.replace(old, new), "model.py")
