"""Export as ONNX: one file for onnxruntime and many others, for any number of images."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.export import Exportable, Written, graph

EXTRA = "onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
RUNTIME = "onnxruntime"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False
THREADS = 1


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.onnx by torch's exporter that goes by the traced graph."""
    path = folder / "model.onnx"
    program = torch.onnx.export(
        exportable.program, dynamo=True, verbose=False,
        input_names=[graph.IMAGES], output_names=[graph.LOGITS],
    )  # fmt: skip
    assert program is not None  # so it is with dynamo
    program.save(path, external_data=False)
    return Written(path)


def load(path: Path, threads: int = THREADS) -> Callable[[Tensor], Tensor]:
    """Open the file in onnxruntime, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {given.name: images.numpy()})
        return torch.from_numpy(logits)

    return run
