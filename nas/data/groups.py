"""Groups: images that belong together, such as a patient's, are in one split and in one fold.

A folder's groups are read from the names of its files, an .npz file's from arrays of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nas.errors import DataError

Groups = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]

_SHOWN = 3  # files or groups that a message names


def check(pattern: str) -> re.Pattern[str]:
    """Compile a pattern; an array's name is one as well. Raises DataError for what is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(
            "--groups is a regular expression for a folder's files, or the name of an .npz file's "
            f"arrays; {pattern!r} is neither: {error}."
        ) from None


def of_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Return each name's group: the text that the pattern's one group in parentheses matches.

    Raises DataError for a pattern that is none, and for names in which it is not found.
    """
    compiled = check(pattern)
    if compiled.groups != 1:
        raise DataError(
            "--groups needs one part in parentheses, which is the group, such as "
            rf"'patient(\d+)_'; {pattern!r} has {compiled.groups}."
        )
    found = [compiled.search(name) for name in names]
    groups = [(match and match[1]) or "" for match in found]
    missed = [name for name, group in zip(names, groups, strict=True) if not group]
    if missed:
        raise DataError(
            f"--groups {pattern!r} needs to find a group in every file's name, below the folder of "
            f"its class; it finds none in {len(missed)} of {len(names)}: {_first(missed)}."
        )
    return groups


def numbered(keys: Sequence[str]) -> Groups:
    """Number groups, (N,), in the order of their sorted names."""
    return np.unique(np.asarray(keys), return_inverse=True)[1].reshape(-1).astype(np.int64)


def check_apart(given: Mapping[str, Indices], keys: Sequence[str]) -> None:
    """Raise DataError where a group has images in two of the given splits."""
    homes: dict[str, list[str]] = {}
    for split, part in given.items():
        for key in dict.fromkeys(keys[index] for index in part):
            homes.setdefault(key, []).append(split)
    torn = {key: splits for key, splits in homes.items() if len(splits) > 1}
    if torn:
        shown = [f"{key} in {' and '.join(splits)}" for key, splits in torn.items()]
        raise DataError(
            f"All images of a group need to be in one split; {len(torn)} of {len(homes)} groups "
            f"are in several: {_first(shown)}."
        )


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def divide(
    labels: npt.NDArray[np.int64], groups: Groups, shares: Sequence[float], *, names: Sequence[str]
) -> list[Indices]:
    """Divide indices into parts of about these `shares`, groups whole, always alike.

    Each part has images of each class, and of each label where `labels` are (N, L) of 0 and 1.
    Raises DataError where that can't be; `names` are the classes'.
    """
    if labels.ndim == 1:
        has = np.arange(len(names)) == labels[:, None]
    else:
        has, names = np.column_stack([labels > 0, ~labels.any(1)]), (*names, "without a label")
    _, at = np.unique(groups, return_inverse=True)
    counts = np.zeros((at.max() + 1, len(names)), np.int64)  # images by group and class
    np.add.at(counts, at, has.astype(np.int64))
    held = (counts > 0).sum(0)  # groups by class
    for label in np.flatnonzero(has.sum(0)).tolist():
        if held[label] < len(shares):
            raise DataError(
                f"Every class needs images of at least {len(shares)} groups to be divided into "
                f"{len(shares)} splits; class {names[label]!r} has {held[label]}."
            )
    homes = _homes(counts, np.array(shares))
    parts = [np.flatnonzero(homes[at] == part) for part in range(len(shares))]
    lacking = {
        names[int(c)]
        for part in parts
        for c in np.flatnonzero((has.sum(0) > 0) & (has[part].sum(0) == 0))
    }
    if lacking:
        raise DataError(
            "The groups are too large to give each split images of each class: some split has none "
            f"of {', '.join(map(repr, sorted(lacking)))}. Give validation and test splits."
        )
    return parts


def _homes(counts: Counts, shares: npt.NDArray[np.float64]) -> Indices:
    """Return the part of each group, by its images of each class, (groups, classes).

    Groups of the rarest classes come first, and of these the large ones. Each goes where the parts
    come closest to their shares of each class, by squared difference over share.
    """
    present = counts[:, counts.sum(0) > 0]
    weights = present / present.sum(0)
    held = np.where(present > 0, (present > 0).sum(0), len(counts) + 1).min(1)
    ties = np.random.RandomState(0).permutation(len(counts))
    filled = np.zeros((len(shares), present.shape[1]))
    homes = np.zeros(len(counts), np.intp)
    share = shares[:, None]
    for group in np.lexsort((ties, -present.sum(1), held)):
        after = filled + weights[group]
        loss = (((after - share) ** 2 - (filled - share) ** 2) / share).sum(1)
        homes[group] = loss.argmin()
        filled[homes[group]] += weights[group]
    for part, label in _empty(present, homes, len(shares)):
        _fill(present, homes, part, label)
    return homes


def _empty(counts: Counts, homes: Indices, parts: int) -> Iterator[tuple[int, int]]:
    """Yield the parts, and the classes that they have no images of."""
    for part in range(parts):
        for label in range(counts.shape[1]):
            if not counts[homes == part, label].any():
                yield part, label


def _fill(counts: Counts, homes: Indices, part: int, label: int) -> None:
    """Move the smallest group with images of a class into a part, if no other part misses it."""
    movable = np.flatnonzero((counts[:, label] > 0) & (homes != part))
    for group in movable[counts[movable].sum(1).argsort(kind="stable")]:
        left = counts[homes == homes[group]].sum(0) - counts[group]
        if (left[counts[group] > 0] > 0).all():
            homes[group] = part
            return
