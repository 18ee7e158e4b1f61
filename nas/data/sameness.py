"""Images that can't teach anything: of a single level, all the same, or the same in two classes."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from nas.data.dataset import DataSet
from nas.data.duplicates import SIDE


@dataclass(frozen=True)
class Sameness:
    """Counts of a data set's images, as they are read.

    `constant` ones have a single level in each channel, `pictures` are different ones, and
    `contradictory` ones have the same pixels as one with other labels.
    """

    images: int
    constant: int
    pictures: int
    contradictory: int


def sameness(data: DataSet) -> Sameness:
    """Look through the images of all splits, at 64 px at most."""
    side, constant = min(data.native_resolution, SIDE), 0
    labels: dict[bytes, dict[bytes, int]] = {}
    for split in data.splits.values():
        for image, label in zip(split.images(side), split.labels, strict=True):
            constant += bool((np.ptp(image, axis=(0, 1)) == 0).all())
            counts = labels.setdefault(blake2b(image, digest_size=16).digest(), {})
            counts[label.tobytes()] = counts.get(label.tobytes(), 0) + 1
    torn = sum(sum(counts.values()) for counts in labels.values() if len(counts) > 1)
    return Sameness(sum(map(len, data.splits.values())), constant, len(labels), torn)
