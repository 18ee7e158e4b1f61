"""The retina paper's for EfficientNet from scratch: Adam, halved where validation stands still.

Stated: Adam, 1e-3, the rate halved on a plateau. Filled in: a plateau of 5 epochs, 60 epochs,
batches of 32, and EfficientNet's label smoothing, dropout, stochastic depth and batch norm. Its
largest network had 1e-4, halved every 2 epochs: `--set optimiser.learning_rate=1e-4 --set
schedule.name=step --set schedule.decay_epochs=2`.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 60, "batch_size": 32},
        "optimiser": {
            "name": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "clip_norm": 0.0,
        },
        "schedule": {
            "name": "plateau",
            "warmup_epochs": 0.0,
            "decay_rate": 0.5,
            "decay_epochs": 5.0,
        },
        "loss": {"label_smoothing": 0.1},
        "regularisation": {
            "ema_decay": 0.0,
            "dropout": 0.2,
            "stochastic_depth": 0.2,
            "batch_norm_momentum": 0.01,
        },
        "augmentation": off() | {"flip": True},
    }
