"""Wide ResNet's for CIFAR: SGD with Nesterov momentum (arXiv:1605.07146) and a cosine.

The cosine is that of Loshchilov and Hutter (arXiv:1608.03983) without restarts; images are shifted
by 4 of 32 pixels and mirrored.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 200, "batch_size": 128},
        "optimiser": {
            "name": "sgd",
            "learning_rate": 0.1,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "clip_norm": 0.0,
        },
        "schedule": {"name": "cosine", "warmup_epochs": 0.0},
        "loss": {"label_smoothing": 0.0},
        "regularisation": {"ema_decay": 0.0},
        "augmentation": off() | {"flip": True, "shift": 0.125},
    }
