"""OpenVINO on the processor, in float32, as `nas export --format openvino` writes a network."""

import warnings
from collections.abc import Callable

from torch import Tensor, nn

PACKAGES, EXTRA = ("openvino",), "openvino"
DEVICES = ("cpu",)
MEMORY_FORMAT = "contiguous"


def prepare(module: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    """Convert the module, compile it for one stream, and return a request's inference."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces the module in a way that PyTorch calls old
        shape = list(images.shape)
        model = openvino.convert_model(module, example_input=images, input=[shape])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    feed = {0: images.numpy()}
    return lambda: request.infer(feed)
