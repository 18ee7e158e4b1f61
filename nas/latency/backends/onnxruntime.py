"""ONNX Runtime on the processor: batch norms folded, activations fused, its own memory layout."""

from collections.abc import Callable

from torch import Tensor, nn

from nas.latency import _session
from nas.latency.backends._onnx import onnx_bytes

PACKAGES, EXTRA = ("onnxruntime", "onnx"), "onnx"
DEVICES = ("cpu",)
MEMORY_FORMAT = "contiguous"


def prepare(module: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    """Export the module and return a session's run."""
    return _session.runner(onnx_bytes(module, images), images.numpy(), threads)
