"""nas evaluate and nas predict: a trained network on other images; the numbers are its own."""

import csv
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from search_kit import nas_here, result
from test_train_verb import words

import nas
from nas import data
from nas.data.dataset import with_channels
from nas.store import queries
from nas.training.metrics import CLASS_METRICS, METRICS

STUDY = "small-digits"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a folder with a network trained on the digits, and the result of the training."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, result(nas_here(*words(folder, "--epochs", 4, "--out", "out")))


@pytest.fixture(autouse=True)
def _there(world: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world[0])
    monkeypatch.setenv("NAS_STORE", f"sqlite:///{world[0]}/nas.db")


def here(*line: str) -> Any:
    """Run a command on the store of the folder."""
    return nas_here(*line, "--store", f"sqlite:///{Path.cwd()}/nas.db")


def write_digits(folder: Path, count: int = 30, mode: str = "L") -> list[Path]:
    """Write test images of the digits as files."""
    folder.mkdir(parents=True)
    split = data.load("digits").splits["test"]
    paths = []
    for number, image in enumerate(split.images(8)[:count]):
        paths.append(folder / f"{number:02d}.png")
        Image.fromarray(image[:, :, 0]).convert(mode).save(paths[-1])
    return paths


def write_hospital(path: Path, names: list[str], *, without: str | None = None) -> None:
    """Write the digits as an .npz file with the classes in this order; `without` has no test."""
    digits, arrays = data.load("digits"), {}
    for split, key in (("train", "train"), ("validation", "val"), ("test", "test")):
        part = digits.splits[split]
        kept = [
            n for n, label in enumerate(part.labels)
            if digits.classes[label] in names
            and not (split == "test" and digits.classes[label] == without)
        ]  # fmt: skip
        labels = [names.index(digits.classes[label]) for label in part.labels[kept]]
        arrays |= {f"{key}_images": part.images(8)[kept], f"{key}_labels": np.array(labels)}
    np.savez(path, classes=np.array(names), **arrays)


def test_evaluate_equals_the_stored_test_metrics(world: tuple[Path, dict[str, Any]]) -> None:
    """On its own test split a study's numbers are the stored ones, and the look is counted."""
    _, trained = world
    found = result(here("evaluate", STUDY, "--data", "digits", "--json"))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc"):
        assert found["metrics"][name] == pytest.approx(trained["test"][name], abs=1e-6)
    assert found["test_looks"] == 2
    with queries.connect(f"sqlite:///{world[0]}/nas.db") as connection:
        study = queries.study(connection, STUDY)
        assert queries.test_look_count(connection, study.id) == 2


def test_an_evaluation_has_all_metrics_of_all_classes() -> None:
    """Each metric of the registry with its interval, each class, the confusion matrix."""
    found = result(here("evaluate", "out", "--data", "digits", "--json"))
    assert found["metrics"].keys() == found["intervals"].keys() == METRICS.keys()
    low, high = found["intervals"]["accuracy"]
    assert low < found["metrics"]["accuracy"] < high
    assert list(found["per_class"]) == found["classes"] == list(data.load("digits").classes)
    for at, each in enumerate(found["per_class"].values()):
        assert each["metrics"].keys() == CLASS_METRICS.keys()
        assert sum(found["confusion_matrix"][at]) == each["images"]
    assert sum(map(sum, found["confusion_matrix"])) == found["images"]
    assert found["test_looks"] is None  # a folder does not know its study


def test_every_split_can_be_measured() -> None:
    """All images are those of the three splits; on images of the training this is said."""
    whole = sum(len(split) for split in data.load("digits").splits.values())
    found = result(here("evaluate", "out", "--data", "digits", "--split", "all", "--json"))
    assert (found["images"], found["remarks"]) == (whole, [])
    found = result(here("evaluate", STUDY, "--data", "digits", "--split", "train", "--json"))
    assert "trained and chosen with these images" in found["remarks"][0]
    assert found["test_looks"] is None


def test_classes_are_matched_by_their_names(tmp_path: Path) -> None:
    """In another order the classes are the same: so are the numbers."""
    names = list(reversed(data.load("digits").classes))
    write_hospital(tmp_path / "other.npz", names)
    found, own = (
        result(here("evaluate", "out", "--data", source, "--json"))
        for source in (str(tmp_path / "other.npz"), "digits")
    )
    assert found["metrics"] == pytest.approx(own["metrics"])
    assert found["confusion_matrix"] == own["confusion_matrix"]


def test_other_classes_are_refused_by_their_names(tmp_path: Path) -> None:
    """A class that lacks and one that is unknown are named, exit code 2, no picture."""
    write_hospital(tmp_path / "fewer.npz", [str(n) for n in range(9)])
    out = ("--out", str(tmp_path / "p.png"))
    ended = here("evaluate", "out", "--data", str(tmp_path / "fewer.npz"), *out)
    assert (ended.returncode, "fewer lacks '9'" in ended.stderr) == (2, True), ended.stderr
    for digit in range(10):
        for number in range(3):
            path = tmp_path / "more" / (str(digit) if digit else "zero") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 20 * digit + number).save(path)
    ended = here("evaluate", "out", "--data", str(tmp_path / "more"), *out)
    assert "more lacks '0' and the network does not know 'zero'" in ended.stderr
    assert ended.returncode == 2
    assert not (tmp_path / "p.png").exists()
    assert not Path("studies/.cache").exists()


def test_a_class_without_images_is_told(tmp_path: Path) -> None:
    """Its numbers say nothing, so one line says that; the other classes are measured."""
    write_hospital(tmp_path / "rare.npz", list(data.load("digits").classes), without="3")
    ended = here("evaluate", "out", "--data", str(tmp_path / "rare.npz"))
    assert "there are no images of '3'" in ended.stderr
    assert ended.returncode == 0


def test_colour_becomes_gray_as_pillow_makes_it() -> None:
    """Any RGB image, and gray ones three times over."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    assert (with_channels(images, 1)[..., 0] == np.stack(expected)).all()
    gray = with_channels(images, 1)
    assert (with_channels(gray, 3) == np.repeat(gray, 3, axis=3)).all()


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """--out: confusion matrix and curves; another suffix is refused before anything is loaded."""
    found = result(
        here("evaluate", "out", "--data", "digits", "--out", str(tmp_path / "p.png"), "--json")
    )
    with Image.open(found["picture"]) as picture:
        assert min(picture.size) > 500
    assert here("evaluate", "out", "--data", "digits", "--out", "p.txt").returncode == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["evaluate", "nowhere", "--data", "digits"], "is no folder with model.py"),
        (["evaluate", "out", "--data", "digits", "--split", "tset"], "Did you mean 'test'?"),
        (["evaluate", "out", "--data", "no/such"], "No such file or folder"),
        (["predict", "nowhere", "a.png"], "is no folder with"),
        (["predict", "out", "missing.png"], "missing.png (no such file)"),
        (["predict", "out", "empty"], "a folder without images"),
        (["predict", "out", "empty", "--csv", "empty"], "--csv is a file to write"),
        (["predict", "untrained", "images.png"], "not trained"),
        (["predict", "other", "images.png"], "no model.py that nas wrote"),
    ],
)
def test_a_mistake_is_told(line: list[str], told: str) -> None:
    """One message that names the rule and the value, exit code 2."""
    Path("empty").mkdir(exist_ok=True)
    Path("other").mkdir(exist_ok=True)
    Path("other/model.py").write_text("raise SystemError('nothing')")
    Image.new("L", (8, 8)).save("images.png")
    Path("untrained").mkdir(exist_ok=True)
    text = Path("out/model.py").read_text()
    kept = [row for row in text.splitlines() if not row.startswith("MEAN = ")]
    Path("untrained/model.py").write_text("\n".join(kept))
    ended = here(*line)
    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr


def test_predictions_are_the_modules_own_output(tmp_path: Path) -> None:
    """The CSV has file, class and the probabilities that the emitted code computes."""
    paths = write_digits(tmp_path / "images")
    ended = here("predict", "out", str(tmp_path / "images"), "--csv", str(tmp_path / "p.csv"))
    assert (ended.returncode, "30 images" in ended.stdout) == (0, True), ended.stderr
    model = runpy.run_path("out/model.py", run_name="model")
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]
    with torch.no_grad():
        logits = model["load"]()(model["preprocess"](torch.from_numpy(pixels)))
    expected = logits.softmax(1).numpy()
    with open(tmp_path / "p.csv", newline="") as file:
        head, *table = csv.reader(file)
    assert head == ["file", "class", *model["CLASS_NAMES"]]
    assert [row[0] for row in table] == [str(path) for path in paths]
    assert [row[1] for row in table] == [model["CLASS_NAMES"][n] for n in expected.argmax(1)]
    assert np.array([row[2:] for row in table], float) == pytest.approx(expected, abs=1e-4)


def test_unreadable_files_are_named_and_the_others_predicted(tmp_path: Path) -> None:
    """All of them at once, with the reason; the exit code says so, and the CSV is written."""
    write_digits(tmp_path / "images", 3)
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    cut = (tmp_path / "images" / "00.png").read_bytes()[:60]
    (tmp_path / "images" / "cut.png").write_bytes(cut)
    line = ("predict", "out", str(tmp_path / "images"), "missing.png")
    ended = here(*line, "--csv", str(tmp_path / "p.csv"), "--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert len(told["images"]) == 3
    assert [Path(file).name for file in told["unreadable"]] == [
        "broken.png", "cut.png", "missing.png",
    ]  # fmt: skip
    assert "3 images were predicted, 3 could not be read" in ended.stderr
    assert "broken.png (no image that Pillow knows)" in ended.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 4


def test_without_csv_the_table_is_printed(tmp_path: Path) -> None:
    """On standard output, and nothing else is; a file that is given twice is predicted once."""
    paths = [str(path) for path in write_digits(tmp_path / "images", 2, "RGB")]
    head, *table = csv.reader(here("predict", "out", *paths, paths[0]).stdout.splitlines())
    assert [row[0] for row in table] == paths
    assert all(sum(map(float, row[2:])) == pytest.approx(1, abs=1e-4) for row in table)
    assert head[:2] == ["file", "class"]


def test_a_study_predicts_as_its_folder_does(
    world: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """By name, by its folder, and by name where the folder is gone: its weights are stored."""
    paths = [str(path) for path in write_digits(tmp_path / "images", 5)]
    first = nas.predict("out", paths).to_json()["images"]
    assert nas.predict(STUDY, paths).to_json()["images"] == first
    assert nas.predict(f"studies/{STUDY}", paths).to_json()["images"] == first
    shutil.move(f"studies/{STUDY}/best", tmp_path / "best")
    try:
        again = nas.predict(STUDY, paths).to_json()["images"]
    finally:
        shutil.move(tmp_path / "best", f"studies/{STUDY}/best")
    assert again == first


def test_the_weights_of_an_earlier_winner_are_not_the_studys(tmp_path: Path) -> None:
    """Another training of the same network: the stored weights answer, not the folder's."""
    paths = [str(path) for path in write_digits(tmp_path / "images", 5)]
    first = nas.predict(STUDY, paths).to_json()["images"]
    file = Path(f"studies/{STUDY}/best/model.safetensors")
    kept, tensors = file.read_bytes(), load_file(file)
    others = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    try:
        save_file(others, file, {"training": "of an earlier winner"})
        assert nas.predict(STUDY, paths).to_json()["images"] == first
        save_file(others, file)  # as they were written before they said whose they are
        assert nas.predict(STUDY, paths).to_json()["images"] != first
    finally:
        file.write_bytes(kept)


def test_a_network_that_was_trained_alone_has_no_finalists() -> None:
    """Asked for some when it is resumed: one message, and no study of finalists."""
    ended = here("resume", "--study", STUDY, "--finalists", "2")
    assert ended.returncode == 2
    assert f"{STUDY} is of nas train, whose networks have no finalists." in ended.stderr
