"""Formats of whole data sets: MedMNIST by name, CIFAR's archives, tables, Parquet."""

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas import data
from nas.data import formats, medmnist
from nas.data.inspection import describe
from nas.data.layout import Patterns
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


def write_table(folder: Path, rows: str = "", count: int = 24) -> Path:
    """Write images of two classes and a table of them; `rows` replaces the table's text."""
    random, lines = np.random.default_rng(0), ["file,label,split,patient,age"]
    for number in range(count):
        path = folder / "images" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
        split = ("train", "train", "val", "test")[number // 2 % 4]
        lines.append(f"images/{number:02}.png,{10 if number % 2 else 9},{split},p{number // 2},50")
    (folder / "table.csv").write_text(rows or "\n".join(lines))
    return folder / "table.csv"


def test_a_table_of_images(tmp_path: Path) -> None:
    """Paths, labels and splits come from columns; grades are in order; other columns are told."""
    found = data.load(write_table(tmp_path / "set"), cache_dir=tmp_path / "c", groups="patient")
    assert (found.name, found.classes) == ("table", ("9", "10"))
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 12, "validation": 6, "test": 6
    }  # fmt: skip
    assert found.splits["train"].labels.tolist() == [0, 1] * 6
    groups = found.splits["train"].groups
    assert groups is not None
    assert len(np.unique(groups)) == 6
    assert "left out: 1 columns of other names (age)" in describe(found)
    text = (tmp_path / "set" / "table.csv").read_text().replace(",", "\t")
    (tmp_path / "set" / "table.tsv").write_text(text)
    tabs = data.load(tmp_path / "set" / "table.tsv", cache_dir=tmp_path / "c", groups="patient")
    assert tabs.fingerprint == found.fingerprint


def test_a_table_of_several_labels(tmp_path: Path) -> None:
    """A bar stands between an image's labels; without a split column splits are made."""
    names = ["", "mass", "mass|hernia", "hernia"]
    lines = ["image;labels", *(f"images/{n:02}.png;{names[n % 4]}" for n in range(24))]
    path = write_table(tmp_path / "set", "\n".join(lines))
    found = data.load(path, cache_dir=tmp_path / "c")
    assert (found.task, found.classes) == ("labels", ("hernia", "mass"))
    assert sum(int(split.labels.sum()) for split in found.splits.values()) == 24
    one = path.read_text().replace("mass|hernia", "mass").replace("png;\n", "png;mass\n")
    path.write_text(one)
    single = data.load(path, cache_dir=tmp_path / "c")
    assert single.task == "classes"
    assert "read as classes" in describe(single)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label\nimages/00.png,a\nimages/77.png,b", r"1 of 2 are not there: images/77\.png"),
        ("file,label\nimages/00.png,a\nimages/00.png,b", r"again: images/00\.png"),
        ("file,label\nimages/00.png,a,c", "row 1: 3 cells, but the table has 2"),
        ("file,label\nimages/00.png,", r"needs a label; 1 of .* such as images/00\.png"),
        ("file,label,split\nimages/00.png,a,holdout", r"have another, such as 'holdout'"),
        ("file,path,label\na,b,c", "'path' and 'file' for the same|'file' and 'path'"),
        ("file,grade\na,b", "needs a column of images .* has: file, grade"),
        ("file,label,labels\na,b,c", "needs a column of images"),
        ("file,label,label\na,b,c", "'label' twice"),
        ("file,label", "a row for each image"),
        ("file,label\nimages/00.png,a\nimages/01.png,a", "at least two classes"),
        ("file,label\nimages\0,a", "1 of 1 are not there|NUL"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table(rows: str, message: str, tmp_path: Path) -> None:
    """A missing file, column, label or split is named with its row or image."""
    with pytest.raises(DataError, match=message):
        data.load(write_table(tmp_path / "set", rows), cache_dir=tmp_path / "c")


def test_choices_in_a_table(tmp_path: Path) -> None:
    """Groups are a column, patterns are refused, and a table over a limit too."""
    path = write_table(tmp_path / "set")
    with pytest.raises(DataError, match=r"names a column.* no 'eye', but: file, label"):
        data.load(path, groups="eye")
    with pytest.raises(DataError, match="choose files of a folder"):
        data.load(path, patterns=Patterns(("a",)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_LIMITS", "members=20")
        with pytest.raises(DataError, match="members=25 allows it"):
            data.load(path)


def png(seed: int) -> bytes:
    """Return a small image's file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(out := io.BytesIO(), "png")
    return out.getvalue()


def shard(path: Path, numbers: range, *, arrow: bool = False, label: Any = None) -> Path:
    """Write a file as Hugging Face's library does: images and numbered classes with names."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names = {"names": ["dog", "cat"], "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": names}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    labels = [number % 2 if label is None else label for number in numbers]
    table = pa.table({"image": images, "label": labels, "id": list(numbers)})
    table = table.replace_schema_metadata(meta)
    path.parent.mkdir(parents=True, exist_ok=True)
    if arrow:
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
    else:
        parquet.write_table(table, path)
    return path


def hub(folder: Path) -> Path:
    """Write a data set as the hub keeps it."""
    shard(folder / "data" / "train-00000-of-00002.parquet", range(20))
    shard(folder / "data" / "train-00001-of-00002.parquet", range(20, 30))
    shard(folder / "data" / "test-00000-of-00001.parquet", range(30, 40))
    return folder


def test_data_sets_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's Parquet, `save_to_disk`'s Arrow and the hub's cache by name are one set."""
    found = data.load(hub(tmp_path / "set"), cache_dir=tmp_path / "c")
    assert found.classes == ("dog", "cat")
    assert [len(split) for split in found.splits.values()] == [26, 4, 10]
    assert found.splits["test"].labels.tolist() == [0, 1] * 5
    expected = np.asarray(Image.open(io.BytesIO(png(30))))
    assert (found.splits["test"].images(8)[0, ..., 0] == expected).all()
    assert "columns of other names (id)" in describe(found)
    saved = tmp_path / "saved"
    shard(saved / "train" / "data-00000-of-00002.arrow", range(20), arrow=True)
    shard(saved / "train" / "data-00001-of-00002.arrow", range(20, 30), arrow=True)
    shard(saved / "test" / "data-00000-of-00001.arrow", range(30, 40), arrow=True)
    (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    again = data.load(saved, cache_dir=tmp_path / "c")
    assert (again.splits["test"].images(8) == found.splits["test"].images(8)).all()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    place = tmp_path / "hf" / "hub" / "datasets--me--pets"
    hub(place / "snapshots" / "abc123")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc123")
    named = data.load("hf://datasets/me/pets", cache_dir=tmp_path / "c")
    assert (named.name, named.fingerprint) == ("pets", found.fingerprint)
    with pytest.raises(DataError, match=r"hf download me/none --repo-type dataset"):
        data.load("hf://datasets/me/none")


def test_one_parquet_file(tmp_path: Path) -> None:
    """A file of images is divided; one of paths is a table as .csv is."""
    found = data.load(shard(tmp_path / "pets.parquet", range(30)), cache_dir=tmp_path / "c")
    assert (found.name, sum(map(len, found.splits.values()))) == ("pets", 30)
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "set")
    rows = list(csv.DictReader((tmp_path / "set" / "table.csv").read_text().splitlines()))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "table.parquet")
    by_text = data.load(tmp_path / "set" / "table.csv", cache_dir=tmp_path / "c")
    found = data.load(tmp_path / "set" / "table.parquet", cache_dir=tmp_path / "c")
    assert found.fingerprint == by_text.fingerprint


def test_what_is_wrong_with_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that are none, damage, two configurations, limits and a missing package are told."""
    with pytest.raises(DataError, match=r"'label' are 0 to 1.* there is -1"):
        data.load(shard(tmp_path / "a.parquet", range(9), label=-1))
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DataError, match=r"b\.parquet can't be read"):
        data.load(tmp_path / "b.parquet")
    two = tmp_path / "two"
    for name in ("small", "large"):
        shard(two / name / "train-00000-of-00001.parquet", range(9))
    with pytest.raises(DataError, match=r"one configuration; .* has large, small"):
        data.load(two)
    path = shard(tmp_path / "c.parquet", range(30))
    monkeypatch.setenv("NAS_LIMITS", "image_bytes=10")
    with pytest.raises(DataError, match=r"row 0/0: .*image_bytes"):
        data.load(path)
    monkeypatch.setattr("nas.data.formats.parquet.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'nas\[parquet\]'"):
        data.load(path)
