"""Formats of whole data sets: MedMNIST by name, CIFAR's archives, tables, Parquet."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import data
from nas.data import formats, medmnist
from nas.data.inspection import describe
from nas.errors import DataError
from nas.study.preparation import source_from_anywhere


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with a home below it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


def write_medmnist(home: Path, name: str, side: int = 8) -> Path:
    """Write a small file of a set of MedMNIST where its package keeps them."""
    classes = len(medmnist.CLASSES[name.partition("_")[0]])
    random, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 4 * classes), ("val", 2 * classes), ("test", 2 * classes)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = np.arange(count)[:, None] % classes
        if name.startswith("chest"):
            labels = (np.arange(classes) <= labels) ^ (np.arange(count) % 3 == 0)[:, None]
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    path = home / ".medmnist" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", medmnist.CLASSES)
def test_medmnist_by_name(name: str, home: Path) -> None:
    """Each of the 12 sets, in any size, is read by its name, with the names of its classes."""
    assert len(medmnist.CLASSES) == 12
    for size, side in (("", 28), ("_64", 64)):
        path = write_medmnist(home, name + size, side)
        found = data.load(name + size)
        assert (found.name, found.native_resolution) == (name + size, side)
        assert found.classes == medmnist.CLASSES[name]
        assert found.task == ("labels" if name == "chestmnist" else "classes")
        by_path = data.load(path)
        assert by_path.classes == tuple(map(str, range(len(found.classes))))
        assert (by_path.splits["test"].labels == found.splits["test"].labels).all()
        assert source_from_anywhere(name + size) == name + size


def test_medmnist_that_is_not_here(home: Path) -> None:
    """Its place is told, with what is there; a path of the name is then the path."""
    write_medmnist(home, "pneumoniamnist")
    message = r"pneumoniamnist_64\.npz \(that folder has: pneumoniamnist\.npz\)"
    with pytest.raises(DataError, match=message):
        data.load("pneumoniamnist_64")
    with pytest.raises(DataError, match=r"No data set named 'pneumoniamnist_65'.*retinamnist"):
        data.load("pneumoniamnist_65")
    with pytest.raises(DataError, match="No data set named 'organmnist3d'"):
        data.load("organmnist3d")
    with pytest.raises(DataError, match="--groups is for a folder"):
        data.load("pneumoniamnist", groups="patients")
    Path("pneumoniamnist_64").mkdir()
    with pytest.raises(DataError, match="pneumoniamnist_64 has no images"):
        data.load("pneumoniamnist_64")
    write_medmnist(home, "retinamnist").rename(home / ".medmnist" / "pneumoniamnist.npz")
    with pytest.raises(DataError, match="as 'classes' has 2 names"):
        data.load("pneumoniamnist")


def records(count: int, classes: int, *, coarse: bool) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Return records as CIFAR's binary version has them, and their images."""
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(count) % classes).astype(np.uint8)[:, None]
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    columns = [labels // 5, labels, planes] if coarse else [labels, planes]
    return np.concatenate(columns, 1).tobytes(), images


def cifar(classes: int) -> dict[str, bytes]:
    """Return the files of a small CIFAR-10 or CIFAR-100."""
    names = "".join(f"class_{number}\n" for number in range(classes)).encode()
    if classes == 10:
        files = {f"data_batch_{n}.bin": records(10, 10, coarse=False)[0] for n in range(1, 6)}
        files |= {"test_batch.bin": records(20, 10, coarse=False)[0]}
        return files | {"batches.meta.txt": names + b"\n"}
    files = {name: records(n, 100, coarse=True)[0] for name, n in
             (("train.bin", 300), ("test.bin", 100))}  # fmt: skip
    return files | {"fine_label_names.txt": names, "coarse_label_names.txt": b"a\n" * 20}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    """Write an archive of a folder with these files."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar(classes: int, tmp_path: Path) -> None:
    """The binary archive and its folder give the same set: planes as colours, fine labels."""
    files = cifar(classes)
    found = data.load(packed(tmp_path / f"cifar-{classes}-binary.tar.gz", files))
    assert found.name == f"cifar-{classes}"
    assert found.classes == tuple(f"class_{number}" for number in range(classes))
    count = 20 if classes == 10 else 100
    assert len(found.splits["test"]) == count
    assert found.splits["test"].labels.tolist() == [n % classes for n in range(count)]
    expected = records(count, classes, coarse=False)[1]
    assert (found.splits["test"].images(32) == expected).all()
    assert len(found.splits["validation"]) > 0
    assert ("not the 20 coarse ones" in describe(found)) == (classes == 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert data.load(folder).fingerprint == found.fingerprint


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-100-python"])
def test_cifar_for_python_is_refused(name: str, tmp_path: Path) -> None:
    """Pickles are never read: the message names the binary archive of the same images."""
    path, number = tmp_path / name, name.split("-")[1]
    if name.endswith("gz"):
        packed(path, {"data_batch_1": b"\x80\x02}."})
    else:
        path.mkdir()
        (path / "meta").write_bytes(b"\x80\x02}.")
    with pytest.raises(DataError, match=rf"pickles.* are in cifar-{number}-binary\.tar\.gz"):
        data.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_batch.bin": None}, r"lacks \['test_batch.bin'\]"),
        ({"batches.meta.txt": None}, "has a file batches.meta.txt or fine_label_names.txt"),
        ({"batches.meta.txt": b"cat\ndog\n"}, "10 classes; .* names 2"),
        ({"data_batch_2.bin": bytes(3072)}, "records of 3,073 bytes; it has 3,072"),
        ({"data_batch_2.bin": b"\x0a" + bytes(3072)}, "Labels of cifar-10 are 0 to 9"),
        ({"test_batch.bin": b""}, "it has 0 bytes"),
    ],
)  # fmt: skip
def test_damaged_cifar(changes: dict[str, bytes | None], message: str, tmp_path: Path) -> None:
    """A missing file, a cut record and an impossible label are refused by their names."""
    files = {k: v for k, v in (cifar(10) | changes).items() if v is not None}
    with pytest.raises(DataError, match=message):
        data.load(packed(tmp_path / "cifar-10-binary.tar.gz", files))


def test_cifar_within_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the archive over the limit of an array is refused before it is read."""
    monkeypatch.setenv("NAS_LIMITS", "array_bytes=1000")
    with pytest.raises(DataError, match="array_bytes=30730 allows it"):
        data.load(packed(tmp_path / "cifar-10-binary.tar", cifar(10)))


def test_each_path_has_one_format(tmp_path: Path) -> None:
    """No path is of two formats, and a folder or archive of images is of none."""
    names = [f"x{ending}" for ending in formats.endings()]
    names += ["cifar-10-binary.tar.gz", "CIFAR-100-python.tgz"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
        assert sum(each.takes(tmp_path / name) for each in formats.every()) == 1, name
    assert formats.of(tmp_path) is None
    assert formats.of(Path("images.tar.gz")) is None
