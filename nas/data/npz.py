"""NPZ files in MedMNIST's layout: `train_images`, `train_labels`, `val_*`, `test_*`.

Images are uint8, (N, H, W) or (N, H, W, 1) gray or (N, H, W, 3) RGB; labels are integers, (N,) or
(N, 1), or (N, L) of 0 and 1 where an image may have several of L labels. A split that is not there
is carved out of the train split. `classes` may name the classes or labels, and arrays such as
`train_groups`, (N,), the group of each image.
Yang et al., MedMNIST v2, Scientific Data 10, 41, 2023.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.arrays import Arrays
from nas.data.dataset import (
    DataSet,
    Images,
    Labels,
    Origin,
    check_classes,
    content_hash,
    fill_splits,
    in_memory,
)
from nas.data.groups import check_apart, numbered
from nas.errors import DataError

log = logging.getLogger("nas")
KEYS = {"train": "train", "validation": "val", "test": "test"}


def load_npz(
    path: Path, groups: str | None = None, *, say: Callable[[str], None] = log.info
) -> DataSet:
    """Read the data set in one .npz file. Raises DataError when it has not MedMNIST's layout.

    `groups` is what the names of the arrays of groups have after the split, such as "groups"; `say`
    hears of labels that are read as classes.
    """
    arrays = Arrays(path)
    images = {name: _images(arrays, key) for name, key in KEYS.items() if _has(arrays, key)}
    raw = {name: _labels(arrays, KEYS[name], len(images[name])) for name in images}
    if "train" not in images:
        raise DataError(
            f"An .npz data set needs the keys 'train_images' and 'train_labels'; {path} has: "
            f"{', '.join(sorted(arrays)) or 'none'}."
        )
    shapes = {name: split.shape[1:] for name, split in images.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"All splits need images of one shape; {path} has {shapes}.")
    classes, labels = _classes(arrays, _without_one_hot(raw, path, say), path)
    check_classes(classes, labels["train"], where=path)
    keys = None if groups is None else _group_keys(arrays, groups, labels, path)
    return _data_set(path, images, labels, classes, keys, _unread(arrays, images, groups))


def _unread(arrays: Arrays, images: dict[str, Images], groups: str | None) -> dict[str, list[str]]:
    """Return the names of the arrays that are no part of the data set."""
    kinds = ("images", "labels", *([groups] if groups else []))
    read = {"classes", *(f"{KEYS[name]}_{kind}" for name in images for kind in kinds)}
    unread = [key for key in arrays if key not in read]
    return {"array of another name": unread} if unread else {}


def _data_set(
    path: Path,
    images: dict[str, Images],
    labels: dict[str, Labels],
    classes: tuple[str, ...],
    keys: list[str] | None,
    left_out: dict[str, list[str]],
) -> DataSet:
    all_images = np.concatenate(list(images.values()))
    all_labels = np.concatenate(list(labels.values()))
    bounds = np.cumsum([len(split) for split in images.values()])[:-1]
    given = dict(zip(images, np.split(np.arange(len(all_labels)), bounds), strict=True))
    groups = None
    if keys is not None:
        check_apart(given, keys)
        groups = numbered(keys)
    parts = fill_splits(given, all_labels, classes, groups)
    check_classes(classes, all_labels[parts["train"]], where=path)
    content: list[bytes | npt.NDArray[Any]] = [all_images, all_labels, *parts.values()]
    content.append("\n".join(classes).encode())
    return DataSet(
        name=path.stem,
        fingerprint=content_hash(content if groups is None else [*content, groups]),
        classes=classes,
        in_channels=all_images.shape[3],
        native_resolution=max(all_images.shape[1:3]),
        forbids=frozenset(),
        origin=Origin(
            {(all_images.shape[2], all_images.shape[1]): len(all_images)},
            {"L" if all_images.shape[3] == 1 else "RGB": len(all_images)},
            left_out,
        ),
        splits={
            name: in_memory(
                all_images[part], all_labels[part], None if groups is None else groups[part]
            )
            for name, part in parts.items()
        },
    )


def _has(arrays: Arrays, key: str) -> bool:
    names = [name for name in (f"{key}_images", f"{key}_labels") if name in arrays]
    if len(names) == 1:
        raise DataError(
            f"A split needs both images and labels; of {key!r} there is only {names[0]!r}."
        )
    return bool(names)


def _images(arrays: Arrays, key: str) -> Images:
    images = arrays[f"{key}_images"]
    if images.dtype != np.uint8:
        raise DataError(f"Images need type uint8; {key}_images has {images.dtype}.")
    if images.ndim == 3:
        images = images[..., None]  # (N, H, W, 1)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            "Images need the shape (N, H, W) for gray or (N, H, W, 3) for RGB, and at least one; "
            f"{key}_images has {arrays[f'{key}_images'].shape}."
        )
    return images


def _labels(arrays: Arrays, key: str, count: int) -> npt.NDArray[Any]:
    labels = arrays[f"{key}_labels"]
    if labels.shape[:1] != (count,) or labels.ndim > 2 or labels.size < count:
        raise DataError(
            f"Labels need the shape ({count},) or ({count}, 1), one label per image, or ({count}, "
            f"L), whether it has each of L labels; {key}_labels has {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"Labels need an integer type; {key}_labels has {labels.dtype}.")
    if labels.ndim == 1 or labels.shape[1] == 1:
        return labels.reshape(-1)
    if labels.min() < 0 or labels.max() > 1:
        raise DataError(
            f"Labels of the shape {labels.shape} need to be 0 or 1; {key}_labels go from "
            f"{labels.min()} to {labels.max()}."
        )
    return labels


def _without_one_hot(
    raw: dict[str, npt.NDArray[Any]], path: Path, say: Callable[[str], None]
) -> dict[str, npt.NDArray[Any]]:
    """Return class indices for labels of which every image has exactly one."""
    widths = {split.shape[1:] for split in raw.values()}
    if len(widths) > 1:
        shapes = {KEYS[key]: split.shape for key, split in raw.items()}
        raise DataError(
            "All splits need one label per image, or all of them the same number of labels; "
            f"{path} has {shapes}."
        )
    if widths == {()} or any((split.sum(1) != 1).any() for split in raw.values()):
        return raw
    say(f"{path.name}: every image has exactly one of the labels, so they are read as classes")
    return {key: split.argmax(1) for key, split in raw.items()}


def _group_keys(arrays: Arrays, name: str, labels: dict[str, Labels], path: Path) -> list[str]:
    """Return the group of every image, of one split after the other."""
    found: list[str] = []
    for split, part in labels.items():
        key = f"{KEYS[split]}_{name}"
        if key not in arrays:
            raise DataError(
                f"--groups {name!r} needs the array {key!r} in {path}, which has: "
                f"{', '.join(sorted(arrays))}."
            )
        values = arrays[key]
        if values.shape not in ((len(part),), (len(part), 1)) or values.dtype.kind not in "iuUS":
            raise DataError(
                f"Groups need the shape ({len(part)},), one whole number or text per image; "
                f"{key} has {values.shape} of type {values.dtype}."
            )
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "backslashreplace")
        found += values.reshape(-1).astype(str).tolist()
    return found


def _classes(
    arrays: Arrays, raw: dict[str, npt.NDArray[Any]], path: Path
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Name the classes and number the labels from 0."""
    if raw["train"].ndim == 2:
        return _names_of_labels(arrays, raw["train"].shape[1], path), {
            key: split.astype(np.int64) for key, split in raw.items()
        }
    if "classes" not in arrays:
        values = np.unique(np.concatenate(list(raw.values())))
        names = tuple(str(value) for value in values)
        return names, {
            key: np.searchsorted(values, split).astype(np.int64) for key, split in raw.items()
        }
    names = tuple(str(name) for name in arrays["classes"].reshape(-1))
    for key, split in raw.items():
        if split.min() < 0 or split.max() >= len(names):
            raise DataError(
                f"Labels need to be 0 to {len(names) - 1}, as 'classes' has {len(names)} names; "
                f"the {key} labels of {path} go from {split.min()} to {split.max()}."
            )
    return names, {key: split.astype(np.int64) for key, split in raw.items()}


def _names_of_labels(arrays: Arrays, count: int, path: Path) -> tuple[str, ...]:
    """Return the names of labels; their numbers from 0 where the file has none."""
    names = tuple(str(name) for name in arrays.get("classes", np.arange(count)).reshape(-1))
    if len(names) != count:
        raise DataError(
            f"'classes' needs a name for each of {count} labels; {path} has {len(names)} names."
        )
    return names
