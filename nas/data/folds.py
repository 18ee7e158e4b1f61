"""Folds: train and validation images in K parts, each scored by a network trained on the others.

A fold has its share of each class; where images have several labels, an image counts for the rarest
of its own. The images of a group, such as a patient's, are in one fold.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nas.data.dataset import DataSet, Images, Split, members, strata
from nas.errors import DataError

Indices = npt.NDArray[np.intp]


def joined(data: DataSet) -> Split:
    """Return the train and validation images as one split, the train images first."""
    parts = [data.splits["train"], data.splits["validation"]]

    @lru_cache(1)
    def images(resolution: int) -> Images:
        return np.concatenate([part.images(resolution) for part in parts])

    groups = [part.groups for part in parts if part.groups is not None]
    labels = np.concatenate([part.labels for part in parts])
    return Split(labels, images, np.concatenate(groups) if len(groups) == len(parts) else None)


def part(split: Split, indices: Indices) -> Split:
    """Return some images of a split."""
    groups = None if split.groups is None else split.groups[indices]
    return Split(split.labels[indices], lambda size: split.images(size)[indices], groups)


def divided(data: DataSet, count: int) -> list[Indices]:
    """Return the indices into `joined(data)` of each of `count` folds, always alike.

    Raises DataError where a class has fewer images, or groups of images, than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    split = joined(data)
    most, rarest, units = _most(data, split)
    if count > most:
        raise DataError(
            f"Every class needs an image, or a group of images, in each of {count} folds; class "
            f"{rarest!r} has {most} {units} in train and validation. --folds 1 scores on the "
            "validation split."
        )
    kind = StratifiedKFold if split.groups is None else StratifiedGroupKFold
    parts = kind(count, shuffle=True, random_state=0)
    keys = strata(split.labels, count)
    pairs = parts.split(keys, keys, split.groups)  # type: ignore[no-untyped-call]
    folds = [fold for _, fold in pairs]
    for fold in folds:
        left = members(np.delete(split.labels, fold, axis=0), len(data.classes)).sum(0).tolist()
        if not all(left) or not len(fold):
            absent = [
                repr(name) for name, there in zip(data.classes, left, strict=True) if not there
            ]
            names = ", ".join(absent) or "any class"
            raise DataError(
                f"No {count} folds keep groups together and leave images of {names} to train on; "
                "ask for fewer --folds, or for 1, which scores on the validation split."
            )
    return folds


def _most(data: DataSet, split: Split) -> tuple[int, str, str]:
    """Return the largest possible number of folds, the class that limits it, and its units."""
    has = members(split.labels, len(data.classes))
    if split.groups is None:
        counts, units = has.sum(0).tolist(), "images"
    else:
        counts = [len(np.unique(split.groups[each])) for each in has.T]
        units = "groups"
    rarest = int(np.argmin(counts))
    return counts[rarest], data.classes[rarest], units


def possible(data: DataSet, wanted: int) -> int:
    """Return the largest possible number of folds up to `wanted`; 1 where no 2 are possible."""
    for count in range(min(wanted, _most(data, joined(data))[0]), 1, -1):
        try:
            divided(data, count)
        except DataError:  # its groups are too large
            continue
        return count
    return 1
