"""The verdict on an exported file. Importing this module imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nas.quantities import from_here


@dataclass(frozen=True)
class Proof:
    """The verdict on a file: the largest difference of its outputs, relative to the largest output.

    `tolerance` is the most that is allowed; None where `stated` has the numbers that decided.
    `runtime` is what ran the file; `real_images` counts the images of the data among its inputs.
    `latency_ms` is the median time of one image here, by the runtime with its own threads. With a
    `failure` there is no file.
    """

    format: str
    runtime: str
    tolerance: float | None
    path: Path | None = None
    verified: float | None = None
    real_images: int = 0
    latency_ms: float | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        path = None if self.path is None else from_here(self.path)
        return {**self.verdict(), "path": path}

    def verdict(self) -> dict[str, Any]:
        """Return plain data without the path, which is one machine's."""
        plain = {name: value for name, value in vars(self).items() if name != "path"}
        return {**plain, "stated": dict(self.stated)}

    @classmethod
    def of(cls, verdict: Mapping[str, Any], path: Path) -> "Proof":
        """Return the proof of a file here by a stored verdict; raises LookupError, TypeError."""
        plain = {each.name: verdict[each.name] for each in fields(cls) if each.name != "path"}
        return cls(path=path, **plain)
