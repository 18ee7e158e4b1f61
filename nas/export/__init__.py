"""The registry of exporters: one file per format, found by looking into this folder.

An exporter file has the functions of `Exporter`; the file's name is the format's name. Looking up
the names imports nothing, so that a command line can check a format without torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nas.architecture import Architecture, Value
from nas.data.pixels import PixelReading
from nas.registry import Registry
from nas.training.targets import ClassTargets, Targets

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """Facts that an exported file states and the architecture does not have.

    `recipe` has the values of the recipe that a search found, by their keys. `validation` and
    `test` are metrics by name. `mean` and `std` are per channel, of pixel values
    from 0 to 1, as the network was trained with them; empty where its training images are
    unknown. `reading` is how pixels became those values. `targets` say what the outputs mean.
    `date` is ISO 8601.
    """

    score: float | None = None
    recipe: Mapping[str, Value] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    class_names: tuple[str, ...] = ()
    date: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    reading: PixelReading = field(default_factory=PixelReading)
    targets: Targets = field(default_factory=ClassTargets)


class Exporter(Protocol):
    """An exporter's file."""

    def export(
        self,
        architecture: Architecture,
        state: "Mapping[str, Tensor] | None",
        out_dir: Path,
        facts: Facts,
    ) -> Path:
        """Write the network with its weights into a folder; return the path of the file.

        Without a state it is written alone, to be trained elsewhere. Raises NasError, and leaves
        nothing new in the folder, where the file's outputs are not the built network's.
        """

    def load(self, path: Path) -> "Callable[[Tensor], Tensor]":
        """Return the function from images to logits that an exported file holds."""


_registry: Registry[Exporter] = Registry("export format", __name__)
names, check, get = _registry.names, _registry.check, _registry.get
