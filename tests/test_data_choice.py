"""The choice within data: files by pattern, forbidden augmentations, archives, names, folders."""

import os
import runpy
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from search_kit import arguments, nas_here, result

import nas
from nas import data
from nas.config import Config
from nas.data.inspection import describe
from nas.data.layout import Patterns
from nas.errors import DataError, UserError
from nas.store import queries
from nas.training.augmentations import forbidden
from nas.training.recipes import compose


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with a cache below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


def write_folder(root: Path, kinds: tuple[str, ...] = ("",), count: int = 20) -> Path:
    """Write dark and bright images, of several kinds below each class."""
    random = np.random.default_rng(0)
    for number in range(count):
        for kind in kinds:
            path = root / ("dark", "bright")[number % 2] / kind / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 100, (8, 8)) + 150 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def stored(tmp_path: Path) -> Config:
    """Return the configuration of the study."""
    with queries.connect(f"sqlite:///{tmp_path}/nas.db") as connection:
        return Config.from_json(queries.study(connection, "tiny").config)


def test_forbidden_augmentations() -> None:
    """A named recipe leaves them out, with what contains them; a recipe that asks is refused."""
    digits = data.load("digits", forbid=("rotation",))
    assert digits.forbids == {"flip", "rotation"}
    assert data.load("digits").forbids == {"flip"}
    recipe = compose(digits, "me_nest_ghost")
    assert "randaugment" in recipe.augmentation
    assert forbidden(["rotation"]) == ("rotation", "randaugment", "trivialaugment", "autoaugment")
    assert forbidden(["shift_x", "hue"]) == (
        "shift", "shift_x", "hue", "randaugment", "trivialaugment", "autoaugment"
    )  # fmt: skip
    whole = data.load("digits", forbid=forbidden(["rotation"]))
    assert "randaugment" not in compose(whole, "me_nest_ghost").augmentation
    with pytest.raises(DataError, match=r"forbids .*rotation.*; the recipe does it: turned"):
        compose(whole, words=("augmentation.rotation=10",))


def test_a_search_keeps_its_choice(tmp_path: Path) -> None:
    """Files and forbidden augmentations are part of the study: stored, resumed, else refused."""
    root = write_folder(tmp_path / "set", ("images", "masks"))
    (tmp_path / "x.toml").write_text('forbid = ["flip"]\nexclude = ["masks", "*.bmp"]\n')
    words = {"data": root, "epochs": 1, "trials": 1, "workers": 0, "config": tmp_path / "x.toml"}
    ended = nas_here("search", *arguments(tmp_path, **words), "--json")
    assert result(ended)["trials"]["complete"] == 1
    assert "20 excluded" in ended.stderr
    config = stored(tmp_path)
    assert (config.forbid, config.exclude) == (("flip",), ("masks", "*.bmp"))
    assert "flip" not in config.recipe.augmentation
    loaded = config.load_data()
    assert (loaded.forbids, loaded.fingerprint) == ({"flip"}, config.recipe.fingerprint)
    assert sum(map(len, loaded.splits.values())) == 20
    del words["config"]
    for other in ({"exclude": "masks"}, {"forbid": "flip"}):
        ended = nas_here("search", *arguments(tmp_path, **words | other), "--json")
        assert (ended.returncode, "recipe" in ended.stderr) == (2, True)
    url = f"sqlite:///{tmp_path}/nas.db"
    again = nas_here("resume", "--study", "tiny", "--trials", "2", "--workers", "0", "--store", url,
                     "--json")  # fmt: skip
    assert result(again)["trials"]["complete"] == 2
    evaluated = nas.evaluate("tiny", data=str(root), store=url)  # the study's own choice of files
    assert evaluated.of == 20
    assert (
        nas.data_show(str(root), exclude=["masks"]).to_json()["left_out"]["excluded"]["count"] == 20
    )


def test_scans_are_the_same_everywhere(tmp_path: Path) -> None:
    """Training, evaluation, prediction and the handed-over file read scans of 12 bits alike."""
    random = np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / "scans" / ("low", "high")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = random.integers(300, 600, (8, 8)) + 400 * (number % 2)
        Image.fromarray(levels.astype(np.uint16)).save(path)
    words = {"data": tmp_path / "scans", "epochs": 40, "trials": 1, "workers": 0}
    best = result(nas_here("search", *arguments(tmp_path, **words), "--json"))["best"]
    assert best["test"]["accuracy"] == 1
    url = f"sqlite:///{tmp_path}/nas.db"
    assert nas.evaluate("tiny", data=str(tmp_path / "scans"), store=url).test_looks == 2
    model = runpy.run_path(str(tmp_path / "studies" / "tiny" / "best" / "model.py"))
    low, high = model["LEVELS"]
    assert (300 <= low <= 310, 985 <= high < 1000) == (True, True)
    files = sorted((tmp_path / "scans").rglob("*.png"))
    predicted = nas.predict("tiny", [str(each) for each in files], store=url)
    scans = np.stack([np.asarray(Image.open(each)).astype(np.int32) for each in files])[:, None]
    with torch.no_grad():
        logits = model["load"]()(model["preprocess"](torch.from_numpy(scans)))
    expected = model["probabilities_of"](logits).numpy()
    found = [list(each.probabilities.values()) for each in predicted.images]
    assert np.array(found) == pytest.approx(expected, abs=0.01)
    assert [each.answer for each in predicted.images] == [each.parent.name for each in files]


def test_a_study_without_a_choice_stores_none(tmp_path: Path) -> None:
    """The options' neutral values are no part of a stored configuration."""
    result(nas_here("search", *arguments(tmp_path, trials=1, epochs=1, workers=0), "--json"))
    assert not {"include", "exclude", "forbid", "groups"} & stored(tmp_path).to_json().keys()


def test_patterns_are_for_folders() -> None:
    """Names and files have nothing to choose from."""
    for source in ("digits", "x.npz"):
        with pytest.raises(UserError, match="choose files of a folder"):
            data.load(source, patterns=Patterns(exclude=("masks",)))


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "tar", "tgz"])
def test_an_archive_is_its_folder(tmp_path: Path, cache: Path, ending: str) -> None:
    """An archive on the disk is the data set of its folder, is unpacked once, and can be deep."""
    root = write_folder(tmp_path / "inner" / "set")
    path = tmp_path / f"packed.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for each in root.rglob("*.png"):
                zipped.write(each, each.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w:gz" if "g" in ending else "w") as tarred:
            tarred.add(root, "inner/set")
    said: list[str] = []
    found = data.load(path, cache_dir=cache, say=said.append)
    assert said == [f"unpacking {path}"]
    assert "read below inner/set" in describe(found)
    for source in (root, tmp_path / "inner", path):
        again = data.load(source, cache_dir=cache, say=said.append)
        assert (again.fingerprint, again.name) == (found.fingerprint, "set")
    assert len(said) == 1
    os.utime(path, (1, 1))
    data.load(path, cache_dir=cache, say=said.append)
    assert len(said) == 2


def test_a_class_that_an_archive_loses(tmp_path: Path, cache: Path) -> None:
    """A class whose files are no images that can be read is refused in an archive as well."""
    root = write_folder(tmp_path / "set")
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for each in root.rglob("*.png"):
            zipped.write(each, each.relative_to(tmp_path))
        zipped.writestr("set/gray/1.cr2", b"x")
    with pytest.raises(DataError, match=r"Every class needs images; gray/"):
        data.load(path, cache_dir=cache)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip can't be read"):
        data.load(path, cache_dir=cache)
    assert len(list(tmp_path.glob("home/nas/unpacked/*/x"))) == 1  # the first one, which was whole


def test_a_name_beside_a_folder(tmp_path: Path, cache: Path) -> None:
    """A data set's name wins over a folder of that name, and it is said."""
    said: list[str] = []
    write_folder(tmp_path / "digits")
    assert len(data.load("digits", say=said.append).classes) == 10
    assert said == ["--data digits is the data set of that name; ./digits here is another source"]
    assert data.load("./digits", cache_dir=cache, say=said.append).classes == ("bright", "dark")
    assert len(said) == 1
