"""A module as the bytes of an ONNX file, quickly: for measuring, not for shipping.

PyTorch's TorchScript exporter takes half a second where the newer one takes ten. Both write the
same operators, which the runtimes then fold and fuse alike (tests/test_latency_backends.py).
"""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 20  # the first with Gelu


def _channel_shuffle(graph: Any, images: Any, groups: Any) -> Any:
    """Write a channel shuffle, which this exporter has not, by the definition of ShuffleNet."""
    batch, channels, *size = images.type().sizes()
    count = int(groups.node().t("value"))

    def shape(*sizes: int) -> Any:
        return graph.op("Constant", value_t=torch.tensor(sizes))

    split = graph.op("Reshape", images, shape(batch, count, channels // count, *size))
    turned = graph.op("Transpose", split, perm_i=[0, 2, 1, 3, 4])
    return graph.op("Reshape", turned, shape(batch, channels, *size))


def onnx_bytes(module: nn.Module, images: Tensor) -> bytes:
    """Return a module in evaluation mode as an ONNX file for images of exactly this shape."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is older than the exporter for shipping
        torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
            "aten::channel_shuffle", _channel_shuffle, OPSET
        )
        torch.onnx.export(
            module,
            (images,),
            written,  # type: ignore[arg-type] # this exporter takes an open file too
            dynamo=False,
            opset_version=OPSET,
        )
    return written.getvalue()
