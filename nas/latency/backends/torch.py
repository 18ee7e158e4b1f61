"""Eager PyTorch: the network as it is trained, channels last, batch norms not folded."""

from collections.abc import Callable

from torch import Tensor, nn

PACKAGES, EXTRA = ("torch",), ""
DEVICES = ("cpu", "cuda")
MEMORY_FORMAT = "channels_last"


def prepare(module: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:  # noqa: ARG001 - torch's own
    """Return what runs the module itself; the caller sets PyTorch's number of threads."""
    return lambda: module(images)
