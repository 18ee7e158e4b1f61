"""Where spaces are found, and what is said where a file is no space."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import SpaceError
from nas.search_space import load, members, names, spaces

GOOD = """\
from nas.search_space import SearchSpace, block, choice, stage

SPACE = SearchSpace(
    name="mine",
    stages=[
        stage(block("conv"), width=16),
        stage(
            block("mbconv", kernels=choice("3", "3.5")),
            width=choice(16, 24),
        ),
    ],
)
"""
JSON = """\
{"format": "nas.search_space/1", "name": "s", "stages": [{"block": {"block": "conv"}, "width": 8}]}
"""


def message(path: Path | str) -> str:
    """Load what can't be loaded; return what is said."""
    with pytest.raises(SpaceError) as raised:
        load(path)
    return str(raised.value)


def test_a_space_is_found_by_name_and_as_a_file(tmp_path: Path) -> None:
    """A shipped name, a Python file and a JSON file, by path or text, all give a space."""
    python, data = tmp_path / "mine.py", tmp_path / "mine.json"
    python.write_text(GOOD)
    data.write_text(JSON)
    assert load("mixconv") is spaces()["mixconv"]
    assert load("mixnet_s") is members()["mixnet_s"]
    assert load(python).name == load(str(python)).name == "mine"
    assert load(data).name == load(str(data)).name == "s"


def test_names_are_those_of_spaces_and_members() -> None:
    """The published models and the kernel sweep are there beside the searchable space."""
    assert {"mixconv", "mixnet_s", "mixnet_m", "mixnet_l", "mixnet_s_k9.11.13"} <= set(names())
    assert names() == sorted(spaces().keys() | members().keys())


def test_an_unknown_name_gets_the_three_closest() -> None:
    """The closest of all the names comes first; a command lists all."""
    assert message("mixnet_sl") == (
        "No search space named 'mixnet_sl'. Did you mean 'mixnet_s', 'mixnet_l' or 'mixnet_xl'? "
        f"All {len(names())}: nas space list. A space's file ends in .py or .json."
    )


def test_nothing_is_written_beside_a_file_and_an_edit_is_seen(tmp_path: Path) -> None:
    """No bytecode is kept, so an edit within the same second counts."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert load(path).size() == 4
    path.write_text(GOOD.replace("16, 24", "16, 24, 32"))
    assert load(path).size() == 6
    assert os.listdir(tmp_path) == ["mine.py"]


def test_what_a_file_prints_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command's JSON on standard output stays JSON."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD + "print(SPACE.size())\n")
    load(path)
    assert capsys.readouterr() == ("", "4\n")


PYTHON = {
    "even kernel": (
        GOOD.replace('"3.5"', '"4"'),
        ', line 8: stage2: mbconv.kernels is odd kernel sizes such as "3" or "3.5.7", not \'4\'.',
    ),
    "unknown block": (
        GOOD.replace("mbconv", "mbconv2"),
        ", line 8: stage2: No block named 'mbconv2'. Did you mean 'mbconv'?",
    ),
    "unknown option": (
        GOOD.replace("kernels", "kernel"),
        ", line 8: stage2: mbconv: No option named 'kernel'.",
    ),
    "duplicate options": (
        GOOD.replace("24", "16"),
        ", line 7: stage2.width: the options of a choice differ from each other; 16 is",
    ),
    "no stages": (
        "from nas.search_space import SearchSpace\nSPACE = SearchSpace(name='s', stages=[])\n",
        ", line 2: Space 's' has no stage",
    ),
    "unknown argument": (
        GOOD.replace("width=16)", "widths=16)"),
        ", line 6: TypeError: stage() got an unexpected keyword argument 'widths'",
    ),
    "syntax error": (GOOD.replace("),\n    ],", ",\n    ],"), ", line "),
    "exception": ("x = 1\n\nraise KeyError('stage')\n", ", line 3: KeyError: 'stage'"),
    "exception in a function": (
        "def f():\n    return 1 / 0\n\nSPACE = f()\n",
        ", line 2: ZeroDivisionError: division by zero",
    ),
    "exit": ("raise SystemExit(3)\n", ", line 1: SystemExit: 3"),
    "missing SPACE": ("STAGES = []\n", ": a space's file exports SPACE = SearchSpace(...)."),
    "SPACE is something else": (
        "SPACE = []\n",
        ": a space's file exports SPACE = SearchSpace(...).",
    ),
}
DATA = {
    "syntax error": (JSON + ",", ", line 2: not JSON: "),
    "wrong format": (
        JSON.replace("search_space/1", "search_space/2"),
        ': A search space is an object with "format": "nas.search_space/1".',
    ),
    "wrong field": (
        JSON.replace('"width"', '"widht"'),
        ": stage1 needs width.",
    ),
    "unknown field": (
        JSON.replace('"width": 8', '"width": 8, "deph": 2'),
        ": stage1: No field named 'deph'. Did you mean 'depth'? Available: block, depth, ",
    ),
    "unknown field at the top": (
        JSON.replace('"name"', '"resolutions": 8, "name"'),
        ": a search space: No field named 'resolutions'. Did you mean 'resolution'?",
    ),
    "unknown block": (
        JSON.replace("conv", "mbconv2"),
        ": stage1: No block named 'mbconv2'. Did you mean 'mbconv'?",
    ),
    "a field twice": (
        JSON.replace('"width": 8', '"width": 8, "width": 16'),
        ": field 'width' is there twice in one object.",
    ),
    "a list": ("[]", ": a search space is an object, not []."),
    "not a number": (JSON.replace("8", "NaN"), ": stage1.width: a number of channels, not nan."),
    "nothing": ("", ", line 1: not JSON: Expecting value."),
    "too deep": ('{"a":' * 100_000, ": nested too deeply."),
}


@pytest.mark.parametrize("case", PYTHON)
def test_a_python_file_with_a_mistake_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    """File, line, stage, option, value and rule are in one message."""
    path = tmp_path / "mine.py"
    text, expected = PYTHON[case]
    path.write_text(text)
    assert message(path).startswith(f"{path}{expected}")


@pytest.mark.parametrize("case", DATA)
def test_a_json_file_with_a_mistake_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    """The file and the stage are named; the line where it is not JSON."""
    path = tmp_path / "mine.json"
    text, expected = DATA[case]
    path.write_text(text)
    assert message(path).startswith(f"{path}{expected}")


@pytest.mark.parametrize("suffix", [".py", ".json"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"\x89PNG\r\n\x1a\n\x00", b"\x00" * 40])
def test_a_binary_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    """Whatever its bytes are, the message is one line that begins with the file."""
    path = tmp_path / f"space{suffix}"
    path.write_bytes(content)
    assert message(path).startswith(str(path))
    assert "\n" not in message(path)


@pytest.mark.parametrize("suffix", ["", ".py", ".json"])
def test_a_folder_or_nothing_is_refused(suffix: str, tmp_path: Path) -> None:
    """A path at which there is no file is named, with the command that lists the spaces."""
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    for path in (folder, tmp_path / f"nothing{suffix}"):
        assert str(path) in message(path)
        assert "nas space list" in message(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("suffix", [".py", ".json"])
def test_a_file_that_can_not_be_read_is_refused(suffix: str, tmp_path: Path) -> None:
    """The message says why."""
    path = tmp_path / f"space{suffix}"
    path.write_text("")
    path.chmod(0)
    assert "ermission denied" in message(path)


def test_a_space_is_found_from_any_folder(tmp_path: Path) -> None:
    """A shipped name needs no file in the current folder."""
    code = "from nas.search_space import load; print(load('mixconv').name)"
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == "mixconv\n", ran.stderr
