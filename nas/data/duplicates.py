"""Copies among a data set's images: the same pixels, and pictures that are nearly the same.

An image in two splits makes the measured metrics too good. Near copies (compressed again, brighter,
a little smaller) are found by 32 numbers for each image: its grey levels, 16x16, standardised, in
the set's own principal components, each divided by its spread. Two images are near copies where
these vectors' cosine is at least 0.98 and the grey levels' correlation at least 0.95.

The components are the set's own because a fixed hash can't tell X-rays apart: with an 8x8
difference hash at distance 0, PneumoniaMNIST has 374 equal pairs, of which 31 are copies. The
cosine of vectors of independent directions in d dimensions is c or more with a chance below
(1 - c^2)^((d - 1) / 2): 2e-22 for c = 0.98 and d = 32. For small sets, which have fewer components,
the threshold is raised until less than 0.01 false pairs are expected in the whole set.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.data.dataset import SPLITS, DataSet, Images

SIDE = 64  # pixels at most, at which images are compared
COSINE, CORRELATION = 0.98, 0.95  # at least, of near copies
FALSE_PAIRS = 0.01  # expected in a whole set, at most
EXAMPLES = 6  # pairs that are named
COMPARED = 50_000  # images at most that are looked through for near copies
_GRID, _COMPONENTS = 16, 32
_RIDGE = 1e-3  # of the first component's variance: weaker components are noise
_FLAT = 2.0  # grey levels of standard deviation: flatter images have no picture to compare
_BLOCK = 1000

Floats = npt.NDArray[np.float64]


class ImagePlace(NamedTuple):
    """An image of a data set: its split, and its number there from 0."""

    split: str
    number: int


@dataclass(frozen=True)
class Tally:
    """Copies of one kind, counted.

    `within` counts, by split, the images that are a copy of an earlier one of the split. `across`
    counts, by pairs of splits, the images of the second that have a copy in the first. `examples`
    are the first few pairs, those across splits before the others.
    """

    within: dict[str, int]
    across: dict[tuple[str, str], int]
    examples: tuple[tuple[ImagePlace, ImagePlace], ...]

    def words(self) -> Iterator[str]:
        """Say how many there are, those across splits first; nothing where there are none."""
        for (first, second), count in self.across.items():
            if count:
                yield f"{count:,} {second} images are in {first} too"
        for split, count in self.within.items():
            if count:
                yield f"{count:,} within {split}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data; a pair of splits is written train/test."""
        return {
            "within": self.within,
            "across": {"/".join(pair): count for pair, count in self.across.items()},
            "examples": [[list(place) for place in pair] for pair in self.examples],
        }


@dataclass(frozen=True)
class Duplicates:
    """The copies in a data set; a near copy is not counted where there is an exact one.

    `compared` is the number of images that were looked through for near copies.
    """

    exact: Tally
    near: Tally
    compared: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "exact": self.exact.to_json(),
            "near": self.near.to_json(),
            "compared": self.compared,
        }


# By fingerprint and the splits' sizes: one process asks more than once, at times for a part.
_known: dict[tuple[str, ...], Duplicates] = {}


def duplicates(data: DataSet) -> Duplicates:
    """Find the copies in a data set: 12,000 images of 32 px take about 2 seconds."""
    key = (data.fingerprint, *(str(len(data.splits[name])) for name in SPLITS))
    if key not in _known:
        side = min(data.native_resolution, SIDE)
        _known[key] = find({name: data.splits[name].images(side) for name in SPLITS})
    return _known[key]


def find(splits: Mapping[str, Images]) -> Duplicates:
    """Find the copies among the images of each split, (N, R, R, C)."""
    places = [ImagePlace(name, i) for name, images in splits.items() for i in range(len(images))]
    by_pixels: dict[bytes, _Picture] = {}
    for number, (name, index) in enumerate(places):
        digest = blake2b(splits[name][index], digest_size=16).digest()
        by_pixels.setdefault(digest, _Picture([], {})).add(number, name)
    pictures = list(by_pixels.values())
    step = max(1.0, len(pictures) / COMPARED)
    looked = [pictures[int(at * step)] for at in range(min(len(pictures), COMPARED))]
    firsts = [places[picture.numbers[0]] for picture in looked]
    grey = np.stack([_grey_levels(splits[name][index]) for name, index in firsts])
    near = [(looked[i], looked[j]) for i, j in _near_pairs(grey)]
    exact = [(picture, picture) for picture in pictures if len(picture.numbers) > 1]
    return Duplicates(_tally(places, exact), _tally(places, near), len(looked))


@dataclass(frozen=True)
class _Picture:
    """The numbers of the images that have the same pixels, and the first of each split."""

    numbers: list[int]
    first: dict[str, int]

    def add(self, number: int, split: str) -> None:
        self.numbers.append(number)
        self.first.setdefault(split, number)

    def before(self, number: int) -> set[str]:
        """Return the splits in which the picture stands before this image."""
        return {split for split, first in self.first.items() if first < number}


def _tally(places: Sequence[ImagePlace], pairs: Sequence[tuple[_Picture, _Picture]]) -> Tally:
    """Count the copies that pairs of pictures make; a picture beside itself has exact copies."""
    earlier: dict[int, set[str]] = {}  # by image, the splits in which a copy lies before it
    for pair in pairs:
        for here, there in (pair, pair[::-1]):
            for number in here.numbers:
                exact = set() if here is there else here.before(number)
                earlier.setdefault(number, set()).update(there.before(number) - exact)
    within, across = Counter[str](), Counter[tuple[str, str]]()
    for number, splits in earlier.items():
        split = places[number].split
        within.update(splits & {split})
        across.update((other, split) for other in splits - {split})
    shown = sorted((_example(*pair, places) for pair in pairs), key=_is_within)
    return Tally(
        {split: within[split] for split in SPLITS},
        {pair: across[pair] for pair in combinations(SPLITS, 2)},
        tuple(shown[:EXAMPLES]),
    )


def _is_within(pair: tuple[ImagePlace, ImagePlace]) -> bool:
    return pair[0].split == pair[1].split


def _example(
    here: _Picture, there: _Picture, places: Sequence[ImagePlace]
) -> tuple[ImagePlace, ImagePlace]:
    """Return one image of each picture, of two splits if there are."""
    pairs = [
        *product(here.first.values(), there.first.values()),
        (here.numbers[0], there.numbers[-1]),
    ]
    first, second = sorted(((places[a], places[b]) for a, b in pairs if a != b), key=_is_within)[0]
    return first, second


def _grey_levels(image: Images) -> Floats:
    """Reduce an image, (R, R, C), to at most 16x16 grey levels, one after another."""
    picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("L")
    side = min(_GRID, picture.width)
    small = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float64).ravel()


def _near_pairs(grey: Floats) -> list[tuple[int, int]]:
    """Return the pairs of rows of grey levels, (N, pixels), that are near copies."""
    spread = grey.std(1)
    shown = np.flatnonzero(spread >= _FLAT)
    standard = (grey[shown] - grey[shown].mean(1, keepdims=True)) / spread[shown, None]
    vectors, least = _directions(standard)
    pairs: list[tuple[int, int]] = []
    for at in range(0, len(vectors), _BLOCK):
        cosines = vectors[at : at + _BLOCK] @ vectors[at:].T
        for i, j in np.argwhere(np.triu(cosines >= least, 1)) + at:
            if standard[i] @ standard[j] >= CORRELATION * standard.shape[1]:
                pairs.append((int(shown[i]), int(shown[j])))
    return pairs


def _directions(standard: Floats) -> tuple[npt.NDArray[np.float32], float]:
    """Return each row's direction in the set's components, (N, d), and the cosine of near copies.

    Without rows where the images are too few or too alike for it.
    """
    count = min(_COMPONENTS, len(standard) // 4)
    if count < 3:
        return np.empty((0, count), np.float32), 1.0
    centred = standard - standard.mean(0)
    variances, components = np.linalg.eigh(centred.T @ centred / len(centred))
    variances, components = variances[::-1][:count].clip(0), components[:, ::-1][:, :count]
    ridge = _RIDGE * variances[0]
    if variances[0] < 1e-6 or (kept := variances / (variances + ridge)).sum() < 3:
        return np.empty((0, count), np.float32), 1.0
    directions = kept.sum() ** 2 / (kept @ kept)
    chance = FALSE_PAIRS / (len(standard) * (len(standard) - 1) / 2)
    least = max(COSINE, (1 - chance ** (2 / (directions - 1))) ** 0.5)
    vectors = centred @ (components / np.sqrt(variances + ridge))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    return vectors.astype(np.float32), float(least)
