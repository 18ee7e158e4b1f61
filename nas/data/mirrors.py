"""Classes that are each other's mirror images, such as left and right: a flip swaps them.

Each image is compared with all others, pixel by pixel on a coarse grid, as it is and mirrored. Two
classes are mirror images where most images of either look like their own class as they are, and
like the other one mirrored. It must hold for both: an odd image often looks like any one class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data.dataset import DataSet
from nas.data.duplicates import SIDE

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
PIXELS = 16  # of an image's side
EACH, ALL = 60, 2_000  # images of a class, and of all, at most
FEWEST = 10  # images of a class from which it is judged
MOST = 0.6  # of a class's images


@dataclass(frozen=True)
class Mirrored:
    """Two classes by their numbers, and how many of the images looked at mirror into the other."""

    first: int
    second: int
    images: int
    mirrored: int


def mirrored(data: DataSet) -> list[Mirrored]:
    """Return the pairs of classes that are each other's mirror images, by train images.

    There are none of images with several labels, and of so many classes that each has few images.
    """
    if data.task != "classes":
        return []
    split, classes = data.splits["train"], len(data.classes)
    rng, each = np.random.default_rng(0), min(EACH, ALL // classes)
    if each < FEWEST:
        return []
    members = [np.flatnonzero(split.labels == label) for label in range(classes)]
    chosen = [rng.permutation(own)[:each] for own in members if len(own) >= FEWEST]
    if len(chosen) < 2:
        return []
    rows = np.concatenate(chosen)
    labels = split.labels[rows]
    images = _small(split.images(min(data.native_resolution, SIDE))[rows])
    plain, turned = (_nearest(view, images, labels) for view in (images, images[:, :, ::-1]))
    images_of = np.bincount(labels, minlength=classes)
    most = MOST * images_of
    kept = np.bincount(labels[plain == labels], minlength=classes) > most
    swaps = np.zeros((classes, classes), int)
    np.add.at(swaps, (labels, turned), 1)
    swapped = (swaps > most[:, None]) & kept[:, None] & kept
    return [
        Mirrored(a, b, int(images_of[a] + images_of[b]), int(swaps[a, b] + swaps[b, a]))
        for a, b in np.argwhere(swapped & swapped.T).tolist()
        if a < b
    ]


def _small(images: NDArray[np.uint8]) -> Floats:
    """Return gray images of few pixels, (N, P, P), each with mean 0 and length 1."""
    gray = images.astype(np.float32).mean(axis=3)
    edges = np.linspace(0, gray.shape[1], min(PIXELS, gray.shape[1]) + 1).astype(int)
    widths = np.diff(edges)
    sums = np.add.reduceat(np.add.reduceat(gray, edges[:-1], axis=1), edges[:-1], axis=2)
    means = sums / (widths[:, None] * widths)
    means -= means.mean(axis=(1, 2), keepdims=True)
    lengths = np.linalg.norm(means, axis=(1, 2), keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-6))


def _nearest(views: Floats, images: Floats, labels: Labels) -> Labels:
    """Return the label of the image that is most like each view, other than the view's own."""
    likeness = views.reshape(len(views), -1) @ images.reshape(len(images), -1).T
    np.fill_diagonal(likeness, -np.inf)
    return np.asarray(labels[likeness.argmax(axis=1)])
