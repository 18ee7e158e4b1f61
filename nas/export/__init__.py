"""The registry of exporters: one file per format, found by looking into this folder.

An exporter file has the members of `Exporter`; the file's name, with hyphens, is the format's name.
Looking up the names imports nothing, so that a command line can check a format without torch.
`proof` writes a network in a format and runs what was written; `graph` is the network as torch's
graph, which most formats are made of; `package` is a package around the Python file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nas.architecture import Architecture, Value
from nas.data import DataSet
from nas.data.pixels import PixelReading
from nas.registry import Registry
from nas.training.recipe import Recipe
from nas.training.targets import ClassTargets, Targets

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

MAX_LOSS = 2.0  # percentage points of the metric that a quantised network may lose


@dataclass(frozen=True)
class Facts:
    """Facts that an exported file states and the architecture does not have.

    `recipe` has the values of the recipe that a search found, by their keys. `validation` and
    `test` are metrics by name. `mean` and `std` are per channel, of pixel values
    from 0 to 1, as the network was trained with them; empty where its training images are
    unknown. `reading` is how pixels became those values. `targets` say what the outputs mean.
    `date` is ISO 8601. `training` tells the training whose weights these are from others.
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
    training: str = ""


@dataclass(frozen=True)
class ExportOptions:
    """The options of formats; each exporter names those that it heeds.

    `preprocess`: the file takes pixels, uint8, and standardises them itself. `fold_batch_norm`: a
    batch norm after convolutions becomes part of their weights. `max_loss`: percentage points of
    the metric on the validation split that a quantised network may lose. `package`: a package that
    is installed and trained anew comes with the file.
    """

    preprocess: bool = False
    fold_batch_norm: bool = False
    max_loss: float = MAX_LOSS
    package: bool = False


@dataclass(frozen=True, eq=False)
class Exportable:
    """A network with its weights, and all that an exporter may use besides.

    `data` are the images that it was trained on, where they are at hand; `metric` is the one that
    it was chosen by. `recipe` trained it, in the study of this `name`; both are for a package. The
    graph is traced once for all formats.
    """

    architecture: Architecture
    state: "Mapping[str, Tensor]"
    facts: Facts = field(default_factory=Facts)
    options: ExportOptions = field(default_factory=ExportOptions)
    data: DataSet | None = None
    metric: str = "accuracy"
    recipe: Recipe | None = None
    name: str = ""

    @cached_property
    def module(self) -> "nn.Module":
        """The network that formats are made of, as the options say: (N, C, R, R) in, logits out."""
        from nas.export import graph

        return graph.module_of(self)

    @cached_property
    def program(self) -> "ExportedProgram":
        """The module as torch.export traces it, for any number of images."""
        from nas.export import graph

        return graph.traced(self)


class Written(NamedTuple):
    """The main file of an export, and numbers to state with it."""

    path: Path
    stated: Mapping[str, Any] = {}


class Exporter(Protocol):
    """An exporter's file.

    `EXTRA` brings `PACKAGES`, by the names that Python imports; `RUNTIME` is the distribution whose
    version is stated as that which ran the file. `OPTIONS` are the fields of `ExportOptions` that
    the exporter heeds. `TOLERANCE` is the largest difference of an output from the built network's,
    relative to the largest output, where the network's own rounding is not more; None where `write`
    itself decides what is near enough. With `NEEDS_DATA` the exporter can't do without the data
    set.
    """

    EXTRA: str | None
    PACKAGES: tuple[str, ...]
    RUNTIME: str
    OPTIONS: tuple[str, ...]
    TOLERANCE: float | None
    NEEDS_DATA: bool

    def write(self, exportable: Exportable, folder: Path) -> Written:
        """Write the network into an empty folder. Raises NasError where that is impossible."""

    def load(self, path: Path) -> "Callable[[Tensor], Tensor]":
        """Return the function from images to logits that a file holds, run by its own runtime."""


_registry: Registry[Exporter] = Registry(
    "export format", __name__, hyphens=True, helpers=("proof", "graph", "package", "verdict")
)
names, check, get = _registry.names, _registry.check, _registry.get
