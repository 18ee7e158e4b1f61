"""The pneumonia paper's for ConvNeXt on chest X-rays: AdamW, exponential decay, weighted classes.

Its positive class weighs N-/N and its negative one N+/N, which is by inverse frequency. It says the
learning rate of 1e-4, its exponential decay and 10 epochs; the factor of 0.9 an epoch, the angle
and the batch are ours. Its accuracy misleads: F1 is the metric.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 10, "metric": "macro_f1", "batch_size": 32},
        "optimiser": {"name": "adamw", "learning_rate": 1e-4, "clip_norm": 0.0},
        "schedule": {
            "name": "exponential",
            "warmup_epochs": 0.0,
            "decay_rate": 0.9,
            "decay_epochs": 1.0,
        },
        "loss": {"label_smoothing": 0.0, "class_weights": "inverse_frequency"},
        "regularisation": {"ema_decay": 0.0},
        "augmentation": off()
        | {"flip": True, "rotation": 10.0, "grayscale": 0.1, "resized_crop": 0.2},
    }
