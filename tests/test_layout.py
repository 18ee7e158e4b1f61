"""Folders: one function decides which files are images of which class and split, or refuses."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas import data
from nas.data.decoders import endings
from nas.data.layout import EXTENSIONS, Labelled, Layout, Patterns, split_of, understand
from nas.errors import DataError


def tree(root: Path, *files: str) -> Path:
    """Make empty files; `3 x a/b.png` stands for three of them."""
    for file in files:
        count, _, path = file.rpartition(" x ")
        for number in range(int(count or 1)):
            given = root / path
            given.parent.mkdir(parents=True, exist_ok=True)
            given.with_stem(f"{given.stem}{number}" if count else given.stem).touch()
    return root


def counted(layout: Layout) -> dict[str, int]:
    """Count images by split and class."""
    found: dict[str, int] = {}
    for each in layout.images:
        key = f"{each.split}:{each.label}" if each.split else each.label
        found[key] = found.get(key, 0) + 1
    return found


def names(extra: Iterable[str] = ()) -> dict[str, str]:
    """Return names that people give to split folders."""
    found = {
        "training_set": "train",
        "test_set": "test",
        "train_data": "train",
        "dev": "validation",
    }
    found |= {"valid": "validation", "Train": "train", "TESTING": "test", "test1": "test"}
    found |= {"val2017": "validation", "trainset": "train", "images_test": "test"}
    return found | {
        "train-images": "train",
        "validation split": "validation",
        "dataset_val": "validation",
    }


def test_names_of_splits() -> None:
    """Split folders are known under the names that people give them; classes are not taken."""
    for name, split in names().items():
        assert split_of(name) == split, name
    for name in (
        "trains",
        "trainer",
        "contest",
        "valve",
        "device",
        "cat",
        "latest",
        "testis",
        "set",
    ):
        assert split_of(name) == "", name


@pytest.mark.parametrize(
    ("files", "found", "note"),
    [
        (["5 x cat/a.jpg", "4 x dog/a.jfif"], {"cat": 5, "dog": 4}, ""),
        (
            ["2 x training_set/cat/a.png", "2 x training_set/dog/a.png", "test_set/cat/b.png"],
            {"train:cat": 2, "train:dog": 2, "test:cat": 1},
            "split folders test_set, training_set",
        ),
        (["2 x train/cat/a.png", "2 x train/dog/a.png"], {"train:cat": 2, "train:dog": 2}, "train"),
        (
            ["2 x set/inner/cat/a.png", "2 x set/inner/dog/a.png", "readme.md", "set/labels.csv"],
            {"cat": 2, "dog": 2},
            "read below set/inner",
        ),
        (
            ["train/cat/a.png", "train/dog/a.png", "9 x test/a.png"],  # of a contest
            {"train:cat": 1, "train:dog": 1},
            "split folders train",
        ),
        (
            ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "holdout/a/1.png"],
            {"train:a": 1, "train:b": 1, "test:a": 1, "test:b": 1},
            "split folders test, train; holdout is no split and is left out",
        ),
        (
            ["cat/train/a.png", "cat/test/a.png", "dog/train/b.png", "dog/test/b.png"],
            {"train:cat": 1, "test:cat": 1, "train:dog": 1, "test:dog": 1},
            "splits test, train below each class",
        ),
        (
            ["2 x cat/a.png", "2 x dog/a.png", "thumbnails/a.png"],
            {"cat": 2, "dog": 2, "thumbnails": 1},
            "'thumbnails' is read as a class: --exclude thumbnails leaves it out",
        ),
        (["2 x bus/a.png", "2 x train/a.png"], {"bus": 2, "train": 2}, "'train' is a class"),
        (
            ["2 x cat/left/a.png", "cat/right/a.png", "3 x dog/left/a.png", "dog/right/a.png"],
            {"cat": 3, "dog": 4},
            "folders below each class: left (5), right (2)",
        ),
        (
            ["2 x covid/images/a.png", "2 x covid/masks/a.png", "2 x normal/images/a.png"],
            {"covid": 4, "normal": 2},
            "2 files are named like masks or previews, such as covid/masks/a0.png",
        ),
        (
            ["a/1.png", "a/1_mask.png", "b/2.png", "b/thumb_2.png"],
            {"a": 2, "b": 2},
            "2 files are named like masks",
        ),
        (["2 x with_mask/mask.png", "2 x without_mask/mask.png"],
         {"with_mask": 2, "without_mask": 2}, ""),
    ],
)  # fmt: skip
def test_what_is_understood(
    tmp_path: Path, files: list[str], found: dict[str, int], note: str
) -> None:
    """Classes, splits and images are those that a person would see, and it is said how."""
    layout = understand(tree(tmp_path / "set", *files))
    assert counted(layout) == found
    assert note in "; ".join(layout.notes)
    if not note:
        assert layout.notes == ()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["3 x bus/c1/a.png", "3 x car/c1/a.png", "3 x train/c1/a.png"],
         "train/ is named like a split, bus/, car/ beside it like classes"),
        (["2 x train/cat/a.png", "2 x train/dog/a.png", "exam/cat/a.png", "exam/dog/a.png"],
         "exam/ beside it"),
        (["2 x train/a.png", "2 x test/a.png", "train.csv"], "lie loose in test/, train/"),
        (["9 x train/a.png"], "lie loose in train/"),
        (["2 x cat/a.png", "2 x dog/a.png", "5 x test/a.png"], "lie loose in test/"),
        (["2 x train/a.png", "2 x unlabelled/a.png", "labels.csv"], "loose in train/"),
        (["val/cat/a.png", "val/dog/a.png", "test/cat/a.png", "test/dog/a.png"],
         "no images in a train folder"),
        (["train/cat/a.png", "training/dog/a.png", "test/cat/a.png"], "train/, training/ for"),
        (["2 x cat/a.png", "2 x dog/a.png", "5 x bird/a.cr2"], "bird/ of .* but files: 5 .cr2"),
        (["2 x cat/a.png", "2 x dog/a.png", "notes/a.txt"], "--exclude notes"),
        (["train/cat/a.png", "train/dog/a.png", "train/bird/a.cr2", "test/cat/a.png"],
         "train/bird/ of .* 1 .cr2"),
        (["2 x images/cat/a.png", "2 x masks/cat/a.png"], "kinds of pictures.*--exclude masks"),
        (["a.cr2", "b/c.cr2"], "no images, but files: 2 .cr2"),
        (["9 x a.png"], r"lie loose\. Give your table of labels"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, files: list[str], told: str) -> None:
    """A folder that can be read in two ways, or loses a class, is refused with the way out."""
    root = tree(tmp_path / "set", *files)
    with pytest.raises(DataError, match=told):
        understand(root)


def test_an_empty_class_folder(tmp_path: Path) -> None:
    """A class without any file is named as well."""
    (tree(tmp_path / "set", "a/1.png", "b/1.png") / "c").mkdir()
    with pytest.raises(DataError, match=r"c/ of .* has none"):
        understand(tmp_path / "set")


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (Patterns(exclude=("masks",)), {"covid": 2, "normal": 2}),
        (Patterns(exclude=("*_thumb.png", "normal/masks")), {"covid": 5, "normal": 2}),
        (Patterns(include=("images/*",)), {"covid": 2, "normal": 2}),
        (Patterns(include=("covid", "normal/images"), exclude=("*thumb*",)),
         {"covid": 5, "normal": 2}),
    ],
)  # fmt: skip
def test_patterns(tmp_path: Path, patterns: Patterns, found: dict[str, int]) -> None:
    """--include and --exclude choose files by a part of their path; what is left out is counted."""
    files = [f"2 x {label}/{kind}/a.png" for label in ("covid", "normal") for kind in
             ("images", "masks")]  # fmt: skip
    root = tree(
        tmp_path / "set", *files, "covid/masks/z.png", "normal/images/1_thumb.png", "x/a.md"
    )
    layout = understand(root, Patterns(patterns.include, (*patterns.exclude, "x")))
    found = found if "thumb" in str(patterns.exclude) else found | {"normal": found["normal"] + 1}
    assert counted(layout) == found
    assert len(layout.left_out["excluded"]) == 10 - sum(found.values())


def test_one_class_in_two_unicode_forms(tmp_path: Path) -> None:
    """Folders whose names look alike are one class, within a split and across splits."""
    composed, parts = (unicodedata.normalize(form, "été") for form in ("NFC", "NFD"))
    root = tree(tmp_path / "a", f"{composed}/1.png", f"{parts}/2.png", "hiver/1.png")
    layout = understand(root)
    assert counted(layout) == {composed: 2, "hiver": 1}
    assert layout.notes == ("'été' is written in two Unicode forms: one class",)
    root = tree(tmp_path / "b", f"train/{composed}/1.png", "train/b/1.png", f"val/{parts}/1.png")
    assert counted(understand(root)) == {"train:été": 1, "train:b": 1, "validation:été": 1}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """Images and classes of such names are refused, escaped; other files and those left out not."""
    root = tree(tmp_path / "set", "a/1.png", "b/1.png")
    odd = os.fsencode(root) + b"/\xe9t\xe9"
    os.mkdir(odd)
    Path(os.fsdecode(odd + b"/1.png")).touch()
    with pytest.raises(DataError, match=r"1 are not, such as \\xe9t\\xe9/1\.png"):
        understand(root)
    Path(os.fsdecode(os.fsencode(root) + b"/a/\xff.txt")).touch()
    layout = understand(root, Patterns(exclude=("*t*",)))
    left_out = {
        kind: [os.fsencode(each) for each in names] for kind, names in layout.left_out.items()
    }
    assert left_out == {"excluded": [b"\xe9t\xe9/1.png"], ".txt": [b"a/\xff.txt"]}


def test_links(tmp_path: Path) -> None:
    """Links to folders are followed as classes, not in circles; broken ones and pipes are told."""
    root = tree(tmp_path / "set", "a/1.png")
    other = tree(tmp_path / "other", "2.png", "3.png")
    (root / "b").symlink_to(other)
    (other / "again").symlink_to(root)
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "a" / "pipe.png")
    layout = understand(root)
    assert counted(layout) == {"a": 1, "b": 2}
    assert layout.left_out == {"no files": ["a/gone.png", "a/pipe.png"]}


def test_every_ending_is_read(tmp_path: Path) -> None:
    """Pillow, or a decoder, knows a reader for every ending that counts as an image."""
    known = Image.registered_extensions()
    unknown = {each for each in EXTENSIONS - endings() if known.get(each) not in Image.OPEN}
    assert unknown <= {".avif", ".avifs", ".mpo"}
    root = tmp_path / "set"
    for label, ending in (("a", "jfif"), ("b", "JPE")):
        (root / label).mkdir(parents=True)
        for number in range(5):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.{ending}", "JPEG")
    assert data.load(root, cache_dir=tmp_path / "c").classes == ("a", "b")


def test_order_is_that_of_paths(tmp_path: Path) -> None:
    """Images come in the order of their paths, so that a fingerprint is the same everywhere."""
    root = tree(tmp_path / "set", "b/2.png", "b/x/1.png", "a-1/1.png", "a/9.png", "a/10.png")
    assert [each.path for each in understand(root).images] == [
        "a/10.png", "a/9.png", "a-1/1.png", "b/2.png", "b/x/1.png"
    ]  # fmt: skip
    assert understand(root).images[0] == Labelled("a/10.png", "a", "")
