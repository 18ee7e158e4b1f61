"""The kernel sweep's for MixNet-S on brain MRI: RMSprop, 0.03, decayed every 2.4 epochs.

Stated: batches of 32, 20 epochs, RMSprop, decay every 2.4 epochs, a warm-up that begins at 1e-6 and
learning rates from 0.3 to 3e-5, of which 0.03 was best; with class weights and without, which is
here `--set loss.class_balance=1` or nothing. Filled in, from MixNet's own training: the factor of
0.97, momentum, weight decay, batch norm's momentum; two epochs of warm-up, from nearly 0, and a
flip. All of its networks gave one class alone: rank by balanced accuracy.
"""

from typing import Any

from nas.data import DataSet
from nas.training.augmentations import off


def values(_: DataSet) -> dict[str, dict[str, Any]]:
    """Return the published values."""
    return {
        "training": {"epochs": 20, "batch_size": 32},
        "optimiser": {
            "name": "rmsprop",
            "learning_rate": 0.03,
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
        "loss": {"label_smoothing": 0.0, "class_balance": 0.0},
        "regularisation": {"ema_decay": 0.0, "batch_norm_momentum": 0.01},
        "augmentation": off() | {"flip": True},
    }
