"""Where search spaces are found: shipped by name, in a Python file, or in a JSON file.

A Python file exports `SPACE`; one that describes a family exports `MEMBERS` as well or instead, a
dict of fixed architectures in the same DSL (spaces without a choice).
"""

import json
import runpy
import sys
import traceback
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, cast

import nas.blocks
from nas.errors import SpaceError
from nas.files import shipped
from nas.files.reading import read_json
from nas.search_space.space import SearchSpace


@cache
def _shipped(stem: str) -> dict[str, Any]:
    return _run(shipped.folder() / f"{stem}.py")


def _stems() -> list[str]:
    return sorted(path.stem for path in shipped.folder().glob("[!_]*.py"))


def spaces() -> dict[str, SearchSpace]:
    """Return the shipped search spaces by name."""
    return {stem: _shipped(stem)["SPACE"] for stem in _stems() if "SPACE" in _shipped(stem)}


def members() -> dict[str, SearchSpace]:
    """Return the shipped fixed architectures by name, each a space of one."""
    return {name: one for stem in _stems() for name, one in _members(stem).items()}


def _member(name: str) -> SearchSpace | None:
    """Return a fixed architecture; where the list of the shipped files holds, by running one."""
    stem = shipped.file_of(name)
    stems = _stems() if stem is None else [stem]
    return next((own[name] for own in map(_members, stems) if name in own), None)


def _members(stem: str) -> dict[str, SearchSpace]:
    own: dict[str, SearchSpace] = _shipped(stem).get("MEMBERS", {})
    return own


def names() -> list[str]:
    """Return the names of all shipped spaces and members."""
    return sorted(spaces() | members())


def table() -> list[dict[str, Any]]:
    """Return each shipped space and member by name, kind, size, parameters, values of a recipe."""
    kinds = [("space", *item) for item in spaces().items()]
    kinds += [("member", *item) for item in members().items()]
    return [
        {
            "name": name,
            "kind": kind,
            "size": space.size(),
            "parameters": len(space.parameters()),
            "recipe": sorted(space.recipe),
        }
        for kind, name, space in kinds
    ]


def write_listing() -> None:
    """Write the table beside the files, where it is read without running them."""
    rows = ",\n".join(json.dumps(row) for row in table())
    files = json.dumps({name: stem for stem in _stems() for name in _members(stem)})
    text = f'{{"digest": "{shipped.digest()}", "shipped": [\n{rows}\n],\n"members": {files}}}\n'
    (shipped.folder() / shipped.FILE).write_text(text, encoding="utf-8")


def load(source: str | Path) -> SearchSpace:
    """Find a space by name, or read `path/to/space.py` or `path/to/space.json`.

    Raises SpaceError: for an unknown name with the known ones, for a file with the file, the line,
    the stage and the option.
    """
    path = Path(source)
    if path.suffix in (".py", ".json"):  # no shipped name ends so
        shipped.check_file(path)
        return _read_python(path) if path.suffix == ".py" else _read_json(path)
    if source in _stems() and "SPACE" in (exported := _shipped(str(source))):
        return cast(SearchSpace, exported["SPACE"])  # without running the other files
    shipped.check(str(source))
    if isinstance(source, str) and (found := _member(source)):
        return found
    raise shipped.no_such(str(source), names())


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
