"""Export as torch.export's file: a graph that torch runs, compiles and lowers without our code."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.export import Exportable, Written

EXTRA = None
PACKAGES = ("torch",)
RUNTIME = "torch"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.pt2."""
    path = folder / "model.pt2"
    torch.export.save(exportable.program, path)
    return Written(path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load the graph as a module."""
    module: nn.Module = torch.export.load(path).module()
    return module
