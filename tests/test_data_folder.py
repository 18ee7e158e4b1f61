"""Folders of images: layouts, the cache on disk, and images that can't be read."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas import data
from nas.data import image_list
from nas.errors import DataError, UnreadableImage


def write_images(root: Path, classes: dict[str, int], *, mode: str = "RGB", side: int = 10) -> Path:
    """Write so many images of each class, all of them different, as PNG."""
    random = np.random.default_rng(len(str(root)))
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{number:03}.png")
    return root


def test_folder_without_splits(tmp_path: Path) -> None:
    """A folder per class is divided 60/20/20 in proportion; classes are named as the folders."""
    found = data.load(write_images(tmp_path / "set", {"a": 20, "b": 10}), cache_dir=tmp_path / "c")
    assert (found.name, found.classes) == ("set", ("a", "b"))
    assert (found.in_channels, found.native_resolution) == (3, 12)
    counts = [np.bincount(split.labels).tolist() for split in found.splits.values()]
    assert counts == [[12, 6], [4, 2], [4, 2]]


def test_grades_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Folders and text in an array alike: 10 comes after 2, which ordinal losses rely on."""
    root = write_images(tmp_path / "set", {"1": 10, "10": 10, "2": 10})
    assert data.load(root, cache_dir=tmp_path / "c").classes == ("1", "2", "10")
    labels = np.array(["10", "1", "2"] * 10)
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "text.npz", images=images, labels=labels)
    found = data.load(tmp_path / "text.npz")
    assert found.classes == ("1", "2", "10")
    named = [found.classes[label] for split in found.splits.values() for label in split.labels]
    assert sorted(named) == sorted(labels.tolist())


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_folder_with_splits(tmp_path: Path, validation: str) -> None:
    """Split folders are taken as they are, under the names they usually have."""
    for split, count in (("train", 6), (validation, 3), ("test", 2)):
        write_images(tmp_path / "set" / split, {"a": count, "b": count}, mode="L")
    found = data.load(tmp_path / "set", cache_dir=tmp_path / "c")
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 12,
        "validation": 6,
        "test": 4,
    }
    assert found.in_channels == 1


def test_folder_without_validation(tmp_path: Path) -> None:
    """A validation split that is not given comes out of train; the test split stays as it is."""
    write_images(tmp_path / "set" / "train", {"a": 20, "b": 20})
    write_images(tmp_path / "set" / "test", {"a": 2, "b": 3})
    found = data.load(tmp_path / "set", cache_dir=tmp_path / "c")
    assert [len(split) for split in found.splits.values()] == [34, 6, 5]


def test_class_called_train(tmp_path: Path) -> None:
    """A class of trains is not taken for a train split."""
    write_images(tmp_path / "set", {"bus": 5, "train": 5})
    assert data.load(tmp_path / "set", cache_dir=tmp_path / "c").classes == ("bus", "train")


def test_images_come_resized_from_disk(tmp_path: Path) -> None:
    """Images are resized once into a mapped file and equal Pillow's own antialiased resize."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    test = data.load(root, cache_dir=tmp_path / "c").splits["test"]
    images = test.images(6)
    assert isinstance(images, np.memmap)
    with Image.open(sorted((root / "a").iterdir())[0]) as image:
        first = np.asarray(image.resize((6, 6), Image.Resampling.BILINEAR))
    every = [*images, *data.load(root, cache_dir=tmp_path / "c").splits["train"].images(6)]
    every += [*data.load(root, cache_dir=tmp_path / "c").splits["validation"].images(6)]
    assert any((image == first).all() for image in every)


def test_second_load_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another load of the same folder reads the manifest and no image."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    first = data.load(root, cache_dir=tmp_path / "c")
    first.splits["train"].images(6)
    monkeypatch.setattr(image_list, "_examine", None)
    monkeypatch.setattr(image_list, "decode", None)
    second = data.load(root, cache_dir=tmp_path / "c")
    assert second.fingerprint == first.fingerprint
    assert second.splits["train"].images(6).shape == (6, 6, 6, 3)


def test_changed_image_is_another_data_set(tmp_path: Path) -> None:
    """A file that was replaced is examined anew and changes the fingerprint."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    first = data.load(root, cache_dir=tmp_path / "c").fingerprint
    Image.new("RGB", (10, 10)).save(root / "a" / "000.png")
    assert data.load(root, cache_dir=tmp_path / "c").fingerprint != first


def test_damaged_manifest(tmp_path: Path) -> None:
    """A manifest that is no JSON is made anew."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    first = data.load(root, cache_dir=tmp_path / "c").fingerprint
    (manifest,) = (tmp_path / "c").glob("*.json")
    manifest.write_text("{")
    assert data.load(root, cache_dir=tmp_path / "c").fingerprint == first
    _, entries = json.loads(manifest.read_text())
    assert len(entries) == 10


def test_unreadable_image(tmp_path: Path) -> None:
    """An image that can't be decoded to its end is named before anything begins."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    bad = root / "b" / "003.png"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(DataError, match=r"003\.png is not: "):
        data.load(root, cache_dir=tmp_path / "c")
    bad.write_text("hello")
    with pytest.raises(DataError, match=r"003.png is not: no image that Pillow knows"):
        data.load(root, cache_dir=tmp_path / "c")


def test_all_unreadable_images_are_named(tmp_path: Path) -> None:
    """Whoever has many to mend gets their names at once, and how many more there are."""
    root = write_images(tmp_path / "set", {"a": 30, "b": 30})
    for number in range(25):
        (root / "a" / f"{number:03}.png").write_text("hello")
    with pytest.raises(DataError, match=r"25 of 60 are not\..*019\.png is not.* And 5 more\."):
        data.load(root, cache_dir=tmp_path / "c")


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_image_gone_bad_later(tmp_path: Path, damage: str) -> None:
    """An image that was good when loaded ends a trial, with its name, and leaves no half file."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    found = data.load(root, cache_dir=tmp_path / "c")
    for path in root.rglob("*.png"):
        if damage == "gone":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-40])
        else:
            Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(UnreadableImage, match=r"\.png"):
        found.splits["train"].images(6)
    assert not list((tmp_path / "c").glob("*.npy"))


@pytest.mark.parametrize(
    ("classes", "message"),
    [({}, "has no images"), ({"a": 0}, "has no images"), ({"a": 9}, "at least two classes")],
)
def test_folders_that_are_no_data_set(
    tmp_path: Path, classes: dict[str, int], message: str
) -> None:
    """A folder that is empty or has one class is refused."""
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=message):
        data.load(write_images(tmp_path / "set", classes), cache_dir=tmp_path / "c")


def test_class_that_is_not_trained(tmp_path: Path) -> None:
    """A class that only the test folder has is refused by name."""
    write_images(tmp_path / "set" / "train", {"a": 5, "b": 5})
    write_images(tmp_path / "set" / "test", {"a": 2, "c": 3})
    with pytest.raises(DataError, match="none of 'c'"):
        data.load(tmp_path / "set", cache_dir=tmp_path / "c")


def test_sixteen_bits_and_palettes(tmp_path: Path) -> None:
    """16-bit gray keeps its range in 8 bits; one coloured image makes the whole set RGB."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5}, mode="L")
    Image.fromarray(np.full((4, 4), 0xFFFF, np.uint16)).save(root / "a" / "000.png")
    found = data.load(root, cache_dir=tmp_path / "c")
    assert found.in_channels == 1
    assert max(split.images(4).min((1, 2, 3)).max() for split in found.splits.values()) == 255
    Image.new("P", (4, 4)).save(root / "a" / "001.png")
    assert data.load(root, cache_dir=tmp_path / "c").in_channels == 3


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache directory that is a file is named in the error."""
    root = write_images(tmp_path / "set", {"a": 5, "b": 5})
    (tmp_path / "c").write_text("")
    with pytest.raises(DataError, match="resized images needs to be writable"):
        data.load(root, cache_dir=tmp_path / "c")


CODE = """
import sys, nas.data
from pathlib import Path
found = nas.data.load(sys.argv[1], cache_dir=Path(sys.argv[2]))
print(found.fingerprint, int(found.splits["train"].images(32).astype(int).sum()))
"""


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Processes that build the same cache at once, one of them killed, end with the same images."""
    root = write_images(tmp_path / "set", {"a": 60, "b": 60}, side=200)
    command = [sys.executable, "-c", CODE, str(root), str(tmp_path / "c")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    end = time.monotonic() + 60
    while not list(tmp_path.glob("c/*.lock")):
        assert time.monotonic() < end, "no process has begun"
        time.sleep(0.01)
    os.kill(runs[0].pid, signal.SIGKILL)
    outputs = [run.communicate(timeout=60)[0] for run in runs[1:]]
    found = data.load(root, cache_dir=tmp_path / "c")
    total = int(found.splits["train"].images(32).astype(int).sum())
    assert outputs == [f"{found.fingerprint} {total}\n"] * 2
    assert runs[0].wait(60) == -signal.SIGKILL
    runs[0].stdout.close()  # type: ignore[union-attr]
