"""A table of images: which columns are paths, labels, splits and groups, and what they mean."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.dataset import Origin
from nas.data.image_list import ImageFile, ImageList
from nas.data.labels import ONE_HOT, in_order
from nas.data.layout import split_of
from nas.errors import DataError

BAR = "|"  # between several labels of an image, as ChestX-ray14 has them
_NAMES = {
    "image": r"path|file|file[ _]?name|image|image[ _]?path|img",
    "label": r"label|class|target|fine_label",
    "labels": r"labels",
    "split": r"split|set",
    "group": r"groups?",
}
_SHOWN = 3


@dataclass(frozen=True)
class ImageTable:
    """The cells of a table by the meaning of their column: "image", "label", "split", "group".

    Labels are the names of one class, or of several labels where `several` is true. `unread` are
    the other columns, `classes` all names in their order, where the table tells them.
    """

    images: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    splits: Sequence[str]
    groups: Sequence[str]
    several: bool
    unread: Sequence[str]
    classes: tuple[str, ...] = ()


def meanings(columns: Sequence[str], groups: str | None, where: object) -> dict[str, str]:
    """Return the columns by their meanings. Raises DataError for a missing or ambiguous one.

    `groups` is the name of the column of groups, "group" by default.
    """
    found: dict[str, str] = {}
    for meaning, names in _NAMES.items():
        same = [each for each in columns if re.fullmatch(names, each.strip(), re.IGNORECASE)]
        if len(same) > 1:
            raise DataError(f"{where} has {' and '.join(map(repr, same))} for the same: leave one.")
        if same:
            found[meaning] = same[0]
    if groups is not None:
        if groups not in columns:
            raise DataError(
                f"--groups names a column of a table; {where} has no {groups!r}, but: "
                f"{', '.join(columns)}."
            )
        found["group"] = groups
    if "image" not in found or ("label" in found) == ("labels" in found):
        raise DataError(
            "A table needs a column of images (path, file, file_name or image) and one of classes "
            f"(label, class or target) or of several labels with {BAR} between them (labels); "
            f"{where} has: {', '.join(columns)}."
        )
    return found


def table_of(columns: Mapping[str, Sequence[str]], groups: str | None, where: object) -> ImageTable:
    """Read the cells of a table, which are text. Raises DataError that names the row."""
    of = meanings(list(columns), groups, where)
    images = columns[of["image"]]
    several = "labels" in of
    cells = columns[of["labels" if several else "label"]]
    labels = [
        tuple(dict.fromkeys(filter(None, (each.strip() for each in cell.split(BAR)))))
        if several else (cell.strip(),)
        for cell in cells
    ]  # fmt: skip
    splits = columns[of["split"]] if "split" in of else [""] * len(images)
    keys = columns[of["group"]] if "group" in of else []
    for name, values in (("label", [] if several else cells), ("group", keys)):
        if empty := [row for row, cell in enumerate(values) if not cell.strip()]:
            raise DataError(
                f"Every image needs a {name}; {len(empty):,} of {where} have none, such as "
                f"{images[empty[0]]}."
            )
    unread = [name for name in columns if name not in of.values()]
    named = [split_of(each.strip()) for each in splits]
    if "split" in of and (odd := [row for row, name in enumerate(named) if not name]):
        raise DataError(
            "Every image needs a split such as train, val or test, or none has one; in "
            f"{where} {len(odd):,} have another, such as {splits[odd[0]]!r} of {images[odd[0]]}."
        )
    return ImageTable(images, labels, named, keys, several, unread)


def image_list(table: ImageTable, source: Path, root: Path, name: str) -> ImageList:
    """Return the image files of a table, with paths below the root or absolute ones.

    Raises DataError for files that are not there, and for a file in two rows.
    """
    paths = [_below(root, image.strip()) for image in table.images]
    missing = [path for path in paths if not os.path.isfile(root / path)]
    if missing:
        raise DataError(
            f"The paths of a table are those of files, from its folder {root}; {len(missing):,} of "
            f"{len(paths):,} are not there: {_first(missing)}."
        )
    seen: set[str] = set()
    if twice := [path for path in paths if path in seen or seen.add(path)]:  # type: ignore[func-returns-value]
        raise DataError(
            f"Every image has one row; {source.name} has {len(twice):,} again: {_first(twice)}."
        )
    keys: Sequence[str | None] = table.groups or [None] * len(paths)
    rows = zip(paths, table.labels, table.splits, keys, strict=True)
    files = [ImageFile(*row) for row in rows]
    one_hot = table.several and all(len(labels) == 1 for labels in table.labels)
    names = {label for labels in table.labels for label in labels}
    origin = Origin(
        left_out={"columns of other names": table.unread} if table.unread else {},
        notes=[ONE_HOT] if one_hot else [],
    )
    return ImageList(
        name, root, source, files, table.several and not one_hot,
        table.classes or in_order(names), origin,
    )  # fmt: skip


def _below(root: Path, path: str) -> str:
    """Return a path from the root; one that is elsewhere as it is."""
    given = Path(path)
    return (given.relative_to(root) if given.is_relative_to(root) else given).as_posix()


def _first(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
