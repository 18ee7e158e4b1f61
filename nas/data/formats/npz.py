"""NPZ files in MedMNIST's layout: `train_images`, `train_labels`, `val_*`, `test_*`.

Images are uint8, (N, H, W) or (N, H, W, 1) gray or (N, H, W, 3) RGB; labels are integers, (N,) or
(N, 1), or (N, L) of 0 and 1 where an image may have several of L labels. A split that is not there
is carved out of the train split. `classes` may name the classes or labels, and arrays such as
`train_groups`, (N,), the group of each image. Other ways of writing the same are read where their
meaning is plain: names such as `valid_images` and `x_train`, channels first, other types.
Yang et al., MedMNIST v2, Scientific Data 10, 41, 2023.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.data.array_set import array_set
from nas.data.arrays import Arrays
from nas.data.dataset import SPLITS, DataSet, Origin, check_classes
from nas.data.labels import Raw, numbered_classes, raw_labels, text, without_one_hot
from nas.data.request import DataRequest
from nas.errors import DataError

Keys = Mapping[str, str]  # an array's name, by its split

_IMAGES, _LABELS = "images?|imgs?|x", "labels?|targets?|y"
_CLASSES = "classes|class_names|label_names"
_SPLITS = {
    "train": "train(?:ing)?",
    "validation": "val(?:id(?:ation)?)?|dev",
    "test": "test(?:ing)?",
}
_SPLIT = "|".join(_SPLITS.values())

WORDS = "an .npz in MedMNIST's layout"
ENDINGS = (".npz",)
HAS_GROUPS = True


def takes(path: Path) -> bool:
    """Tell whether a path is of this format."""
    return path.suffix.lower() in ENDINGS and not path.is_dir()


def load(path: Path, request: DataRequest, classes: Sequence[str] | None = None) -> DataSet:
    """Read the data set in one .npz file. Raises DataError when it has not MedMNIST's layout.

    The request's groups are what the names of the arrays of groups have after the split, such as
    "groups". `classes` name the classes where the file does not.
    """
    request.refuse(path.name, groups=False)
    arrays = Arrays(path)
    of_images, of_labels = _by_split(arrays, _IMAGES), _by_split(arrays, _LABELS)
    _check_pairs(of_images, of_labels, arrays)
    images = {split: _images(arrays[key], key) for split, key in of_images.items()}
    kinds = {of_images[n]: (*part.shape[1:], str(part.dtype)) for n, part in images.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(f"All splits need images of one shape and type; {path} has {kinds}.")
    raw, notes = without_one_hot(
        {s: raw_labels(arrays[key], len(images[s]), key) for s, key in of_labels.items()}, path
    )
    of_names = _by_split(arrays, _CLASSES, splits=False)
    names = text(arrays[of_names["train"]]).tolist() if of_names else classes
    known, labels = numbered_classes(raw, names, path)
    check_classes(known, labels["train"], where=path)
    if any(
        len(s := arrays[key].shape) == 4 and s != images[n].shape for n, key in of_images.items()
    ):
        notes.append("channels come first in the file")
    of_groups = {} if request.groups is None else _group_keys(arrays, request.groups, of_images)
    found = [g for n, key in of_groups.items() for g in _groups(arrays[key], key, len(labels[n]))]
    read = {key for keys in (of_images, of_labels, of_names, of_groups) for key in keys.values()}
    unread = sorted(set(arrays) - read)
    origin = Origin(left_out={"arrays of other names": unread} if unread else {}, notes=notes)
    return array_set(
        path, images, labels, known, groups=found, origin=origin, reading=request.reading
    )


def image_files(_: Path) -> Sequence[str]:
    """Return no path: the images lie in the file."""
    return ()


def _by_split(arrays: Arrays, names: str, *, splits: bool = True) -> dict[str, str]:
    """Return the arrays of a kind by their splits: train_images, x_test; images alone are train's.

    Raises DataError for two arrays of one split.
    """
    found: dict[str, list[str]] = {}
    either = re.compile(rf"(?:({_SPLIT})_)?(?:{names})|(?:{names})_({_SPLIT})", re.IGNORECASE)
    for key in arrays:
        if match := either.fullmatch(key):
            name = (match[1] or match[2] or "").lower()
            is_of = (s for s, each in _SPLITS.items() if re.fullmatch(each, name))
            if splits or not name:
                found.setdefault(next(is_of, ""), []).append(key)
    alone = found.pop("", [])
    if alone and "train" not in found:
        found["train"] = alone
    for split, keys in found.items():
        if len(keys) > 1:
            raise DataError(
                f"{arrays.path} has {' and '.join(map(repr, keys))} for the same, "
                f"{split if splits else 'the names of classes'}: leave one out."
            )
    return {split: found[split][0] for split in SPLITS if split in found}


def _check_pairs(images: Keys, labels: Keys, arrays: Arrays) -> None:
    """Refuse a split of which there are only images or only labels, and a file without train."""
    if "train" not in images.keys() & labels.keys():
        raise DataError(
            f"An .npz data set needs the keys 'train_images' and 'train_labels'; {arrays.path} has:"
            f" {', '.join(sorted(arrays)) or 'none'}."
        )
    for split in images.keys() ^ labels.keys():
        key = images.get(split) or labels[split]
        raise DataError(f"A split needs both images and labels; of {split} there is only {key!r}.")


def _images(given: Raw, key: str) -> Raw:
    """Return images as (N, H, W, C); channels may come first."""
    images = given[..., None] if given.ndim == 3 else given
    if images.ndim == 4 and images.shape[1] == images.shape[3] == 3:
        raise DataError(
            f"Images need the shape (N, H, W, 3), or (N, 3, H, W); {key} has {given.shape}, which "
            "may be either."
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            "Images need the shape (N, H, W) for gray or (N, H, W, 3) for RGB, and at least one; "
            f"{key} has {given.shape}."
        )
    if images.dtype.kind not in "buif":
        raise DataError(f"Images need numbers, best of type uint8; {key} has {images.dtype}.")
    return images


def _group_keys(arrays: Arrays, name: str, images: Keys) -> dict[str, str]:
    """Return the arrays of the groups of each split."""
    found = _by_split(arrays, re.escape(name))
    if missing := [split for split in images if split not in found]:
        key = f"{'val' if missing[0] == 'validation' else missing[0]}_{name}"
        raise DataError(
            f"--groups {name!r} needs the array {key!r} in {arrays.path}, which has: "
            f"{', '.join(sorted(arrays))}."
        )
    return {split: found[split] for split in images}


def _groups(values: Raw, key: str, count: int) -> list[str]:
    """Return the group of every image of a split."""
    if values.shape not in ((count,), (count, 1)) or values.dtype.kind not in "iuUS":
        raise DataError(
            f"Groups need the shape ({count},), one whole number or text per image; "
            f"{key} has {values.shape} of type {values.dtype}."
        )
    return [str(each) for each in text(values)]
