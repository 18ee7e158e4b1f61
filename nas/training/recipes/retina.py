"""The retina paper's for EfficientNet on photographs of five grades: classes drawn equally often.

Its sampling multipliers, 0.272 to 9.922, are in proportion to 1/n; RMSprop decays by 0.97 every 2.4
epochs. The number of epochs, the learning rate and RandAugment's N and M are not stated: those here
are ours, the learning rate in the proportion of EfficientNet's.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 60, "batch_size": 32, "balanced_sampling": 1.0},
        "optimiser": {
            "name": "rmsprop",
            "learning_rate": 0.256 * 32 / 4096,
            "momentum": 0.9,
            "weight_decay": 1e-5,
            "clip_norm": 0.0,
        },
        "schedule": {
            "name": "exponential",
            "warmup_epochs": 2.0,
            "decay_rate": 0.97,
            "decay_epochs": 2.4,
        },
        "loss": {"label_smoothing": 0.1},
        "regularisation": {
            "ema_decay": 0.0,
            "dropout": 0.2,
            "stochastic_depth": 0.2,
            "batch_norm_momentum": 0.01,
        },
        "augmentation": off() | {"randaugment": 2, "randaugment_magnitude": 5.0, "flip": True},
    }
