"""The retina paper's for an EfficientNet with weights of other images: SGD of 1e-3.

Stated: SGD, 1e-3. Filled in: momentum, a constant rate (a cosine would be the usual), 20 epochs,
batches of 32, no weight decay and a flip.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 20, "batch_size": 32},
        "optimiser": {
            "name": "sgd",
            "learning_rate": 1e-3,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "clip_norm": 0.0,
        },
        "schedule": {"name": "step", "warmup_epochs": 0.0, "decay_rate": 1.0, "decay_epochs": 1.0},
        "loss": {"label_smoothing": 0.1},
        "regularisation": {"ema_decay": 0.0, "dropout": 0.2, "batch_norm_momentum": 0.01},
        "augmentation": off() | {"flip": True},
    }
