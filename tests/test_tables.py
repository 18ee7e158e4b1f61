"""Tables fit terminals of any width; a number is never cut."""

import io
import os
import pty
import re
import struct
import subprocess
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from search_kit import arguments, command, nas_here, result

from nas.cli import _shared
from nas.report.fitting import GAP, NARROWEST
from nas.report.tables import Table
from nas.training import recipes

WIDTHS = (60, 80, 200)
NUMBER = re.compile(r"(?<!\S)-?\d[\d.,]*\S*")
STORE = "sqlite:///nas.db"
STORELESS = ("cost", "cost of several", "space list", "priors list", "recipe list", "recipe diff",
    "data show", "latency measure")  # fmt: skip
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def printed(table: Table, width: int | None) -> list[str]:
    """Return the lines of a table on a terminal of a width, or in a pipe."""
    file = io.StringIO()
    console = Console(file=file, width=width or 80, force_terminal=width is not None)
    console.print(table, crop=False)
    return ESCAPES.sub("", file.getvalue()).splitlines()


names = st.text("abcdef 日", min_size=1, max_size=30).filter(str.strip)
texts = st.text("ab 日é.", max_size=50)
numbers = st.integers(-(10**12), 10**12).map("{:,}".format)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table whose first column is a text, some others numbers."""
    columns = ["name", *draw(st.lists(st.tuples(st.sampled_from(["#", ""]), names).map("".join)))]
    row = st.tuples(*(numbers if name[0] == "#" else texts for name in columns))
    return Table(columns, draw(st.lists(row, max_size=5)))


@given(tables(), st.integers(NARROWEST, 250))
def test_every_number_is_whole_and_every_line_fits(table: Table, width: int) -> None:
    """A line is wider than the terminal only where two columns are; each number is a word."""
    lines = printed(table, width)
    words = {word for line in lines for word in line.split()}
    held = [
        str(cell)
        for row in table.rows
        for name, cell in zip(table.columns, row, strict=True)
        if name[0] == "#"
    ]
    assert words >= set(held)
    two = NARROWEST + GAP + max(NARROWEST, *(map(len, held or [""])))
    assert all(cell_len(line) <= max(width, two) for line in lines)


@given(tables())
def test_a_pipe_gets_every_row_in_a_line(table: Table) -> None:
    """Whatever its width: programs read it line by line."""
    _, *lines = printed(table, None)
    assert len(lines) == len(table.rows)
    for row, line in zip(table.rows, lines, strict=True):
        assert all(str(cell).strip() in line for cell in row)


def test_columns_that_do_not_fit_stand_below() -> None:
    """Names wrap first; then the last columns follow beside the first, the unnamed with theirs."""
    table = Table(
        ["name", "#macs", "#", "#validation loss"],
        [["a network with a long name", "1,234,567", "1.00x", "0.1234"]],
        "networks",
    )
    assert [line.rstrip() for line in printed(table, 61)] == [
        "networks",
        "name                             macs         validation loss",
        "a network with a long name  1,234,567  1.00x           0.1234",
    ]
    assert [line.rstrip() for line in printed(table, 42)] == [
        "networks",
        "name                           macs",
        "a network with a long     1,234,567  1.00x",
        "name",
        "                                validation",
        "name                                  loss",
        "a network with a long name          0.1234",
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Search a tiny space."""
    made: Path = tmp_path_factory.mktemp("searched")
    result(nas_here("search", *arguments(made, workers=0), "--json"))
    return made


VERBS = {
    "cost": "cost mixnet_s --blocks",
    "cost of several": "cost mixnet_s efficientnet_b0",
    "space list": "space list",
    "priors list": "priors list",
    "recipe list": "recipe list",
    "recipe diff": "recipe diff short whole",
    "data show": "data show digits",
    "latency measure": "latency measure mixnet_s --resolution 32",
    "scale": "scale tiny --alpha 1.2 --beta 1.1 --gamma 1.15 --phi 1,2",
    "top": "top",
    "top --pareto": "top --pareto",
    "rescore": "rescore --target-flops 40k",
    "show": "show",
    "evaluate": "evaluate tiny --data tones.npz",
    "store check": "store check",
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_its_numbers_whole_at_every_width(
    verb: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers that a pipe gets are words on every terminal, none of whose lines is longer."""
    monkeypatch.chdir(folder)
    lines: list[object] = []
    monkeypatch.setattr(_shared, "_print", lines.extend)
    words = [*VERBS[verb].split(), *([] if verb in STORELESS else ["--store", STORE])]
    ended = nas_here(*words)
    assert ended.returncode == 0, ended.stderr
    shown = [line for line in lines if isinstance(line, Table)]
    assert shown
    for table in shown:
        numbers = set(NUMBER.findall("\n".join(printed(table, None))))
        for width in WIDTHS:
            narrow = printed(table, width)
            assert set(NUMBER.findall("\n".join(narrow))) >= numbers
            assert max(map(cell_len, narrow)) <= width


def test_a_real_terminal_and_a_pipe() -> None:
    """The columns are those of the terminal; a pipe gets whole lines, whatever COLUMNS says."""
    words = command("recipe", "list")
    reader, terminal = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    ended = subprocess.run(words, stdout=terminal, env=environment, timeout=120)
    os.close(terminal)
    shown = ESCAPES.sub("", os.read(reader, 100_000).decode())
    os.close(reader)
    environment["COLUMNS"] = "40"
    piped = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == piped.returncode == 0
    assert sorted(shown.split()) == sorted(piped.stdout.split())
    assert max(map(len, shown.splitlines())) == 60
    assert max(map(len, piped.stdout.splitlines())) > 80
    assert len(piped.stdout.splitlines()) == 1 + len(recipes.names())
