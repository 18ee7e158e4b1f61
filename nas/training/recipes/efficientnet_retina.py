"""The retina paper's for EfficientNet on photographs of five grades: classes drawn equally often.

Stated: RandAugment that favours shape over colour, sampling multipliers of 0.272 to 9.922, which
are in proportion to 1/n, RMSprop of 0.9, 0.97 in steps of 2.4 epochs, batch norm's 0.99, dropout
and stochastic depth. Filled in: 60 epochs in batches of 32, the learning rate in the proportion of
EfficientNet's, two epochs of warm-up, 2 operations of magnitude 5, timm's weights of the operations
("w0"), a flip, the rates of 0.2.
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
            "name": "step",
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
        "augmentation": off()
        | {"randaugment": 2, "randaugment_magnitude": 5.0, "randaugment_shape": True, "flip": True},
    }
