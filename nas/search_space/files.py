"""Where search spaces are found: shipped by name, in a Python file, or in a JSON file.

A Python file exports `SPACE`; one that describes a family exports `MEMBERS` as well or instead, a
dict of fixed architectures in the same DSL (spaces without a choice).
"""

import importlib.util
import json
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType

import nas.blocks
from nas.errors import SpaceError, unknown
from nas.search_space.space import SearchSpace


def _folder() -> Path:
    """Return the shipped spaces' folder: inside the installed package, or beside a checkout's."""
    package = Path(nas.blocks.__file__).parent.parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


@cache
def _shipped() -> tuple[dict[str, SearchSpace], dict[str, SearchSpace]]:
    found: dict[str, SearchSpace] = {}
    fixed: dict[str, SearchSpace] = {}
    for path in sorted(_folder().glob("[!_]*.py")):
        module = _run(path)
        if hasattr(module, "SPACE"):
            found[path.stem] = module.SPACE
        fixed |= getattr(module, "MEMBERS", {})
    return found, fixed


def spaces() -> dict[str, SearchSpace]:
    """Return the shipped search spaces by name."""
    return _shipped()[0]


def members() -> dict[str, SearchSpace]:
    """Return the shipped fixed architectures by name, each a space of one."""
    return _shipped()[1]


def names() -> list[str]:
    """Return the names of all shipped spaces and members."""
    return sorted(spaces() | members())


def load(source: str | Path) -> SearchSpace:
    """Find a space by name, or read `path/to/space.py` or `path/to/space.json`.

    Raises SpaceError: for an unknown name with the known ones, for a file with the file, the line,
    the stage and the option.
    """
    if isinstance(source, str) and (known := (spaces() | members()).get(source)):
        return known
    path = Path(source)
    if path.suffix not in (".py", ".json"):
        known_ones = f"{unknown('search space', str(source), names())}"
        raise SpaceError(f"{known_ones} A file ends in .py or .json.")
    if not path.is_file():
        raise SpaceError(f"No file {path}; shipped spaces: {', '.join(names())}.")
    return _read_python(path) if path.suffix == ".py" else _read_json(path)


def _read_json(path: Path) -> SearchSpace:
    try:
        return SearchSpace.from_json(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise SpaceError(f"{path}, line {error.lineno}: not JSON: {error.msg}.") from None
    except UnicodeDecodeError:
        raise SpaceError(f"{path}: not text.") from None
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def _read_python(path: Path) -> SearchSpace:
    space = getattr(_run(path), "SPACE", None)
    if not isinstance(space, SearchSpace):
        raise SpaceError(f"{path}: a space's file exports SPACE = SearchSpace(...).")
    return space


def _run(path: Path) -> ModuleType:
    """Run a space's Python file; whatever goes wrong in it becomes a SpaceError with its line."""
    spec = importlib.util.spec_from_file_location(f"search_spaces.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise SpaceError(f"{path}, line {error.lineno}: {error.msg}.") from None
    except Exception as error:
        line = getattr(error, "line", None) or _line_in(path, error)
        kind = "" if isinstance(error, SpaceError) else f"{type(error).__name__}: "
        raise SpaceError(f"{path}, line {line}: {kind}{error}") from None
    return module


def _line_in(path: Path, error: Exception) -> int | None:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None
