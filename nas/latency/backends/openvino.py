"""OpenVINO on the processor, in float32: it reads the ONNX file that onnxruntime is measured with.

Its own conversion of a module takes seconds, the file a tenth of one.
"""

import io
from collections.abc import Callable

from torch import Tensor, nn

from nas.latency.backends._onnx import onnx_bytes

PACKAGES, EXTRA = ("openvino", "onnx"), "onnx,openvino"
DEVICES = ("cpu",)
MEMORY_FORMAT = "contiguous"


def prepare(module: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    """Compile the exported module for one stream and return a request's inference."""
    import openvino

    core = openvino.Core()
    model = core.read_model(io.BytesIO(onnx_bytes(module, images)))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    feed = {0: images.numpy()}
    return lambda: request.infer(feed)
