"""A data set: labelled images in three splits, resized once per resolution.

Everything here is numpy and Pillow, so that reading a data set never imports torch.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.data.groups import Groups, divide
from nas.data.pixels import PixelReading
from nas.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

Task = Literal["classes", "labels"]

SPLITS = ("train", "validation", "test")

_KEPT_RESOLUTIONS = 2  # a worker goes to and fro between few resolutions


@dataclass(frozen=True)
class Split:
    """Labelled images of one part of a data set.

    `labels`: (N,) class indices, or (N, L) of 0 and 1 where an image may have several of L labels.
    `images(resolution)`: (N, R, R, C) uint8, resized once (bilinear, antialiased; both sides, so
    what is not square is stretched) and then kept.
    `groups`: (N,) the number of each image's group, such as its patient; all images of a group are
    in one split and in one fold. `files` are the images' paths below the folder that has them.
    """

    labels: Labels
    images: Callable[[int], Images]
    groups: Groups | None = None
    files: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def majority_rate(self) -> float:
        """Return the accuracy of always giving the most frequent answer, the mean over labels."""
        if self.labels.ndim == 2:
            shares = self.labels.mean(0)
            return float(np.maximum(shares, 1 - shares).mean())
        return float(np.bincount(self.labels).max() / len(self.labels))


@dataclass(frozen=True)
class Origin:
    """The images as they were read, before they were resized.

    `sizes` counts them by (width, height) in pixels, `modes` by Pillow's mode, such as L or RGB;
    `left_out` names, by the reason, the files or arrays that are not part of the set. `notes` say
    how the others were understood, where that is not plain.
    """

    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class DataSet:
    """Images to search on; `fingerprint` is the hash of their content, labels and splits.

    `native_resolution` is the larger side of the largest image, in pixels. `forbids` names the
    augmentation operations that would destroy labels, such as the flip of a digit. `reading` is how
    pixels became 8 bits.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    in_channels: int
    native_resolution: int
    forbids: frozenset[str]
    splits: Mapping[str, Split]
    origin: Origin = field(default_factory=Origin)
    reading: PixelReading = field(default_factory=PixelReading)

    @property
    def task(self) -> Task:
        """Return "classes" where an image has one of the classes, "labels" where it has any."""
        return "labels" if self.splits["train"].labels.ndim == 2 else "classes"


def in_memory(images: Images, labels: Labels, groups: Groups | None = None) -> Split:
    """Make a split of `images`, (N, H, W, C) uint8, that lie in memory."""
    kept = lru_cache(_KEPT_RESOLUTIONS)(lambda resolution: _resized(images, resolution))
    return Split(labels, kept, groups)


def _resized(images: Images, resolution: int) -> Images:
    if images.shape[1:3] == (resolution, resolution):
        return np.ascontiguousarray(images)
    result = np.empty((len(images), resolution, resolution, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        result[index] = resize(
            Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image), resolution
        )
    return result


def resize(image: Image.Image, resolution: int) -> Images:
    """Resize both sides to `resolution`, bilinear and antialiased: (R, R, C) uint8.

    A plain resize, not a padded one: nothing is cut off and no pixel is spent on a border;
    the price is that all images of a set that are not square are stretched alike.
    """
    resized = image.resize((resolution, resolution), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(resolution, resolution, -1)


def with_channels(images: Images, channels: int) -> Images:
    """Return images (N, H, W, C) as gray (1 channel) or as RGB (3), converted as Pillow does."""
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    red, green, blue = (images[..., channel].astype(np.uint32) for channel in range(3))
    weighed = red * 19595 + green * 38470 + blue * 7471 + 0x8000
    return (weighed >> 16).astype(np.uint8)[..., None]


def members(labels: Labels, classes: int) -> npt.NDArray[np.bool_]:
    """Return which of so many classes or labels each image has, (N, classes)."""
    return np.asarray(labels > 0 if labels.ndim == 2 else np.arange(classes) == labels[:, None])


def strata(labels: Labels, least: int = 1) -> Labels:
    """Return a key for each image, (N,), by which a set is divided into parts that are alike.

    It is the class. Of several labels (N, L) it is the rarest that the image has, L without one.
    Keys of fewer than `least` images become one key, L + 1, or the most frequent one where even all
    of them together are too few.
    """
    if labels.ndim == 1:
        return labels
    images, count = labels.shape
    rarity = np.where(labels > 0, labels.sum(0), images + 1)
    keys = np.where(labels.any(1), rarity.argmin(1), count)
    counts = np.bincount(keys)
    few = counts[keys] < least
    return np.where(few, count + 1 if few.sum() >= least else counts.argmax(), keys)


def stratified(
    labels: Labels, shares: Sequence[float], *, names: Sequence[str]
) -> list[npt.NDArray[np.intp]]:
    """Divide indices into parts of these `shares`, each stratum in proportion, always alike.

    Raises DataError when a class has fewer images than there are parts; `names` are the classes'.
    """
    labels = strata(labels, len(shares))
    random = np.random.RandomState(0)  # the legacy generator: its stream is frozen for ever
    parts: list[list[npt.NDArray[np.intp]]] = [[] for _ in shares]
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members) < len(shares):
            raise DataError(
                f"Every class needs at least {len(shares)} images to be divided into {len(shares)} "
                f"splits; class {[*names, 'without a label'][label]!r} has {len(members)}."
            )
        counts = [max(1, round(share * len(members))) for share in shares[1:]]
        while sum(counts) >= len(members):
            counts[int(np.argmax(counts))] -= 1
        bounds = np.cumsum([len(members) - sum(counts), *counts])[:-1]
        for part, indices in zip(parts, np.split(members, bounds), strict=True):
            part.append(indices)
    return [np.sort(np.concatenate(part)) for part in parts]


def share_of(labels: Labels, share: float, seed: int) -> npt.NDArray[np.intp]:
    """Return the indices of this share of each of the `strata`, in order; at least one of each.

    Under one seed a larger share has all that a smaller one has.
    """
    labels = strata(labels)
    random = np.random.RandomState(seed)
    parts = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        parts.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(parts))


def fill_splits(
    given: Mapping[str, npt.NDArray[np.intp]],
    labels: Labels,
    names: Sequence[str],
    groups: Groups | None = None,
) -> dict[str, npt.NDArray[np.intp]]:
    """Carve missing splits out of the train split: 15 % of it, or 20 % twice; groups stay whole."""
    missing = [name for name in SPLITS[1:] if name not in given]
    if not missing:
        return dict(given)
    share = 0.2 if len(missing) == 2 else 0.15
    train = given["train"]
    shares = [1 - share * len(missing)] + [share] * len(missing)
    if groups is None:
        parts = stratified(labels[train], shares, names=names)
    else:
        keys, own = strata(labels[train], len(shares)), groups[train]
        rare = keys == len(names) + 1
        if len(np.unique(own[rare])) < len(shares):
            keys = np.where(rare, np.bincount(keys).argmax(), keys)
        of_labels = ["without a label", "with a rare label"]
        parts = divide(keys, own, shares, names=[*names, *of_labels])
    carved = {name: train[part] for name, part in zip(["train", *missing], parts, strict=True)}
    return {name: carved.get(name, given.get(name, train)) for name in SPLITS}


def check_classes(classes: Sequence[str], train_labels: Labels, *, where: str | Path) -> None:
    """Raise DataError unless there are two classes or more, all of them among the train labels.

    Of several labels each needs train images with it and without it.
    """
    if len(classes) < 2:
        raise DataError(
            f"A data set needs at least two classes; {where} has {len(classes)}: "
            f"{', '.join(classes)}."
        )
    if train_labels.ndim == 2:
        shares = train_labels.mean(0)
        constant = [name for name, share in zip(classes, shares, strict=True) if share in (0, 1)]
        if constant:
            raise DataError(
                f"Every label needs images with it and without it in the train split; {where} has "
                f"only one kind of {', '.join(map(repr, constant))}."
            )
        return
    absent = sorted(set(range(len(classes))) - set(np.unique(train_labels).tolist()))
    if absent:
        raise DataError(
            f"Every class needs images in the train split; {where} has none of "
            f"{', '.join(repr(classes[label]) for label in absent)}."
        )


def content_hash(parts: Iterable[bytes | npt.NDArray[np.generic]]) -> str:
    """Hash bytes and arrays (their shapes and types included): 32 hex characters."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part)
    return digest.hexdigest()[:32]
