"""How a data set was read, in one line, and all that shows in it: counts, sizes, copies, groups."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nas.data.dataset import DataSet, Split, members
from nas.data.duplicates import Duplicates, ImagePlace
from nas.errors import printable

BALANCED = 1.5  # times the images of the rarest class: up to here accuracy is a fair metric
_SHOWN, _FEW = 5, 3  # files and classes that are named


def counts(data: DataSet) -> dict[str, dict[str, int]]:
    """Return the images of each class by split."""
    return {
        name: dict(zip(data.classes, _bins(split, data).tolist(), strict=True))
        for name, split in data.splits.items()
    }


def _bins(split: Split, data: DataSet) -> Any:
    return members(split.labels, len(data.classes)).sum(0)


def describe(data: DataSet) -> str:
    """Say in one line how a data set was read: classes, images, channels, size, what was left out.

    A class without validation or test images is named as well.
    """
    images = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    largest = _bins(data.splits["train"], data).max() / len(data.splits["train"])
    parts = [
        f"{len(data.classes)} {data.task} ({_listed(data.classes)}), the largest {largest:.0%} of "
        "train",
        images,
        ", ".join([colours(data), sizes_in_words(data), *data.reading.words()]),
        *data.origin.notes,
    ]
    if data.splits["train"].groups is not None:
        groups = ", ".join(str(count) for count in group_counts(data).values())
        parts.append(f"groups: {groups}")
    if data.origin.left_out:
        parts.append(f"left out: {left_out_in_words(data)}")
    line = f"data {data.name}: {'; '.join([*parts, *missing(data)])}"
    return printable(line.replace("\n", "\\n"))


def _listed(names: Sequence[str]) -> str:
    """Name the first few."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def colours(data: DataSet) -> str:
    """Say which channels the images have, and the modes of the files where they are others."""
    kept = "gray" if data.in_channels == 1 else "RGB"
    if set(data.origin.modes) <= {"L" if data.in_channels == 1 else "RGB"}:
        return f"{kept} of 8 bits"
    modes = ", ".join(f"{count:,} {mode}" for mode, count in sorted(data.origin.modes.items()))
    return f"{kept} of 8 bits (read from {modes})"


def sizes(data: DataSet) -> dict[str, tuple[int, int]]:
    """Return (width, height) in pixels of the image with the fewest and the most, and medians."""
    by_area = sorted(data.origin.sizes, key=lambda size: (size[0] * size[1], size))
    medians = (_median((s[axis], n) for s, n in data.origin.sizes.items()) for axis in (0, 1))
    width, height = medians
    return {"smallest": by_area[0], "largest": by_area[-1], "median": (width, height)}


def _median(counted: Iterable[tuple[int, int]]) -> int:
    """Return the lower median of values that come with their counts."""
    values, times = np.array(sorted(counted)).T
    return int(values[np.searchsorted(times.cumsum(), (times.sum() + 1) // 2)])


def sizes_in_words(data: DataSet) -> str:
    """Say how large the images are."""
    found = {name: f"{width} x {height}" for name, (width, height) in sizes(data).items()}
    if len(data.origin.sizes) == 1:
        return f"{found['median']} px"
    return f"{found['smallest']} to {found['largest']} px"


def left_out_in_words(data: DataSet) -> str:
    """Say how many files or arrays are not part of the set, by the reason; few are named."""
    counted = (
        f"{len(names):,} {reason}{f' ({_listed(names)})' if len(names) <= _FEW else ''}"
        for reason, names in data.origin.left_out.items()
    )
    return ", ".join(counted)


def missing(data: DataSet) -> list[str]:
    """Name the classes that validation or test has no images of."""
    return [
        f"{name} has no images of {', '.join(map(repr, absent))}"
        for name, split in data.splits.items()
        if (absent := [c for c, n in zip(data.classes, _bins(split, data), strict=True) if not n])
    ]


def group_counts(data: DataSet) -> dict[str, int]:
    """Return the number of groups of each split; empty where there are none."""
    return {
        name: len(np.unique(split.groups))
        for name, split in data.splits.items()
        if split.groups is not None
    }


def metric(data: DataSet) -> tuple[str, str]:
    """Return the metric that suits the classes' frequencies, and why."""
    images = _bins(data.splits["train"], data)
    if data.task == "labels":
        return "auroc", "an image may have several labels, most of them rare"
    times = images.max() / images.min()
    if times <= BALANCED:
        return "accuracy", "the classes are about equally frequent"
    why = f"the largest class has {times:.1f} times the train images of the smallest"
    return ("auroc" if len(images) == 2 else "balanced_accuracy"), why


@dataclass(frozen=True)
class Inspection:
    """A data set, and the copies among its images."""

    data: DataSet
    copies: Duplicates

    def to_json(self) -> dict[str, Any]:
        """Return all that shows as plain data."""
        data, (name, why) = self.data, metric(self.data)
        return {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "counts": counts(data),
            "in_channels": data.in_channels,
            "modes": dict(data.origin.modes),
            "sizes": {key: list(size) for key, size in sizes(data).items()}
            | {"different": len(data.origin.sizes)},
            "left_out": {
                reason: {"count": len(names), "first": list(names[:_SHOWN])}
                for reason, names in data.origin.left_out.items()
            },
            "reading": asdict(data.reading),
            "notes": list(data.origin.notes),
            "missing": missing(data),
            "duplicates": self._copies(),
            "groups": group_counts(data) or None,
            "majority_rate": {name: split.majority_rate for name, split in data.splits.items()},
            "metric": {"name": name, "why": why},
        }

    def _copies(self) -> dict[str, Any]:
        plain = self.copies.to_json()
        for kind, tally in (("exact", self.copies.exact), ("near", self.copies.near)):
            plain[kind]["examples"] = [[self._image(p) for p in pair] for pair in tally.examples]
        return plain

    def _image(self, place: ImagePlace) -> dict[str, Any]:
        split = self.data.splits[place.split]
        has = members(split.labels[place.number : place.number + 1], len(self.data.classes))[0]
        label = ", ".join(np.array(self.data.classes)[has])
        found = {"split": place.split, "number": place.number, "class": label}
        return found | ({"file": split.files[place.number]} if split.files else {})

    def named(self, place: ImagePlace) -> str:
        """Name an image: its split, and its file or its number."""
        files = self.data.splits[place.split].files
        return f"{place.split} {files[place.number] if files else place.number}"

    def copies_in_words(self) -> Iterator[str]:
        """Say how many copies there are, and name the first few."""
        copies = self.copies
        for kind, sign, tally in (("copies", "=", copies.exact), ("near copies", "~", copies.near)):
            yield f"{kind}: {', '.join(tally.words()) or 'none'}"
            for first, second in tally.examples:
                yield f"  {self.named(first)} {sign} {self.named(second)}"
