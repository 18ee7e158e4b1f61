"""For one network that is trained in full: longer, with more regularisation.

A longer training over-fits small data, so features and residual branches are dropped, and the
average of the weights reaches further back. Batch norm has the statistics of plain images, since
those of augmented ones shift the answers; labels are not smoothed. How far each value is tuned:
docs/guides/recipes.md.
"""

from typing import Any

from nas.data import DataSet
from nas.training.recipes import LONGER, default_updates, epochs_of


def values(data: DataSet) -> dict[str, dict[str, Any]]:
    """Return the length that the number of images asks for, and the regularisation."""
    return {
        "training": epochs_of(LONGER * default_updates(len(data.splits["train"]))),
        "loss": {"label_smoothing": 0.0},
        "regularisation": {
            "ema_decay": 0.998,
            "dropout": 0.2,
            "stochastic_depth": 0.1,
            "batch_norm_images": 512,
        },
    }
