"""Labels of an .npz file as class indices or, of several labels, 0 and 1: what they mean.

Whole numbers, text, floats that are whole and truth values are read; numbers below 0 are no class.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Labels
from nas.errors import DataError

Raw = npt.NDArray[Any]
ONE_HOT = "every image has exactly one of the labels, so they are read as classes"


def raw_labels(labels: Raw, count: int, key: str) -> Raw:
    """Return whole numbers or text, (N,), or 0 and 1, (N, L); raises DataError for others."""
    if labels.shape[:1] != (count,) or labels.ndim > 2 or labels.size < count:
        raise DataError(
            f"Labels need the shape ({count},) or ({count}, 1), one label per image, or ({count}, "
            f"L), whether it has each of L labels; {key} has {labels.shape}."
        )
    several = labels.ndim == 2 and labels.shape[1] > 1
    if labels.dtype.kind in "US" and not several:
        return text(labels)
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all() and abs(labels).max() < 2**53:
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise DataError(
            f"Labels need to be whole numbers or text, one per image; {key} has {labels.dtype}"
            f"{' with fractions' if labels.dtype.kind == 'f' else ''}."
        )
    labels = labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    if several and (labels.min() < 0 or labels.max() > 1):
        raise DataError(
            f"Labels of the shape {labels.shape} need to be 0 or 1; {key} go from "
            f"{labels.min()} to {labels.max()}."
        )
    if labels.min() < 0:
        raise DataError(
            f"Labels need to be 0 or more; {(labels < 0).sum():,} of {key} are below, such as "
            f"{labels.min()}, which is no class. Leave images without a label out."
        )
    return labels if several else labels.reshape(-1)


def text(values: Raw) -> Raw:
    """Return text, bytes decoded, (N,)."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "backslashreplace")
    return values.reshape(-1).astype(str)


def without_one_hot(raw: Mapping[str, Raw], where: object) -> tuple[dict[str, Raw], list[str]]:
    """Return class indices for labels of which every image has exactly one, and say so."""
    shapes = {key: split.shape for key, split in raw.items()}
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise DataError(
            "All splits need one label per image, or all of them the same number of labels; "
            f"{where} has {shapes}."
        )
    if len({split.dtype.kind == "U" for split in raw.values()}) > 1:
        raise DataError(
            f"All splits need text as labels, or all of them numbers; {where} has both."
        )
    if any(split.ndim == 1 or (split.sum(1) != 1).any() for split in raw.values()):
        return dict(raw), []
    return {key: split.argmax(1) for key, split in raw.items()}, [ONE_HOT]


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Sort names; whole numbers, such as grades, by their value."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def numbered_classes(
    raw: Mapping[str, Raw], names: Sequence[str] | None, where: object
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Name the classes, by their labels where there are no names, and number the labels from 0."""
    if names is not None and (twice := [name for name in names if names.count(name) > 1]):
        raise DataError(
            f"'classes' needs a name of its own for each; {where} has {twice[0]!r} twice."
        )
    (_, first), *_ = raw.items()
    if first.ndim == 2:
        return _names_of_labels(names, first.shape[1], where), _whole(raw)
    values = np.unique(np.concatenate(list(raw.values())))
    is_text = first.dtype.kind == "U"
    if names is None or is_text:
        known = tuple(map(str, values.tolist()))
        if names is not None and (unknown := sorted(set(known) - set(names))):
            raise DataError(
                f"'classes' needs the name of every label; {where} lacks "
                f"{', '.join(map(repr, unknown))}."
            )
        classes = tuple(names or (in_order(known) if is_text else known))
        order = np.array([classes.index(name) for name in known])
        return classes, {
            key: order[np.searchsorted(values, split)].astype(np.int64)
            for key, split in raw.items()
        }
    for key, split in raw.items():
        if split.max() >= len(names):
            raise DataError(
                f"Labels need to be 0 to {len(names) - 1}, as 'classes' has {len(names)} names; "
                f"the {key} labels of {where} go from {split.min()} to {split.max()}."
            )
    return tuple(names), _whole(raw)


def _whole(raw: Mapping[str, Raw]) -> dict[str, Labels]:
    return {key: split.astype(np.int64) for key, split in raw.items()}


def _names_of_labels(names: Sequence[str] | None, count: int, where: object) -> tuple[str, ...]:
    """Return the names of labels; their numbers from 0 where the file has none."""
    found = tuple(map(str, range(count))) if names is None else tuple(names)
    if len(found) != count:
        raise DataError(
            f"'classes' needs a name for each of {count} labels; {where} has {len(found)} names."
        )
    return found
