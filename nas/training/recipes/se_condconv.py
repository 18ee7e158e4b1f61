"""The SE and CondConv paper's for ImageNet-100 at 56 px: 55 epochs of crops, flips and a cosine.

Stated: 55 epochs, a learning rate of 2e-4, and the usual routine of ImageNet, that is crop, flip
and cosine. Filled in: AdamW with a weight decay of 0.05, batches of 64, crops of at least 8 % of
the image.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 55, "batch_size": 64},
        "optimiser": {
            "name": "adamw",
            "learning_rate": 2e-4,
            "weight_decay": 0.05,
            "clip_norm": 0.0,
        },
        "schedule": {"name": "cosine", "warmup_epochs": 0.0},
        "loss": {"label_smoothing": 0.0},
        "regularisation": {"ema_decay": 0.0},
        "augmentation": off() | {"flip": True, "resized_crop": 0.92},
    }
