"""Augmentation that adapts: weakened while a network has neither learnt its images nor over-fits.

Augmented images are harder. That helps a network that would learn its train images by heart, and
holds back one that has not learnt them yet. Which of them a network is shows after each epoch: by
its loss on plain train images, and by how much that on validation images is above it. While it has
not learnt the first and the second is little, all strengths are made smaller by a step, else larger
again, up to the recipe's. So a network that knows its images ends at full strength. (Karras et al.,
arXiv:2006.06676, steer the augmentation of a GAN by such a measure.)
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import entr

from nas.data import DataSet
from nas.training.augmentations import OPERATIONS, Augmentation
from nas.training.metrics import FIT, SHARE

GAP = "overfitting"  # the augmentation's row: of the loss of no skill
LEARNT = "learnt"  # its setting: below this share of the loss of no skill images are learnt
SEEN = 512  # train images that it is measured on, at most
STEP = 1.25  # a factor of the strengths, from epoch to epoch
LEAST = 0.1  # of the strengths
RELATIVE = 0.7  # of the validation loss: above it a network over-fits, however small the loss is


def no_skill_loss(data: DataSet) -> float:
    """Return the log loss of answers that know the classes' frequencies and not the images."""
    labels = data.splits["train"].labels
    if data.task == "labels":
        has = labels.mean(0)
        return float(entr([has, 1 - has]).sum(0).mean())
    return float(entr(np.bincount(labels) / len(labels)).sum())


def next_share(strengths: Augmentation, data: DataSet, last: Mapping[str, float] | None) -> float:
    """Return the share of the strengths that an epoch has; `last` has the epoch's before."""
    if GAP not in strengths or last is None:
        return 1.0
    over, most = last["loss"] - last[FIT], no_skill_loss(data)
    is_learnt = last[FIT] < strengths.get(LEARNT, 0.0) * most
    if not is_learnt and over < min(strengths[GAP] * most, RELATIVE * last["loss"]):
        return max(LEAST, last[SHARE] / STEP)
    return min(1.0, last[SHARE] * STEP)


def weakened(strengths: Augmentation, share: float) -> Augmentation:
    """Return a share of the strengths; what is only on or off, or a whole number, stays."""
    return {
        name: share * strength if _is_graded(name) else strength
        for name, strength in strengths.items()
    }


def _is_graded(name: str) -> bool:
    row = OPERATIONS[name]
    return not (name == GAP or row.whole or row.of or isinstance(row.neutral, bool))
