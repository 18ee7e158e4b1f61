"""`nas data show`: how a data set was read, what was left out, copies, and the picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from search_kit import arguments, nas_here
from typer.testing import CliRunner

import nas
from nas import data
from nas.cli import app
from nas.data.dataset import DataSet, Origin, in_memory
from nas.data.inspection import counts, describe, metric, missing, sizes
from nas.errors import DataError, UserError
from nas.training.recipes import compose


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_folder(root: Path) -> Path:
    """Write two classes of gray noise of several sizes, beside files that are none of it."""
    random = np.random.default_rng(len(root.name))
    for number in range(40):
        path = root / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (8, 8) if number < 30 else (20, 12)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "cat" / "photo.cr2").write_bytes(b"x")
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    Image.new("L", (4, 4)).save(root / "cover.png")
    return root


def shown(*words: str) -> dict[str, Any]:
    """Run `nas data show --json`."""
    ended = CliRunner().invoke(app, ["data", "show", *words, "--json"])
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def test_a_folder_is_told_whole(here: Path) -> None:
    """Counts, sizes, modes and all that was left out are those of the files that were written."""
    root = write_folder(here / "pets")
    for name in ("cat/02.png", "dog/03.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    found = shown("pets")
    assert found["classes"] == ["cat", "dog"]
    assert sum(n for split in found["counts"].values() for n in split.values()) == 38
    assert found["left_out"] == {
        "not below a class": {"count": 1, "first": ["cover.png"]},
        ".txt": {"count": 1, "first": ["cat/notes.txt"]},
        ".cr2": {"count": 1, "first": ["cat/photo.cr2"]},
        "unreadable": {"count": 2, "first": ["cat/02.png", "dog/03.png"]},
    }
    assert found["sizes"] == {
        "smallest": [8, 8], "largest": [12, 20], "median": [8, 8], "different": 2
    }  # fmt: skip
    assert (found["in_channels"], found["modes"]) == (1, {"L": 38})
    assert (found["missing"], found["groups"], found["picture"]) == ([], None, None)
    assert found["metric"]["name"] == "accuracy"
    assert found["folds"] == 3  # there are few validation images
    lines = CliRunner().invoke(app, ["data", "show", "pets"]).stdout
    assert "a search refuses unreadable images" in lines
    with pytest.raises(DataError, match=r"2 of 40 are not\. .*02\.png is not: .*03\.png is not: "):
        data.load(root, cache_dir=here / "cache")


def test_copies_are_named_by_their_files(here: Path) -> None:
    """A copy across splits comes with both files and their classes, in JSON and in the lines."""
    root = here / "pets"
    for split in ("train", "val", "test"):
        write_folder(root / split)
        (root / split / "cover.png").unlink()
    copy = (root / "train" / "cat" / "04.png").read_bytes()
    (root / "test" / "dog" / "05.png").write_bytes(copy)
    found = shown("pets")["duplicates"]
    assert found["exact"]["across"]["train/test"] == 1
    first, second = found["exact"]["examples"][0]
    assert (first["split"], first["file"], first["class"]) == ("train", "train/cat/04.png", "cat")
    assert (second["split"], second["file"], second["class"]) == ("test", "test/dog/05.png", "dog")
    lines = CliRunner().invoke(app, ["data", "show", "pets"]).stdout
    assert "train train/cat/04.png = test test/dog/05.png" in lines


def test_a_picture_is_drawn(here: Path) -> None:
    """`--out` is a folder for a picture; a bad one is refused before the data are read."""
    write_folder(here / "pets")
    found = shown("pets", "--out", "looked")
    assert found["picture"] == "looked/samples.png"
    with Image.open(here / "looked" / "samples.png") as picture:
        assert picture.format == "PNG"
        assert picture.convert("L").getextrema() == (0, 255)
    (here / "file").write_text("")
    ended = CliRunner().invoke(app, ["data", "show", "nothing", "--out", "file"])
    assert (ended.exit_code, ended.stderr) == (
        2, "nas: --out is a folder to write to, not 'file': file is a file.\n"
    )  # fmt: skip


def test_groups_are_counted(here: Path) -> None:
    """With `--groups` the number of groups of each split is told; a bad pattern is refused."""
    write_folder(here / "pets")
    found = nas.data_show("pets", groups=r"(\d)\d\.png$").to_json()["groups"]
    assert sum(found.values()) == 4
    assert min(found.values()) == 1
    assert CliRunner().invoke(app, ["data", "show", "pets", "--groups", "("]).exit_code == 2


def test_arrays_that_nobody_reads_are_told(here: Path) -> None:
    """An array under another name than MedMNIST's is left out by its name."""
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez("x.npz", train_images=images, train_labels=labels, more_images=images)
    found = shown("x.npz")
    assert found["left_out"] == {"arrays of other names": {"count": 1, "first": ["more_images"]}}
    assert found["sizes"]["median"] == [5, 6]


def test_several_labels(here: Path) -> None:
    """Images with several labels are counted under each, kept with their patient, and drawn."""
    random = np.random.default_rng(0)
    labels = (random.random((120, 3)) < (0.5, 0.3, 0.2)).astype(np.uint8)
    images = random.integers(0, 256, (120, 6, 6), dtype=np.uint8)
    patients = np.arange(120) // 2
    np.savez("chest.npz", train_images=images, train_labels=labels, train_patients=patients)
    found = shown("chest.npz", "--groups", "patients", "--out", "looked")
    totals = [sum(split[name] for split in found["counts"].values()) for name in found["classes"]]
    assert totals == labels.sum(0).tolist()
    assert sum(found["groups"].values()) == 60
    assert found["metric"]["name"] == "auroc"
    assert (here / "looked" / "samples.png").is_file()


def made(labels: dict[str, list[int]], sides: dict[tuple[int, int], int]) -> DataSet:
    """Make a data set of black images with these labels, and files of these sizes."""
    splits = {
        name: in_memory(np.zeros((len(part), 4, 4, 1), np.uint8), np.array(part, np.int64))
        for name, part in labels.items()
    }
    origin = Origin(sides, {"L": sum(sides.values())})
    return DataSet("made", "0" * 32, ("a", "b", "c"), 1, 4, frozenset(), splits, origin)


LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=30)


@settings(deadline=None)
@given(LABELS, LABELS, LABELS, st.lists(st.tuples(*[st.integers(1, 9)] * 2), min_size=1))
def test_the_facts_are_of_the_set(
    train: list[int], validation: list[int], test: list[int], sides: list[tuple[int, int]]
) -> None:
    """Counts, absent classes, extremes and medians equal what the labels and sizes are."""
    labels = {"train": [0, 1, 2, *train], "validation": validation, "test": test}
    found = made(labels, {size: sides.count(size) for size in sides})
    for name, part in labels.items():
        assert list(counts(found)[name].values()) == [part.count(label) for label in range(3)]
        told = [line for line in missing(found) if line.startswith(f"{name} has no images of ")]
        absent = [repr("abc"[label]) for label in range(3) if label not in part]
        assert told == ([f"{name} has no images of {', '.join(absent)}"] if absent else [])
    areas = sorted(width * height for width, height in sides)
    extremes = sizes(found)
    assert int(np.prod(extremes["smallest"])) == areas[0]
    assert int(np.prod(extremes["largest"])) == areas[-1]
    middle = (len(sides) - 1) // 2
    assert extremes["median"] == tuple(sorted(s[axis] for s in sides)[middle] for axis in (0, 1))
    assert all(line in describe(found) for line in missing(found))


@pytest.mark.parametrize(
    ("train", "name"),
    [
        ([0, 1, 2], "accuracy"),
        ([0, 1, 2, 2], "balanced_accuracy"),
        ([0, 0, 0, 1, 1, 2, 2], "accuracy"),
    ],
)
def test_the_metric_suits_the_classes(train: list[int], name: str) -> None:
    """Accuracy up to one and a half times as many images, else one that no majority can win."""
    found = made({"train": train, "validation": [0], "test": [0]}, {(4, 4): 1})
    assert metric(found)[0] == name


def test_a_metric_of_a_class_without_validation_images(tmp_path: Path) -> None:
    """`recall:c` can't be scored where no validation image is of c; folds score it."""
    labels = {"train": [0, 1, 2] * 4, "validation": [0, 1], "test": [0, 1, 2]}
    found = made(labels, {(4, 4): 17})
    with pytest.raises(UserError, match=r"recall:c needs validation images of 'c'"):
        compose(found, given={"metric": "recall:c"})
    with pytest.raises(
        UserError, match=r"f1:c needs validation images of 'c'; there are images of: a, b"
    ):
        compose(found, given={"metric": "f1:2", "folds": 1})
    assert compose(found, given={"metric": "recall:c", "folds": 3}).folds == 3
    assert compose(found, given={"metric": "recall:a"}).metric == "recall:a"


def test_a_search_says_how_the_data_were_read(tmp_path: Path) -> None:
    """Among its first lines stand classes, images by split, channels and size."""
    ended = nas_here("search", *arguments(tmp_path, trials=1, epochs=1, workers=0))
    assert ended.returncode == 0
    assert (
        "data tones: 2 classes (0, 1), the largest 50% of train; "
        "96 train, 32 validation, 32 test; gray of 8 bits, 8 x 8 px\n"
    ) in ended.stderr
