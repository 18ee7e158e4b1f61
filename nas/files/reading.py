"""Files that somebody gives: read within the limits, and what is wrong with them in one message."""

import json
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.errors import NasError, UserError
from nas.files.limits import limits

_MISLEADING = {  # hints of libraries that a user of `nas` can't or should not follow
    "set_int_max_str_digits": "a number has too many digits",
    "allow_pickle": "it holds Python objects, not plain numbers or text",
}


@contextmanager
def reading(what: str, error: type[UserError] = UserError) -> Iterator[None]:
    """Turn whatever a reader raises on damaged input into `error`: "`what`: the reason."

    What `nas` raises on purpose passes.
    """
    try:
        yield
    except NasError:
        raise
    except Exception as reason:  # readers raise nearly anything
        raise error(f"{what}: {why(reason)}.") from reason


def why(error: BaseException) -> str:
    """Say what a reader's error means, without an end."""
    match error:
        case json.JSONDecodeError():
            return f"not JSON: {error.msg}"
        case OSError() if error.strerror:
            return error.strerror
        case UnicodeError():
            return "not text in UTF-8"
        case RecursionError():
            return "nested too deeply"
        case MemoryError():
            return "it needs more memory than there is"
        case KeyError():
            return f"{error} is missing"
    text = str(error).strip()
    for hint, meaning in _MISLEADING.items():
        if hint in text:
            return meaning
    return text.rstrip(".") or type(error).__name__


def check_regular(path: Path, error: type[UserError] = UserError) -> int:
    """Return the size of a file in bytes; refuse what is no file, such as a pipe or a device."""
    with reading(str(path), error):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise error(f"{path}: this is {kind}, not a file.")
    return status.st_size


def read_text(path: str | Path, error: type[UserError] = UserError) -> str:
    """Read a text in UTF-8; raises `error` that begins with the path."""
    path = Path(path)
    limits().check("text_bytes", check_regular(path, error), str(path), error)
    with reading(str(path), error):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: str | Path, error: type[UserError] = UserError) -> Any:
    """Read a JSON file; raises `error` that begins with the path, and the line if it is no JSON."""
    return parse_json(read_text(path, error), str(path), error)


def parse_json(text: str, where: str, error: type[UserError] = UserError) -> Any:
    """Parse JSON; raises `error` that begins with `where` it stands, and the line."""
    try:
        with reading(where, error):
            data = _within_limits(lambda: json.loads(text, object_pairs_hook=_object), where, error)
            return _whole(data, text)
    except error as told:
        if isinstance(cause := told.__cause__, json.JSONDecodeError):
            raise error(f"{where}, line {cause.lineno}: {why(cause)}.") from None
        raise


def _whole(data: Any, text: str) -> Any:
    """Refuse half a character, an escape such as \\ud800 without its pair: nobody can write it."""
    if "\\ud" in text.lower():
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half a character: an escape without its pair") from None
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a field twice: one of the two would be dropped silently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"field {twice!r} is there twice in one object")
    return found


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; raises UserError that begins with the path."""
    return parse_toml(read_text(path), str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML; raises UserError that begins with `where` the text stands."""
    with reading(where):
        found: dict[str, Any] = _within_limits(lambda: tomllib.loads(text), where)
        return found


def _within_limits(
    parse: Callable[[], Any], where: str | Path, error: type[UserError] = UserError
) -> Any:
    """Return parsed data whose depth and whole numbers are within the limits."""
    data, most = parse(), limits()
    depth, level = 0, [data]
    while level:
        for number in level:
            if isinstance(number, int) and abs(number) >= 10**most.digits:
                most.check("digits", len(str(abs(number))), str(where), error)
        level = [inner for value in level for inner in _inside(value)]
        depth += bool(level)
        most.check("depth", depth, str(where), error)
    return data


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
