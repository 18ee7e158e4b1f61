"""Numbers and paths as people write them: 300M multiply-accumulates, 30m of time."""

import math
import re
from pathlib import Path

from nas.errors import UserError

_POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
MAX_RESOLUTION = 16_384  # pixels
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "": 1.0, "s": 1000.0}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def count(text: str | float, what: str) -> int:
    """Read a count such as 2M, 1.5G or 300000; raises UserError unless it is at least 1."""
    return _read(text, what, _POWERS, "a number of at least 1 such as 300M or 2.5k")


def seconds(text: str | float, what: str) -> int:
    """Read a duration such as 30m, 1.5h or 90 (seconds); raises UserError for anything else."""
    return _read(text, what, _SECONDS, "a duration such as 30m, 2h or 90s")


def milliseconds(text: str | float, what: str) -> float:
    """Read a latency such as 5ms, 800us or 0.1s; a bare number is in milliseconds."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(us|ms|s|)\s*", str(text).lower())
    value = float(match[1]) * _MILLISECONDS[match[2]] if match else 0.0
    if not 0 < value < math.inf:
        raise UserError(f"{what} is a time above 0 such as 5ms, 800us or 0.1s, not {text!r}.")
    return value


def _read(text: str | float, what: str, units: dict[str, int], rule: str) -> int:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z]?)\s*", str(text).lower())
    if not match or match[2] not in units or isinstance(text, bool):
        raise UserError(f"{what} is {rule}, not {text!r}.")
    value = float(match[1]) * units[match[2]]
    if not 1 <= value < math.inf:
        raise UserError(f"{what} is {rule}, not {text!r}.")
    return round(value)


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
