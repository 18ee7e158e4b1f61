"""ME-NeSt-Ghost's for CIFAR-100: RandAugment of magnitude 10, AdamW, a cosine.

Stated: 100 epochs, RandAugment of magnitude 10, label smoothing, AdamW of 1e-4 with weight decay
1e-6, a cosine to 1e-6. Filled in: 2 operations of RandAugment, a smoothing of 0.1, a flip, batches
of 64.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 100},
        "optimiser": {
            "name": "adamw",
            "learning_rate": 1e-4,
            "weight_decay": 1e-6,
            "clip_norm": 0.0,
        },
        "schedule": {"name": "cosine", "warmup_epochs": 0.0, "final_learning_rate": 1e-6},
        "loss": {"label_smoothing": 0.1},
        "regularisation": {"ema_decay": 0.0},
        "augmentation": off() | {"randaugment": 2, "randaugment_magnitude": 10.0, "flip": True},
    }
