"""EfficientNet's and MixNet's, as published for ImageNet (arXiv:1905.11946, arXiv:1907.09595).

Stated: RMSprop with 0.9, 0.97 every 2.4 epochs from 0.256, weight decay 1e-5, batch norm's 0.99,
AutoAugment, dropout and stochastic depth of 0.2. Filled in: batches of 64, to which the learning
rate of batches of 4,096 is brought in proportion, 350 epochs, 5 of them warm-up, label smoothing,
crops, a flip, and an average of the weights of 0.9999, for hundreds of thousands of updates.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 350, "batch_size": 64},
        "optimiser": {
            "name": "rmsprop",
            "learning_rate": 0.256 * 64 / 4096,
            "momentum": 0.9,
            "weight_decay": 1e-5,
            "clip_norm": 0.0,
        },
        "schedule": {
            "name": "exponential",
            "warmup_epochs": 5.0,
            "decay_rate": 0.97,
            "decay_epochs": 2.4,
        },
        "loss": {"label_smoothing": 0.1},
        "regularisation": {
            "ema_decay": 0.9999,
            "dropout": 0.2,
            "stochastic_depth": 0.2,
            "batch_norm_momentum": 0.01,
        },
        "augmentation": off() | {"autoaugment": True, "flip": True, "resized_crop": 0.92},
    }
