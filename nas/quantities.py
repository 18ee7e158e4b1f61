"""Numbers and paths as people write them: 300M multiply-accumulates, 30m of time."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import UserError

MOST = 10**9  # of any number that is given, where nothing narrower is said
_LARGEST_COUNT = 10**18  # of FLOPs and parameters: it fits into a database's whole number
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
MAX_RESOLUTION = 16_384  # pixels
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "": 1.0, "s": 1000.0}
_BYTES = {
    "": 1,
    "b": 1,
    "k": 2**10,
    "kb": 2**10,
    "kib": 2**10,
    "m": 2**20,
    "mb": 2**20,
    "mib": 2**20,
    "g": 2**30,
    "gb": 2**30,
    "gib": 2**30,
}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def plain(value: Any) -> Any:
    """Return a path as text, with its ~ expanded, and a number of NumPy or torch as Python's."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    return os.path.expanduser(value) if isinstance(value, str) else value


def checked(
    value: Any, types: tuple[Any, ...], what: str, low: float | None = None,
    high: float | None = None,
) -> Any:  # fmt: skip
    """Return a value of one of these types; a whole number is a number too.

    Raises UserError for another type, for a number out of its limits, and for one that is not
    finite.
    """
    kind = types[0]
    if type(value) not in types and not (kind is float and type(value) is int):
        raise UserError(f"{what} is {_KINDS.get(kind, kind.__name__)}, not {_shown(value)}.")
    if kind not in (int, float) or type(value) not in (int, float):
        return value
    most = MOST if high is None else high
    least = -most if low is None else low
    if not least <= value <= most:
        is_open = high is None and value < least
        limits = f"of at least {least}" if is_open else f"from {least} to {most}"
        raise UserError(f"{what} is {_KINDS[kind]} {limits}, not {_shown(value)}.")
    return kind(value)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"


def count(text: str | float, what: str) -> int:
    """Read a count such as 2M, 1.5G or 300000; raises UserError unless it is at least 1."""
    rule = "a number of at least 1 such as 300M or 2.5k"
    return _read(text, what, _POWERS, rule, most=_LARGEST_COUNT)


def memory(text: str | float, what: str) -> int:
    """Read an amount of memory such as 320KB or 1.5MB, of 1,024 bytes each, or bytes."""
    return _read(text, what, _BYTES, "an amount of memory such as 320KB or 1.5MB", most=MOST * 1000)


def seconds(text: str | float, what: str) -> int:
    """Read a duration such as 30m, 1.5h or 90 (seconds); raises UserError for anything else."""
    return _read(text, what, _SECONDS, "a duration such as 30m, 2h or 90s", most=MOST)


def milliseconds(text: str | float, what: str) -> float:
    """Read a latency such as 5ms, 800us or 0.1s; a bare number is in milliseconds."""
    value = _times(text, _MILLISECONDS)
    if value is None or not 0 < value <= MOST:
        rule = "a time above 0 such as 5ms, 800us or 0.1s"
        raise UserError(f"{what} is {rule}, not {_shown(text)}.")
    return value


def _read(
    text: str | float, what: str, units: dict[str, int], rule: str, *, most: int
) -> int:  # fmt: skip
    value = _times(text, units)
    if value is None or value < 1:
        raise UserError(f"{what} is {rule}, not {_shown(text)}.")
    if value > most:
        raise UserError(f"{what} is {rule}, and at most {most:.0e}, not {_shown(text)}.")
    return round(value)


def _times(text: str | float, units: Mapping[str, float]) -> float | None:
    """Return a number times its unit; None for anything else."""
    try:
        match = re.fullmatch(
            r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", str(text).lower()
        )
    except ValueError:  # a whole number of thousands of digits
        return math.inf
    if isinstance(text, bool) or match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


def short(value: float) -> str:
    """Write a count with three digits: 2M, 4.13M, 239M, 1.2G."""
    for power, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= power * 0.9995:
            return f"{value / power:.3g}{unit}"
    return f"{value:.3g}"


def share(value: float) -> str:
    """Write a part of a whole before its name: 1/17 of, 97% of, 1.3 times."""
    if value > 1:
        return f"{value:.2g} times"
    return f"{value:.0%} of" if value > 0.5 else f"1/{1 / max(value, 1e-9):.0f} of"


def number(value: float | None) -> str:
    """Write a metric with four digits, a missing one as a dash."""
    return "-" if value is None else f"{value:.4f}"


def duration(value: float) -> str:
    """Write seconds for people: 45 s, 12 min, 3.5 h."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def from_here(path: str | Path) -> str:
    """Write a path relative to the current folder where it lies below it."""
    absolute = Path(path).absolute()
    return str(
        absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
    )


def check_positive(**options: int | None) -> None:
    """Refuse an option that is given and not at least 1; `in_channels` is --in-channels."""
    for name, number in options.items():
        if name == "resolution" and number is not None and number > MAX_RESOLUTION:
            raise UserError(f"--resolution is at most {MAX_RESOLUTION:,} px, not {number:,}.")
        if number is not None and number < 1:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} is a whole number of at least 1, not {number}.")
