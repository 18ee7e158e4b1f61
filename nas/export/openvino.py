"""Export as OpenVINO's representation, for Intel's processors, GPUs and NPUs."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.export import Exportable, Written, graph

EXTRA = "openvino"
PACKAGES = ("openvino",)
RUNTIME = "openvino"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.xml and model.bin, with weights in float32."""
    import openvino

    path = folder / "model.xml"
    images = graph.example(exportable, graph.BATCH)
    model = openvino.convert_model(
        exportable.module, example_input=images, input=[-1, *images.shape[1:]]
    )
    model.inputs[0].set_names({graph.IMAGES})
    model.outputs[0].set_names({graph.LOGITS})
    openvino.save_model(model, path, compress_to_fp16=False)
    return Written(path)


def load(path: Path, threads: int = 1) -> Callable[[Tensor], Tensor]:
    """Compile the model for the processor; it computes in float32 there, as torch does."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", hints)
    return lambda images: torch.from_numpy(compiled(images.numpy())[0].copy())
