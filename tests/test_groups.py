"""Groups: images of one patient are in one split, whatever the layout; what is no group is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from search_kit import arguments, nas_here, result

from nas import data
from nas.config import Config
from nas.data.dataset import SPLITS, DataSet, fill_splits
from nas.data.groups import divide, numbered, of_names
from nas.errors import DataError
from nas.store import queries

NAMES = ("a", "b", "c", "d")


@st.composite
def patients(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw labels and groups: each class has at least three patients of its own, some share one."""
    classes = draw(st.integers(2, 4))
    labels, groups = [], []
    for label in range(classes):
        for size in draw(st.lists(st.integers(1, 6), min_size=3, max_size=12)):
            groups += [len(set(groups))] * size
            labels += [label] * size
    shared = draw(st.lists(st.integers(0, classes - 1), max_size=10))
    labels, groups = labels + shared, groups + [len(set(groups))] * len(shared)
    order = draw(st.permutations(range(len(labels)))) if len(labels) < 30 else range(len(labels))
    return np.array(labels)[list(order)], np.array(groups)[list(order)]


@settings(max_examples=200, deadline=None)
@given(patients(), st.sampled_from([(0.6, 0.2, 0.2), (0.85, 0.15)]))
def test_groups_stay_whole_and_classes_everywhere(
    drawn: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], shares: tuple[float, ...]
) -> None:
    """Every image is in one part, every group in one part, every class in all; always alike."""
    labels, groups = drawn
    parts = divide(labels, groups, shares, names=NAMES)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    homes = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, homes)) == len(set(groups.tolist()))
    assert {frozenset(labels[part].tolist()) for part in parts} == {frozenset(labels.tolist())}
    again = divide(labels, groups, shares, names=NAMES)
    assert all((first == second).all() for first, second in zip(parts, again, strict=True))


def test_parts_have_their_shares() -> None:
    """Of many small groups each part gets its share of each class, to a few hundredths."""
    random = np.random.default_rng(0)
    groups = np.sort(random.integers(0, 300, 2000))
    labels = random.integers(0, 10, 300)[groups] % 3
    parts = divide(labels, groups, (0.6, 0.2, 0.2), names=NAMES)
    counts = np.array([np.bincount(labels[part], minlength=3) for part in parts])
    assert np.abs(counts / counts.sum(0) - [[0.6], [0.2], [0.2]]).max() < 0.03


@pytest.mark.parametrize(
    ("labels", "groups", "told"),
    [
        ([0, 0, 0, 1, 1, 1], [0, 1, 1, 2, 3, 4], "at least 3 groups.* 3 splits; class 'a' has 2"),
        (
            [0, 1, 0, 1, 0, 2, 1, 2, 2],
            [0, 0, 1, 1, 2, 2, 3, 3, 4],
            "some split has none of '[abc]'",
        ),
    ],
)
def test_groups_that_are_too_few_or_too_large(
    labels: list[int], groups: list[int], told: str
) -> None:
    """Three splits need three patients of each class, and a way to divide them."""
    with pytest.raises(DataError, match=told):
        divide(np.array(labels), np.array(groups), (0.6, 0.2, 0.2), names=NAMES)


def write_folder(root: Path, names: dict[str, list[str]]) -> Path:
    """Write gray noise under these names below folders such as train/cat or cat."""
    random = np.random.default_rng(0)
    for folder, files in names.items():
        for name in files:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / name)
    return root


def homes(found: DataSet) -> list[set[int]]:
    """Return the groups of each split."""
    return [set(numbers(found, split).tolist()) for split in SPLITS]


def numbers(found: DataSet, split: str) -> np.ndarray[Any, Any]:
    """Return the groups of a split's images, one for each label."""
    groups = found.splits[split].groups
    assert groups is not None
    assert groups.dtype == np.int64
    assert groups.shape == found.splits[split].labels.shape
    return groups


CATS = [f"patient{p}_{n}.png" for p in range(6) for n in range(3)]
DOGS = [f"left/patient{p}_{n}.png" for p in range(3, 12) for n in range(2)]


def test_a_folder_by_its_names(tmp_path: Path) -> None:
    """The pattern is found in the path below the class; a patient of two classes is one patient."""
    root = write_folder(tmp_path / "set", {"cat": CATS, "dog": DOGS})
    plain = data.load(root, cache_dir=tmp_path / "c")
    found = data.load(root, cache_dir=tmp_path / "c", groups=r"patient(\d+)_")
    assert sum(len(split) for split in found.splits.values()) == len(CATS + DOGS)
    assert sum(map(len, homes(found))) == len(set.union(*homes(found))) == 12
    assert {len(np.unique(split.labels)) for split in found.splits.values()} == {2}
    assert found.fingerprint != plain.fingerprint
    assert plain.splits["train"].groups is None
    again = data.load(root, cache_dir=tmp_path / "c", groups=r"patient(\d+)_")
    assert again.fingerprint == found.fingerprint
    assert homes(again) == homes(found)
    assert found.splits["train"].images(6).shape == (len(found.splits["train"]), 6, 6, 1)


def test_groups_are_of_the_images(tmp_path: Path) -> None:
    """Each image has its own group: here the group's number is the image's grey level."""
    root = tmp_path / "set"
    for number in range(24):
        path = root / "ab"[number % 2] / f"p{number // 4}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 40 * (number // 4)).save(path)
    found = data.load(root, cache_dir=tmp_path / "c", groups="p(.)-")
    for split in SPLITS:
        levels = found.splits[split].images(4)[:, 0, 0, 0]
        assert (levels == 40 * numbers(found, split)).all()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (
            r"patient(\d)_",
            "finds none in 4 of 36: left/patient10_0.png, left/patient10_1.png, left/p",
        ),
        (r"patient\d+_", r"one part in parentheses.*'patient\\\\d\+_' has 0"),
        (r"(patient)(\d+)", "has 2"),
        (r"(nobody)", "finds none in 36 of 36: patient0_0.png"),
        (r"patient(\d*?)", "finds none in 36 of 36"),
        (r"patient(", r"'patient\(' is neither: missing \)"),
    ],
)
def test_a_pattern_that_finds_no_group(tmp_path: Path, pattern: str, told: str) -> None:
    """A pattern that is none, has no part in parentheses, or misses files is refused."""
    root = write_folder(tmp_path / "set", {"cat": CATS, "dog": DOGS})
    with pytest.raises(DataError, match=told):
        data.load(root, cache_dir=tmp_path / "c", groups=pattern)
    assert not (tmp_path / "c").exists()


def test_given_splits_that_share_a_patient(tmp_path: Path) -> None:
    """A user's own splits that leak are refused: patient, splits and their number are told."""
    layout = {f"train/{name}": CATS for name in ("cat", "dog")}
    layout |= {f"test/{name}": ["patient5_9.png", "patient7_1.png"] for name in ("cat", "dog")}
    root = write_folder(tmp_path / "set", layout)
    with pytest.raises(DataError, match="1 of 7 groups are in several: 5 in train and test"):
        data.load(root, cache_dir=tmp_path / "c", groups=r"patient(\d+)_")


def write_npz(path: Path, **changes: Any) -> Path:
    """Write three splits of gray noise, with `changes`."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 6, 6), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


PATIENTS = {
    "train_patients": np.arange(24) // 2,
    "val_patients": 20 + np.arange(8)[:, None] // 2,
    "test_patients": np.array([f"{30 + n}" for n in range(8)]),
}


def test_arrays_of_groups(tmp_path: Path) -> None:
    """An .npz file has an array of groups beside each split's labels, of numbers or of text."""
    path = write_npz(tmp_path / "x.npz", **PATIENTS)
    found = data.load(path, groups="patients")
    assert [len(groups) for groups in homes(found)] == [12, 4, 8]
    assert not set.intersection(*homes(found))
    assert found.fingerprint != data.load(path).fingerprint
    without = {f"{split}_{key}": None for split in ("val", "test") for key in ("images", "labels")}
    carved = data.load(write_npz(tmp_path / "y.npz", **PATIENTS, **without), groups="patients")
    assert sum(map(len, homes(carved))) == len(set.union(*homes(carved))) == 12
    bytes_ = {key: values.astype("S") for key, values in PATIENTS.items()}
    same = data.load(write_npz(tmp_path / "z.npz", **bytes_), groups="patients")
    assert same.fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"val_patients": None}, "needs the array 'val_patients' in .*train_patients"),
        ({"val_patients": np.arange(7)}, r"shape \(8,\).*val_patients has \(7,\) of type int64"),
        ({"train_patients": np.arange(24) / 2}, "train_patients has .* float64"),
        ({"test_patients": np.arange(8)}, "8 of 16 groups are in several: 0 in train and test"),
    ],
)
def test_bad_arrays_of_groups(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """An array that is missing, of another shape or type, or leaks is named."""
    path = write_npz(tmp_path / "x.npz", **{**PATIENTS, **changes})
    with pytest.raises(DataError, match=told):
        data.load(path, groups="patients")


def test_named_data_have_no_groups() -> None:
    """Digits come without writers."""
    with pytest.raises(DataError, match="'digits' has none"):
        data.load("digits", groups="writer")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(st.characters(exclude_characters="-\n"), min_size=1), min_size=1))
def test_any_text_may_name_a_group(keys: list[str]) -> None:
    """Whatever stands between the marks is the group; equal texts have equal numbers."""
    found = of_names("^-([^-]+)-", [f"-{key}-{n}" for n, key in enumerate(keys)])
    assert found == keys
    same = numbered(keys)
    assert [[a == b for b in keys] for a in keys] == [[a == b for b in same] for a in same]


def test_a_search_keeps_its_groups(tmp_path: Path) -> None:
    """The study stores the option, workers and winner load the same splits, others are refused."""
    root = write_folder(tmp_path / "set", {"cat": CATS, "dog": DOGS})
    words = {"data": str(root), "groups": r"patient(\d+)_", "epochs": 1, "trials": 1}
    found = result(nas_here("search", *arguments(tmp_path, **words), "--json"))
    assert found["trials"]["complete"] == 1
    url = f"sqlite:///{tmp_path}/nas.db"
    with queries.connect(url) as connection:
        config = Config.from_json(queries.study(connection, "tiny").config)
    assert config.groups == r"patient(\d+)_"
    assert config.recipe.fingerprint == config.load_data().fingerprint
    ended = nas_here("search", *arguments(tmp_path, **words | {"groups": "patient(.)"}), "--json")
    assert ended.returncode == 2
    assert "recipe" in ended.stderr
    resumed = result(
        nas_here("resume", "--study", "tiny", "--trials", "2", "--store", url, "--json")
    )
    assert resumed["trials"]["complete"] == 2


def test_a_search_without_groups_stores_none(tmp_path: Path) -> None:
    """The option's neutral value is no part of a stored configuration."""
    result(nas_here("search", *arguments(tmp_path, trials=1, epochs=1, workers=0), "--json"))
    with queries.connect(f"sqlite:///{tmp_path}/nas.db") as connection:
        assert "groups" not in queries.study(connection, "tiny").config


def test_rare_labels_are_in_every_split() -> None:
    """Of several labels, those too rare to be divided one by one are divided together."""
    labels = np.zeros((60, 8), np.int64)
    labels[:48, 0] = 1
    labels[np.arange(48, 60), 2 + np.arange(12) // 2] = 1  # six labels of two images each
    parts = fill_splits({"train": np.arange(60)}, labels, list("abcdefgh"), np.arange(60))
    rare = [int(labels[part, 2:].sum()) for part in parts.values()]
    assert sum(rare) == 12
    assert min(rare) >= 2
    together = np.where(np.arange(60) < 48, np.arange(60), 60)  # all rare ones of one patient
    parts = fill_splits({"train": np.arange(60)}, labels, list("abcdefgh"), together)
    assert sorted(int(labels[part, 2:].sum()) for part in parts.values()) == [0, 0, 12]
