"""The registry of exporters: one file per format, found by looking into this folder.

An exporter file holds `EXPORTER`; the file's name is the format's name. Looking up the names
imports nothing, so that a command line can check a format without torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nas.architecture import Architecture
from nas.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """What an exported file says of itself and can't be read off the architecture.

    `validation` and `test` are metrics by name. `mean` and `std` are per channel, of pixel values
    from 0 to 1, as the network was trained with them; empty where it was not trained on images
    that we know. `date` is ISO 8601.
    """

    score: float | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    class_names: tuple[str, ...] = ()
    date: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Exporter:
    """A format: `export(architecture, state_dict, folder, facts)` returns the file it wrote.

    Without a state_dict (None) it writes the network alone, to be trained elsewhere.

    It raises NasError, and leaves nothing new in the folder, where what it wrote does not give the
    outputs of the built network.
    """

    name: str
    export: "Callable[[Architecture, Mapping[str, Tensor] | None, Path, Facts], Path]"


class Format(Protocol):
    """An exporter's file."""

    EXPORTER: Exporter


_registry: Registry[Format] = Registry("export format", __name__)
names, check = _registry.names, _registry.check


def get(name: str) -> Exporter:
    """Return the exporter of this format; raises UserError with the available ones."""
    return _registry.get(name).EXPORTER
