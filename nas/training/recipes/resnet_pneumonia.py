"""The pneumonia paper's for ResNet-50 on chest X-rays: that of ConvNeXt with Adam.

Stated: Adam. All else is that of `convnext_pneumonia`, filled in where that is; Adam's weight decay
is part of the gradient, and is 0 here.
"""

from typing import Any

from nas.data import DataSet
from nas.training.recipes import convnext_pneumonia


def values(data: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    optimiser = {"name": "adam", "learning_rate": 1e-4, "weight_decay": 0.0, "clip_norm": 0.0}
    return convnext_pneumonia.values(data) | {"optimiser": optimiser}
