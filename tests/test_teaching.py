"""Teachers and images without labels on the command line: in rounds, resumed, refused in time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from search_kit import arguments, nas_here, result
from test_search import rows
from test_train_verb import words
from test_training import TINY

from nas.cluster.package import pack
from nas.data import load
from nas.data.unlabelled import load_unlabelled
from nas.errors import DataError, UserError
from nas.network import build
from nas.store import queries
from nas.study.aids import given_aids
from nas.study.options import read
from nas.training.recipes import compose
from nas.training.sources import Source

EPOCHS = ("--epochs", 2)
DEEP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 999


def write_images(folder: Path, count: int = 40) -> Path:
    """Write images of 8 px without labels into folders of no meaning."""
    digits = load("digits").splits["test"].images(8)[:count]
    for number, image in enumerate(digits):
        path = folder / f"day {number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze(2)).save(path)
    return folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a folder with a trained teacher and images without labels, and its result."""
    folder = tmp_path_factory.mktemp("taught")
    write_images(folder / "more")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = words(folder, *EPOCHS, "--out", folder / "teacher", "--study", "teacher")
        return folder, result(nas_here(*line))


@pytest.fixture
def here(taught: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(taught[0])
    return taught[0]


def recipe_of(folder: Path, study: str) -> dict[str, Any]:
    """Return a study's recipe as it is stored."""
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        return dict(queries.study(connection, study).config["recipe"])


def count(folder: Path, table: str) -> int:
    """Return how many rows a table has."""
    return int(str(rows(folder, f"SELECT count(*) FROM {table}")[0][0]))


def test_a_trial_a_study_and_a_file_teach_alike(here: Path) -> None:
    """The recipe holds the digest of the weights: the first training is the others', too."""
    before = count(here, "nas_curve_points")
    sources = ("teacher:0", "teacher", str(here / "teacher"), "teacher/model.safetensors")
    recipes, metrics = [], []
    for number, source in enumerate(sources):
        study = f"student{number}"
        done = nas_here(
            *words(here, *EPOCHS, "--teacher", source, "--out", study, "--study", study)
        )
        assert f"teacher {source}: " in done.stderr
        metrics.append(result(done)["metrics"])
        recipes.append(recipe_of(here, study))
    assert recipes[0]["method"] == "distillation"
    assert len(recipes[0]["teacher"]) == 32
    assert recipes.count(recipes[0]) == metrics.count(metrics[0]) == len(sources)
    assert count(here, "nas_curve_points") == before + 2


def test_a_students_lost_weights_are_trained_again(here: Path) -> None:
    """From the teacher that is kept with its study, also when the teacher itself is gone."""
    line = words(here, *EPOCHS, "--teacher", "teacher", "--out", "lost", "--study", "lost")
    nas_here(*line, "--seed", "3")
    before = Path("lost/model.safetensors").read_bytes()
    for path in Path("studies/lost/checkpoints").rglob("weights.safetensors"):
        path.unlink()
    store = ("--store", f"sqlite:///{here}/nas.db")
    nas_here("export", "--study", "lost", "--out", "again", *store)
    assert Path("again/model.safetensors").read_bytes() == before


def test_rounds_of_a_noisy_student(here: Path) -> None:
    """Each round's network labels the next one's images; only the last looks at the test split."""
    looks = count(here, "nas_test_looks")
    line = words(
        here, *EPOCHS, "--teacher", "teacher", "--unlabelled", "more", "--rounds", 2,
        "--set", "method.least_confidence=0", "--out", "noisy", "--study", "noisy",
    )  # fmt: skip
    done = nas_here(*line)
    found = result(done)
    assert "40 images without labels below more" in done.stderr
    assert (found["study"], found["taught_by"]) == ("noisy-round2", ["noisy-round1"])
    first, second = (recipe_of(here, f"noisy-round{number}") for number in (1, 2))
    assert first["method"] == second["method"] == "noisy_student"
    assert first["unlabelled"] == second["unlabelled"]
    assert first["teacher"] != second["teacher"]
    assert count(here, "nas_test_looks") == looks + 1
    before = count(here, "nas_curve_points")
    assert result(nas_here(*line)) == found
    assert count(here, "nas_curve_points") == before
    line[line.index("noisy", line.index("--study"))] = "again"  # the first round is reused
    line[line.index("noisy")] = "noisy-again"
    assert result(nas_here(*line))["taught_by"] == ["again-round1"]


def test_a_search_learns_from_a_teacher(here: Path) -> None:
    """Trials and finalists are distilled; on few validation images folds are not automatic."""
    asked = arguments(
        here, data="digits", trials=2, workers=0, finalists=1, epochs=1, teacher="teacher"
    )
    del asked[(at := asked.index("--folds")) : at + 2]
    found = result(nas_here("search", *asked, "--final-seeds", "1", "--json"))
    assert found["trials"]["complete"] == 2
    for study in ("tiny", "tiny-finalists"):
        recipe = recipe_of(here, study)
        assert (recipe["method"], recipe.get("folds", 1)) == ("distillation", 1)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--unlabelled", "more"], "--unlabelled is for a training with --teacher"),
        (["--rounds", "2"], "--rounds 2 is for a training with --teacher"),
        (["--set", "method.name=distillation"], "distillation needs a teacher: --teacher SOURCE"),
        (["--teacher", "teacher", "--set", "method.name=noisy_student"], "--unlabelled FOLDER"),
        (["--teacher", "teacher", "--set", "method.name=advprop"], "not for advprop"),
        (["--teacher", "teacher", "--folds", "2"], "needs training.folds = 1, not 2"),
        (["--teacher", "nobody"], "'nobody' names no weights"),
        (["--teacher", "teacher", "--data", "tones.npz"], "has 2, teacher 10"),
        (["--teacher", "teacher", "--unlabelled", "nowhere"], "nowhere is none"),
        (["--teacher", "teacher", "--unlabelled", "empty"], "empty has none"),
        (["--teacher", "teacher", "--unlabelled", "more", "--rounds", "0"], "--rounds is a whole"),
    ],
)
def test_what_can_t_be_taught_is_refused(more: list[str], told: str, here: Path) -> None:
    """One message with the rule, exit code 2, before a study is made."""
    arguments(here)  # writes tones.npz
    Path("empty").mkdir(exist_ok=True)
    studies = count(here, "studies")
    ended = nas_here(*words(here, *EPOCHS, "--out", "refused", *more))
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
    assert count(here, "studies") == studies
    assert not Path("refused").exists()


def test_advprop_is_refused_where_nothing_can_do_it(here: Path) -> None:
    """A network without batch norm, before anything is written."""
    line = words(here, *EPOCHS, "--out", "refused", network="convnext_tiny")
    ended = nas_here(*line, "--set", "method.name=advprop", "--resolution", "32")
    assert (ended.returncode, "this network has no batch norm" in ended.stderr) == (2, True)


def test_images_without_labels_are_read_as_the_data_are(tmp_path: Path) -> None:
    """Below any folders, resized, with the data's channels; their digest is of the content."""
    folder, digits = write_images(tmp_path / "more", 10), load("digits")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").touch()
    found = load_unlabelled(str(folder), digits, tmp_path / "cache")
    assert found.count == 10
    expected = digits.splits["test"].images(8)
    order = sorted(range(10), key=lambda number: (number % 3, str(number)))
    assert np.array_equal(found.images(8), expected[order])
    assert found.images(16).shape == (10, 16, 16, 1)
    assert load_unlabelled(str(folder), digits, tmp_path / "other").digest == found.digest
    (folder / "day 0" / "0.png").unlink()
    assert load_unlabelled(str(folder), digits, tmp_path / "cache").digest != found.digest


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: path.write_bytes(b"no image"), "1 of 11 are not"),
        (lambda path: Image.fromarray(DEEP).save(path), "of 8 bits; 1 of"),
    ],
    ids=["broken", "deep"],
)  # fmt: skip
def test_images_without_labels_that_can_t_be_read(write: Any, told: str, tmp_path: Path) -> None:
    """They are named, as those of a data set are."""
    folder = write_images(tmp_path / "more", 10)
    write(folder / "x.png")
    with pytest.raises(DataError, match=rf"{told}.*x\.png"):
        load_unlabelled(str(folder), load("digits"), tmp_path / "cache")


def test_a_job_has_paths_that_all_machines_see(here: Path) -> None:
    """`nas submit` sends them absolute; a head elsewhere can't see what lies here alone."""
    given = {
        "target_flops": "2M", "teacher": "teacher/model.safetensors", "unlabelled": "more",
        "study": "far", "out": "/shared/studies",
    }  # fmt: skip
    sent = pack(given, here=True).words
    assert sent[sent.index("--teacher") + 1] == str(here / "teacher/model.safetensors")
    assert sent[sent.index("--unlabelled") + 1] == str(here / "more")
    with pytest.raises(
        DataError, match=r"--teacher 'teacher/model\.safetensors' is a path on this"
    ):
        pack(given, here=False)
    sent = pack(given | {"teacher": "teacher:0"}, here=False).words
    assert sent[sent.index("--teacher") + 1] == "teacher:0"


def test_a_teacher_of_folds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has seen the validation images that its students would be scored on."""
    digits = load("digits")
    network = build(TINY)
    folded = compose(digits, given={"folds": 3})
    source = Source("folded", TINY, network.state_dict(), folded)
    monkeypatch.setattr("nas.study.sources.resolve", lambda *_: source)
    asked = read({"teacher": "folded", "target_flops": "2M"})
    with pytest.raises(UserError, match="folded was trained on 3 folds, so on all of them"):
        given_aids(asked, digits, lambda _: None)
    heard: list[str] = []
    other = replace(folded, fingerprint="0" * 32, data="others")
    monkeypatch.setattr("nas.study.sources.resolve", lambda *_: replace(source, trained_by=other))
    assert given_aids(asked, digits, heard.append).digests == {"teacher": source.digest}
    assert "the teacher was trained on others: its classes are taken in their order" in heard
