"""Export as ONNX with 8-bit weights and activations, by static quantisation after training.

The ranges of activations come from images of the train split. The metric on the validation split
before and after is stated; a file that loses more than `max_loss` points is refused.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data import DataSet
from nas.errors import NasError
from nas.export import Exportable, Written, graph, onnx
from nas.training.images import most_at_once
from nas.training.metrics import gain, measure
from nas.training.metrics.predictions import Predictions

EXTRA = "onnx"
PACKAGES = onnx.PACKAGES
RUNTIME = "onnxruntime"
OPTIONS: tuple[str, ...] = ("preprocess", "max_loss")
TOLERANCE = None
NEEDS_DATA = True
CALIBRATION = 256  # images of the train split
AT_ONCE = 32
load = onnx.load


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.int8.onnx; NasError where it loses more of the metric than is allowed.

    Batch norm is folded first: its own 8 bits would only add error.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    data = exportable.data
    assert data is not None  # since NEEDS_DATA
    path, whole, prepared = (folder / f"model.{x}onnx" for x in ("int8.", "", "prepared."))
    options = replace(exportable.options, fold_batch_norm=True)
    onnx.write(replace(exportable, options=options), folder)
    quant_pre_process(str(whole), str(prepared))
    quantize_static(
        str(prepared), str(path), _Calibration(exportable, data), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    before, after = (_metric(exportable, data, load(file)) for file in (whole, path))
    name = exportable.metric
    loss = 100 * (gain(name, before) - gain(name, after))
    if not loss <= exportable.options.max_loss:
        raise NasError(
            f"{name} on the validation split falls from {before:.4f} to {after:.4f}, by {loss:.1f}"
            f" points; --max-loss allows {exportable.options.max_loss:g}."
        )
    os.unlink(whole)
    os.unlink(prepared)
    stated = {"metric": name, "float32": before, "int8": after, "loss_points": loss}
    return Written(path, stated)


class _Calibration:
    """Images of the train split, evenly taken, as onnxruntime's calibration asks for them."""

    def __init__(self, exportable: Exportable, data: DataSet) -> None:
        images = data.splits["train"].images(exportable.architecture.resolution)
        self.batches = _batches(exportable, images[:: -(-len(images) // CALIBRATION)], AT_ONCE)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next images by the input's name; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {graph.IMAGES: batch.numpy()}


def _batches(exportable: Exportable, images: Any, size: int) -> Iterator[Tensor]:
    for at in range(0, len(images), size):
        yield graph.inputs(exportable, images[at : at + size])


def _metric(exportable: Exportable, data: DataSet, run: Callable[[Tensor], Tensor]) -> float:
    """Return the metric on the validation split of what a runtime computes."""
    split, size = data.splits["validation"], exportable.architecture.resolution
    batches = _batches(exportable, split.images(size), most_at_once(size))
    logits = torch.cat([run(images) for images in batches])
    rule = exportable.facts.targets.rule
    predictions = Predictions(logits.numpy(), split.labels, data.classes, answer=rule)
    return float(measure(predictions, [exportable.metric])[exportable.metric])
