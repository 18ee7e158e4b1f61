"""Export for LiteRT, formerly TensorFlow Lite, on phones and boards: one image at a time.

No extra brings the converter: litert-torch 0.10 takes torch 2.13, but a package that it brings,
xdsl, wants an older typing-extensions than the versions that nas is tested with.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.export import Exportable, Written, graph

EXTRA = None
PACKAGES = ("litert_torch", "ai_edge_litert")
RUNTIME = "ai-edge-litert"
OPTIONS: tuple[str, ...] = ("preprocess", "fold_batch_norm")
TOLERANCE = 1e-4
NEEDS_DATA = False


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.tflite."""
    import litert_torch

    path = folder / "model.tflite"
    litert_torch.convert(exportable.module, (graph.example(exportable, 1),)).export(str(path))
    return Written(path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Open the model in LiteRT's interpreter; images run one by one."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    (given,), (answer,) = runner.get_input_details(), runner.get_output_details()

    def run(images: Tensor) -> Tensor:
        outputs = (runner(**{given: image[None].numpy()})[answer] for image in images)
        return torch.cat([torch.from_numpy(logits.copy()) for logits in outputs])

    return run
