"""PyTorch's compiler (TorchInductor): seconds to minutes of compiling for each network."""

import os
import shutil
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.errors import UserError

PACKAGES, EXTRA = ("torch",), ""
DEVICES = ("cpu", "cuda")
MEMORY_FORMAT = "channels_last"


def prepare(module: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:  # noqa: ARG001 - torch's own
    """Compile a module for images of this shape; raises UserError without a C++ compiler."""
    compilers = [os.environ.get("CXX") or "g++", "clang++", "c++"]
    if images.device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise UserError(
            "The latency back end torch-compile needs a C++ compiler such as g++; none is on PATH."
        )
    # An exported graph has code of its own. All our networks share one `forward`, of which PyTorch
    # compiles a few variants and then, without an error, runs the rest eagerly.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about its own parts
        graph = torch.export.export(module, (images,)).module()
        compiled = torch.compile(graph, fullgraph=True, dynamic=False)
        compiled(images)
    return lambda: compiled(images)
