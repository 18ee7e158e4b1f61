"""Where search spaces are found: shipped by name, in a Python file, or in a JSON file.

A Python file exports `SPACE`; one that describes a family exports `MEMBERS` as well or instead, a
dict of fixed architectures in the same DSL (spaces without a choice).
"""

import runpy
import sys
import traceback
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, cast

import nas.blocks
from nas.errors import SpaceError, unknown
from nas.files.reading import read_json
from nas.search_space.space import SearchSpace

LISTING = "nas space list"  # the command that lists what is shipped


def _folder() -> Path:
    """Return the shipped spaces' folder: inside the installed package, or beside a checkout's."""
    package = Path(nas.blocks.__file__).parent.parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


@cache
def _shipped(stem: str) -> dict[str, Any]:
    return _run(_folder() / f"{stem}.py")


def _stems() -> list[str]:
    return sorted(path.stem for path in _folder().glob("[!_]*.py"))


def spaces() -> dict[str, SearchSpace]:
    """Return the shipped search spaces by name."""
    return {stem: _shipped(stem)["SPACE"] for stem in _stems() if "SPACE" in _shipped(stem)}


def members() -> dict[str, SearchSpace]:
    """Return the shipped fixed architectures by name, each a space of one."""
    return {
        name: one for stem in _stems() for name, one in _shipped(stem).get("MEMBERS", {}).items()
    }


def names() -> list[str]:
    """Return the names of all shipped spaces and members."""
    return sorted(spaces() | members())


def load(source: str | Path) -> SearchSpace:
    """Find a space by name, or read `path/to/space.py` or `path/to/space.json`.

    Raises SpaceError: for an unknown name with the known ones, for a file with the file, the line,
    the stage and the option.
    """
    if source in _stems() and "SPACE" in (shipped := _shipped(str(source))):
        return cast(SearchSpace, shipped["SPACE"])  # without running the other files
    if isinstance(source, str) and (found := members().get(source)):
        return found
    path = Path(source)
    if path.suffix not in (".py", ".json"):
        known = unknown("search space", str(source), names(), listing=LISTING)
        raise SpaceError(f"{known} A space's file ends in .py or .json.")
    if not path.is_file():
        raise SpaceError(f"No file {path}. The shipped spaces: {LISTING}.")
    return _read_python(path) if path.suffix == ".py" else _read_json(path)


def _read_json(path: Path) -> SearchSpace:
    data = read_json(path, SpaceError)
    try:
        return SearchSpace.from_json(data)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def _read_python(path: Path) -> SearchSpace:
    space = _run(path).get("SPACE")
    if not isinstance(space, SearchSpace):
        raise SpaceError(f"{path}: a space's file exports SPACE = SearchSpace(...).")
    return space


def _run(path: Path) -> dict[str, Any]:
    """Run a space's Python file; whatever goes wrong in it becomes a SpaceError with its line.

    No bytecode is written beside it, so that an edit is seen at once. What it prints goes to
    standard error, so that it does not get into a command's JSON.
    """
    nas.blocks.names()  # a block file that can't be used is not this file's mistake
    try:
        with redirect_stdout(sys.stderr):
            return runpy.run_path(str(path), run_name=f"search_spaces.{path.stem}")
    except SyntaxError as error:
        at = f", line {error.lineno}" if error.lineno else ""
        raise SpaceError(f"{path}{at}: {error.msg}.") from None
    except (Exception, SystemExit) as error:
        line = getattr(error, "line", None) or _line_in(path, error)
        at = f", line {line}" if line else ""
        kind = "" if isinstance(error, SpaceError) else f"{type(error).__name__}: "
        raise SpaceError(f"{path}{at}: {kind}{error}") from None


def _line_in(path: Path, error: BaseException) -> int | None:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None
