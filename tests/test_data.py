"""Data sets: the registry's conformance, NPZ files, and the errors a user may see."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import data
from nas.data.dataset import stratified
from nas.data.inspection import describe
from nas.errors import DataError
from nas.training.augmentations import OPERATIONS


def write_npz(path: Path, **changes: Any) -> Path:
    """Write a good MedMNIST file of 40 gray 6x5 images, with `changes` (None removes a key)."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 6, 5), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("name", data.names())
class TestEveryRegisteredDataSet:
    """What holds for every data set that has a name."""

    def test_images(self, name: str) -> None:
        """Images are uint8, square, of the resolution asked for, one per label."""
        found = data.load(name)
        for split in found.splits.values():
            images = split.images(12)
            assert images.shape == (len(split), 12, 12, found.in_channels)
            assert images.dtype == np.uint8
            assert images.std() > 0

    def test_labels(self, name: str) -> None:
        """Labels are int64 from 0 to the number of classes, and every split has every class."""
        found = data.load(name)
        assert set(found.splits) == {"train", "validation", "test"}
        for split in found.splits.values():
            assert split.labels.dtype == np.int64
            assert sorted(set(split.labels.tolist())) == list(range(len(found.classes)))
            assert 1 / len(found.classes) <= split.majority_rate < 1

    def test_splits_are_disjoint(self, name: str) -> None:
        """No image of one split is in another."""
        found = data.load(name)
        images = {
            split: {image.tobytes() for image in part.images(found.native_resolution)}
            for split, part in found.splits.items()
        }
        assert not images["train"] & images["validation"]
        assert not images["train"] & images["test"]
        assert not images["validation"] & images["test"]

    def test_repeats(self, name: str) -> None:
        """Another process gets the same fingerprint, and forbidden operations are known ones."""
        found = data.load(name)
        code = f"import nas.data; print(nas.data.load({name!r}).fingerprint)"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
        )
        assert run.stdout.strip() == found.fingerprint
        assert found.forbids <= OPERATIONS.keys()


def test_no_torch() -> None:
    """Reading a data set and writing a recipe import no torch."""
    code = (
        "import sys, nas.data, nas.training.recipes as r;"
        "r.default_recipe(nas.data.load('digits')); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "False", run.stderr


def test_digits_forbid_the_flip() -> None:
    """A flipped digit is no digit, and a fifth of the digits are for testing."""
    digits = data.load("digits")
    assert digits.forbids == {"flip"}
    assert [len(split) for split in digits.splits.values()] == [1079, 359, 359]


def test_npz(tmp_path: Path) -> None:
    """A MedMNIST file gives its own splits, labels of shape (N,) and images as they are."""
    path = write_npz(tmp_path / "x.npz")
    found = data.load(path)
    assert found.name == "x"
    assert found.classes == ("0", "1")
    assert (found.in_channels, found.native_resolution) == (1, 6)
    assert [len(split) for split in found.splits.values()] == [24, 8, 8]
    assert found.splits["validation"].labels.tolist() == [0, 1] * 4
    assert found.splits["train"].images(9).shape == (24, 9, 9, 1)


def test_npz_rgb_is_left_alone_at_its_own_resolution(tmp_path: Path) -> None:
    """RGB images asked for at their own resolution are the file's bytes."""
    images = np.random.default_rng(0).integers(0, 256, (8, 7, 7, 3), dtype=np.uint8)
    changes = {"train_images": images, "train_labels": np.arange(8) % 4}
    without = {f"{s}_{k}": None for s in ("val", "test") for k in ("images", "labels")}
    with pytest.raises(DataError, match="at least 3 images to be divided into 3"):
        data.load(write_npz(tmp_path / "few.npz", **changes, **without))
    changes = {"train_images": np.tile(images, (3, 1, 1, 1)), "train_labels": np.arange(24) % 4}
    found = data.load(write_npz(tmp_path / "rgb.npz", **changes, **without))
    every = np.concatenate([split.images(7) for split in found.splits.values()])
    assert sorted(i.tobytes() for i in every) == sorted(
        i.tobytes() for i in changes["train_images"]
    )
    assert found.in_channels == 3


def test_npz_names_its_classes(tmp_path: Path) -> None:
    """The key `classes` names the classes; labels beyond it are refused."""
    names = np.array(["cat", "dog"])
    assert data.load(write_npz(tmp_path / "a.npz", classes=names)).classes == ("cat", "dog")
    labels = np.arange(24) % 3
    with pytest.raises(DataError, match=r"0 to 1.*go from 0 to 2"):
        data.load(write_npz(tmp_path / "b.npz", classes=names, train_labels=labels))


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """The same content under another name has the same fingerprint; one other label another."""
    labels = np.arange(24) % 2
    first = data.load(write_npz(tmp_path / "a.npz", train_labels=labels))
    second = data.load(write_npz(tmp_path / "b.npz", train_labels=labels.astype(np.uint8)))
    third = data.load(write_npz(tmp_path / "c.npz", train_labels=1 - labels))
    assert first.fingerprint == second.fingerprint != third.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": None, "train_labels": None}, "needs the keys 'train_images'"),
        ({"val_labels": None}, "there is only 'val_images'"),
        ({"train_images": np.zeros((24, 6, 5), np.float32)}, "one shape and type"),
        ({f"{s}_images": np.full((n, 6, 5), np.nan) for s, n in (("train", 24), ("val", 8),
          ("test", 8))}, "need numbers that are finite"),
        ({"train_images": np.full((24, 6, 5), "x")}, "best of type uint8; train_images has <U1"),
        ({"train_images": np.zeros((24, 6, 5, 2), np.uint8)}, r"has \(24, 6, 5, 2\)"),
        ({"train_images": np.zeros((24, 30), np.uint8)}, r"has \(24, 30\)"),
        ({"train_images": np.zeros((24, 3, 9, 3), np.uint8)}, "which may be either"),
        ({"test_images": np.zeros((8, 9, 5), np.uint8)}, "images of one shape"),
        ({"val_labels": np.zeros(7, np.uint8)}, r"shape \(8,\) or \(8, 1\)"),
        ({"val_labels": np.zeros((8, 2), np.uint8)}, "one label per image"),
        ({"val_labels": np.full(8, 0.5)}, "whole numbers or text.*has float64 with fractions"),
        ({"val_labels": np.full(8, np.nan)}, "has float64 with fractions"),
        ({"val_labels": np.full(8, 1j)}, "val_labels has complex128"),
        ({"val_labels": np.full(8, "0")}, "text as labels, or all of them numbers"),
        ({"val_labels": np.array([-1, 0] * 4)}, "4 of val_labels are below, such as -1"),
        ({"validation_labels": np.zeros(8, int)}, "'val_labels' and 'validation_labels' for the"),
        ({"classes": np.array(["a", "b"]), "class_names": np.array(["a", "b"])}, "names of c"),
        ({"classes": np.array(["a", "a"])}, "'a' twice"),
        ({"val_labels": np.full(8, 3)}, "none of '3'"),
        ({"train_labels": np.zeros(24, np.uint8)}, "every class|Every class"),
        ({f"{s}_labels": np.zeros(n, int) for s, n in (("train", 24), ("val", 8), ("test", 8))},
         "at least two classes"),
        ({"classes": np.array([object()])}, "'classes' of .* holds Python objects"),
    ],
)  # fmt: skip
def test_bad_npz(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A file of another layout is refused with the rule and what was found."""
    with pytest.raises(DataError, match=message):
        data.load(write_npz(tmp_path / "bad.npz", **changes))


def changed(part: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arrays of one part of `write_npz`, changed."""
    with np.load(write_npz(Path(tempfile.mkdtemp()) / "x.npz")) as arrays:
        return {key: change(arrays[key]) for key in arrays.files if part in key}


def renamed(old: str, new: str) -> dict[str, Any]:
    """Return changes that give arrays another name."""
    found = changed(old, lambda array: array)
    return {key.replace(old, new): value for key, value in found.items()} | dict.fromkeys(found)


def moved(array: Any) -> Any:
    """Return RGB images of gray ones, channels first."""
    return np.repeat(array[:, None], 3, 1)


ALIKE: dict[str, Any] = {
    "validation": lambda: renamed("val_", "validation_"),
    "valid": lambda: renamed("val_", "valid_"),
    "Train": lambda: renamed("train_", "Training_"),
    "x and y": lambda: renamed("_images", "_x") | renamed("_labels", "_y"),
    "keras": lambda: {
        f"{kind}_{split}": value
        for split in ("train", "val", "test")
        for kind, name in (("x", "images"), ("y", "labels"))
        for value in changed(f"{split}_{name}", lambda array: array).values()
    } | dict.fromkeys(changed("_", lambda array: array)),
    "one channel, first": lambda: changed("images", lambda a: a[:, None]),
    "floats from 0 to 1": lambda: changed("images", lambda a: a / 255),
    "floats from 0 to 255": lambda: changed("images", lambda a: a.astype(np.float32)),
    "long integers": lambda: changed("images", lambda a: a.astype(np.int64)),
    "one-hot": lambda: changed("labels", lambda a: np.eye(2, dtype=np.float32)[a[:, 0]]),
    "truth": lambda: changed("labels", lambda a: a == 1),
    "float labels": lambda: changed("labels", lambda a: a.astype(np.float32)),
    "text labels": lambda: changed("labels", lambda a: np.array(["0", "1"])[a]),
    "bytes as labels": lambda: changed("labels", lambda a: np.array([b"0", b"1"])[a]),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_other_ways_of_writing_the_same(tmp_path: Path, name: str) -> None:
    """Names, types and shapes whose meaning is plain give the same data set."""
    found = data.load(write_npz(tmp_path / "x.npz", **ALIKE[name]()))
    assert found.fingerprint == data.load(write_npz(tmp_path / "y.npz")).fingerprint
    assert not found.origin.left_out


def test_channels_first_are_moved(tmp_path: Path) -> None:
    """Colours that come first are colours, and it is said."""
    found = data.load(write_npz(tmp_path / "x.npz", **changed("images", moved)))
    assert (found.in_channels, found.native_resolution) == (3, 6)
    assert "channels come first in the file" in describe(found)


def test_levels_of_arrays(tmp_path: Path) -> None:
    """Scans of 12 bits and standardised floats fill 0 to 255 by the train split's range."""
    for change in (lambda a: a.astype(np.uint16) * 16, lambda a: (a - 100.0) / 50):
        arrays = changed("images", change)
        found = data.load(write_npz(tmp_path / "x.npz", **arrays))
        plain = data.load(write_npz(tmp_path / "y.npz")).splits["train"].images(6).astype(int)
        assert abs(found.splits["train"].images(6) - plain).max() <= 3
        low, high = found.reading.levels or (0, 0)
        assert low == arrays["train_images"].min()
        assert high == arrays["train_images"].max()
        assert f"levels {low:g} to {high:g} become 0 to 255" in describe(found)


def test_names_and_keys(tmp_path: Path) -> None:
    """Bytes are names, names give text labels their order, unread arrays are told."""
    text = changed("labels", lambda a: np.array(["dog", "cat"])[a[:, 0]])
    names = np.array([b"dog", "\u00e9t\u00e9".encode(), b"cat"])
    with pytest.raises(DataError, match="none of '\u00e9t\u00e9'"):
        data.load(write_npz(tmp_path / "x.npz", classes=names, **text))
    extra = {"train_masks": np.zeros(3), "holdout_images": np.zeros(3)}
    found = data.load(write_npz(tmp_path / "x.npz", class_names=names[::2], **text, **extra))
    assert found.classes == ("dog", "cat")
    assert found.splits["validation"].labels.tolist() == [0, 1] * 4
    assert "left out: 2 arrays of other names (holdout_images, train_masks)" in describe(found)
    with pytest.raises(DataError, match="lacks 'dog'"):
        data.load(write_npz(tmp_path / "x.npz", classes=names[1:], **text))
    alone = {"images": np.zeros((40, 4, 4), np.uint8), "labels": np.arange(40) % 2}
    found = data.load(write_npz(tmp_path / "x.npz", **dict.fromkeys(changed("_", len)), **alone))
    assert [len(split) for split in found.splits.values()] == [24, 8, 8]
    few = data.load(write_npz(tmp_path / "x.npz", val_labels=np.zeros(8, int)))
    assert "validation has no images of '1'" in describe(few)


def test_file_that_is_no_archive(tmp_path: Path) -> None:
    """Text under the name of an .npz, a single array and another kind of file are refused."""
    (tmp_path / "text.npz").write_text("not an archive")
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    (tmp_path / "x.doc").write_text("1,2")
    for name, message in [("text", "can't be read"), ("one", "a single array")]:
        with pytest.raises(DataError, match=message):
            data.load(tmp_path / f"{name}.npz")
    with pytest.raises(DataError, match=r"needs to be one of .*an \.npz"):
        data.load(tmp_path / "x.doc")


def test_absent_source() -> None:
    """A name that is no data set and no path gets the closest name and all of them."""
    with pytest.raises(DataError, match=r"No data set named 'digit'. Did you mean 'digits'\?"):
        data.load("digit")


def test_stratified_keeps_the_proportions() -> None:
    """Every part has every class in its share, even a class that is hardly there."""
    labels = np.array([0] * 100 + [1] * 20 + [2] * 3)
    parts = stratified(labels, (0.6, 0.2, 0.2), names=("a", "b", "c"))
    assert [np.bincount(labels[part]).tolist() for part in parts] == [
        [60, 12, 1],
        [20, 4, 1],
        [20, 4, 1],
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(123))
