"""Copies within and across splits: exact ones, near ones, and pictures that only look alike."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from nas.data import load
from nas.data.dataset import SPLITS, Images, in_memory
from nas.data.duplicates import Duplicates, ImagePlace, duplicates, find


def pictures(count: int, side: int = 24) -> Images:
    """Make gray pictures of smooth random blobs, (N, R, R, 1), all different."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 7, 7), dtype=np.uint8)
    size = (side, side)
    large = [Image.fromarray(x).resize(size, Image.Resampling.BICUBIC) for x in coarse]
    return np.stack([np.asarray(image) for image in large])[..., None]


PICTURES = pictures(300)
Layout = list[list[int]]  # the numbers of the pictures in each split


def of(layout: Layout) -> Duplicates:
    """Find the copies in splits that are given by their pictures' numbers."""
    return find({name: PICTURES[part] for name, part in zip(SPLITS, layout, strict=True)})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=25), min_size=3, max_size=3).filter(any))
def test_exact_copies_are_counted(layout: Layout) -> None:
    """Within a split all but the first of each picture count, across those of the later split."""
    found = of(layout).exact
    assert found.within == {
        name: len(part) - len(set(part)) for name, part in zip(SPLITS, layout, strict=True)
    }
    for (a, b), count in found.across.items():
        before, after = layout[SPLITS.index(a)], layout[SPLITS.index(b)]
        assert count == sum(number in before for number in after)
    assert of(layout).near.examples == ()
    for first, second in found.examples:
        assert first != second
        numbers = [layout[SPLITS.index(split)][index] for split, index in (first, second)]
        assert numbers[0] == numbers[1]


def compressed(image: Image.Image) -> Image.Image:
    """Compress as JPEG of quality 75."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return Image.open(file)


def smaller(image: Image.Image) -> Image.Image:
    """Reduce to 80 % and enlarge again."""
    return image.resize((19, 19), Image.Resampling.BILINEAR).resize(image.size)


def brighter(image: Image.Image) -> Image.Image:
    """Raise brightness by a fifth, contrast by a tenth."""
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.2)).enhance(1.1)


@pytest.mark.parametrize("change", [compressed, smaller, brighter])
def test_near_copies_are_found(change: Callable[[Image.Image], Image.Image]) -> None:
    """Five test images are changed copies of train images: those five are counted, and named."""
    train, test = PICTURES[:200], PICTURES[200:].copy()
    for number in range(5):
        copy = change(Image.fromarray(train[10 * number, ..., 0]))
        test[number] = np.asarray(copy)[..., None]
    found = find({"train": train, "validation": test[:0], "test": test})
    assert found.near.across == {
        ("train", "validation"): 0, ("train", "test"): 5, ("validation", "test"): 0
    }  # fmt: skip
    assert found.near.within == dict.fromkeys(SPLITS, 0)
    places = [(ImagePlace("train", 10 * number), ImagePlace("test", number)) for number in range(5)]
    assert list(found.near.examples) == places
    assert found.exact.examples == ()


def test_a_near_copy_of_an_exact_copy_counts_once() -> None:
    """A test image whose copy lies in train is exact there, though train has a near one as well."""
    near = np.asarray(compressed(Image.fromarray(PICTURES[0, ..., 0])))[None, ..., None]
    train = np.concatenate([PICTURES[:150], near])
    found = find({"train": train, "validation": PICTURES[150:200], "test": PICTURES[:1]})
    assert found.exact.across["train", "test"] == 1
    assert found.near.across["train", "test"] == 0
    assert found.near.within["train"] == 1


def test_digits_are_no_copies() -> None:
    """Among 1,797 digits, many of them nearly alike, none is taken for a copy."""
    found = duplicates(load("digits")).to_json()
    assert [sum(found[kind]["across"].values()) for kind in ("exact", "near")] == [0, 0]
    assert found["near"]["within"] == dict.fromkeys(SPLITS, 0)
    assert found["compared"] == 1797


def noise(count: int) -> Any:
    """Make RGB noise."""
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((50, 8, 8, 1), np.uint8),
        np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8),
        noise(1),
        noise(11),
        noise(500),
    ],
    ids=["black", "plain", "one", "few", "noise"],
)
def test_images_without_a_picture_are_no_near_copies(images: Images) -> None:
    """Plain images, noise and sets of a few images have exact copies at most."""
    found = find({"train": images, "validation": images[:0], "test": images[:0]})
    assert found.near.within["train"] == 0
    assert found.exact.within["train"] == len(images) - len(np.unique(images, axis=0))


def test_a_set_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second question about the same content reads no image."""
    data = load("digits")
    first = duplicates(data)
    broken = {
        name: in_memory(np.zeros((len(split), 0, 0, 1), np.uint8), split.labels)
        for name, split in data.splits.items()
    }
    monkeypatch.setitem(vars(data), "splits", broken)
    assert duplicates(data) is first
