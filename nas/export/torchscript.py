"""Export as TorchScript: a traced graph for LibTorch in C++, and for older PyTorch."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.export import Exportable, Written, graph

EXTRA = None
PACKAGES = ("torch",)
RUNTIME = "torch"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.torchscript.pt."""
    path = folder / "model.torchscript.pt"
    images = graph.example(exportable, graph.BATCH)
    traced = torch.jit.trace(exportable.module, images, check_trace=False)  # type: ignore[no-untyped-call]
    traced.save(str(path))
    return Written(path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load the traced graph."""
    module: nn.Module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return module
