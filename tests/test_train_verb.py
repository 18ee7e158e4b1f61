"""nas train: one given network in full; its study is stored, resumed and handed over as others."""

import json
import random
import re
import runpy
import signal
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from PIL import Image
from search_kit import command, nas_here, result
from strategies import architectures

import nas
from nas import blocks, search_space
from nas.architecture import Architecture
from nas.search_space.coefficients import space_of
from nas.search_space.preflight import Subject
from tests.test_search import points, rows, until

NETWORK = """
from nas.search_space import SearchSpace, block, stage

SPACE = SearchSpace(
    name="small",
    resolution=8,
    stem=stage(block("conv"), width=8),
    stages=[stage(block("mbconv", kernels="3.5", expansion=2), width=16, depth=2, stride=2)],
)
"""


def words(folder: Path, *more: object, network: str | None = None) -> list[str]:
    """Return the words that train a small network on the digits in a folder."""
    (folder / "small.py").write_text(NETWORK)
    return [
        "train", network or str(folder / "small.py"), "--data", "digits", "--store",
        f"sqlite:///{folder}/nas.db", "--workers", "0", *map(str, more), "--json",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], dict[str, Any]]:
    """Return the folder, the words and the result of a training with two seeds."""
    folder = tmp_path_factory.mktemp("train")
    line = words(folder, "--epochs", 3, "--seeds", 2, "--out", folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, line, result(nas_here(*line))


def test_metrics_are_means_over_the_seeds(
    trained: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """Validation and test: mean and standard deviation of both seeds; one look at test."""
    folder, _, found = trained
    validation = [each["metrics"]["accuracy"] for each in found["trainings"]]
    assert sorted(each["seed"] for each in found["trainings"]) == [0, 1]
    assert found["seeds"] == len(validation) == 2
    assert found["metrics"]["accuracy"] == pytest.approx(statistics.fmean(validation))
    assert found["spread"]["accuracy"] == pytest.approx(statistics.stdev(validation))
    looks = [
        json.loads(str(metrics))["accuracy"]
        for (metrics,) in rows(folder, "SELECT metrics FROM nas_test_looks")
    ]
    assert found["test"]["accuracy"] == pytest.approx(statistics.fmean(looks))
    assert (len(looks), found["test_looks"]) == (2, 1)
    assert found["test"]["accuracy"] > 0.2


def test_the_network_is_the_given_one_for_the_data(
    trained: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id and cost are those that `nas cost` counts for the data's channels and classes."""
    folder, _, found = trained
    images = ("--in-channels", "1", "--classes", "10")
    counted = result(nas_here("cost", str(folder / "small.py"), *images, "--json"))
    for name in ("architecture_id", "macs", "params", "resolution", "classes"):
        assert found[name] == counted[name], name


def test_the_folder_has_code_weights_result_and_picture(
    trained: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """The code runs with its weights and states the best training's numbers; the result is JSON."""
    folder, _, found = trained
    out = folder / "out"
    assert {path.name for path in out.iterdir()} == {
        "model.py", "model.safetensors", "architecture.json", "result.json", "train.png",
    }  # fmt: skip
    emitted = runpy.run_path(str(out / "model.py"), run_name="model")
    assert all(
        counted == stated for counted, stated in emitted["check"](emitted["load"]()).values()
    )
    best = max(each["metrics"]["accuracy"] for each in found["trainings"])
    assert f"{best:.4f}" in (out / "model.py").read_text()
    assert json.loads((out / "result.json").read_text()) == found
    with Image.open(out / "train.png") as picture:
        assert min(picture.size) > 300
    assert (folder / found["code"]).samefile(out / "model.py")


def test_the_same_command_trains_and_looks_no_more(
    trained: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to do: the result is the same."""
    folder, line, found = trained
    monkeypatch.chdir(folder)
    before = rows(folder, "SELECT count(*) FROM nas_curve_points")
    assert result(nas_here(*line)) == found
    assert rows(folder, "SELECT count(*) FROM nas_curve_points") == before


def test_a_trial_of_the_store_is_trained(
    trained: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """STUDY:TRIAL is that trial's network, under another recipe in a study of its own."""
    folder, _, found = trained
    monkeypatch.chdir(folder)
    line = words(folder, "--epochs", 1, "--out", folder / "again", network="small-digits:1")
    again = result(nas_here(*line))
    assert again["architecture_id"] == found["architecture_id"]
    assert (again["study"], again["seeds"], again["spread"]) == ("small-digits-1-digits", 1, {})
    before = rows(folder, "SELECT count(*) FROM nas_curve_points")[0][0]
    more = result(nas_here(*line, "--seeds", "2"))
    assert (more["seeds"], more["spread"].keys()) == (2, again["metrics"].keys())
    assert rows(folder, "SELECT count(*) FROM nas_curve_points") == [(int(str(before)) + 1,)]


def test_learning_curves_are_shown_live(
    trained: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """Whoever watches the study sees each training's curve in a line, and its last value."""
    folder, _, _ = trained
    shown = nas_here("status", "small-digits", "--store", f"sqlite:///{folder}/nas.db").stdout
    curves = re.findall(r"trial (\d): [▁▂▃▄▅▆▇█]{3} accuracy 0\.\d{4} after epoch 3", shown)
    assert curves == ["0", "1"]


def test_other_verbs_know_the_study(
    trained: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nas export` writes the same code; `nas resume` goes on with it, and finds nothing to do."""
    folder, _, found = trained
    monkeypatch.chdir(folder)
    store = ("--store", f"sqlite:///{folder}/nas.db")
    nas_here("export", "--study", "small-digits", "--out", "exported", *store)
    assert Path("exported/model.py").read_text() == Path("out/model.py").read_text()
    resumed = result(
        nas_here("resume", "--study", "small-digits", *store, "--workers", "0", "--json")
    )
    assert resumed["best"]["test"] == found["test"]


def test_folds_are_scored_out_of_fold(
    trained: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--folds: the metrics are of all train and validation images; in Python as well."""
    folder, _, _ = trained
    monkeypatch.chdir(folder)
    value = nas.train(
        str(folder / "small.py"), data="digits", out="folded", folds=2, epochs=1, study="folded",
        workers=0, store=f"sqlite:///{folder}/nas.db",
    )  # fmt: skip
    recipes = "SELECT json_extract(json, '$.folds') FROM nas_recipes"
    assert (2,) in rows(folder, recipes)
    assert value.to_json()["metrics"]["accuracy"] == value.standing.mean
    assert value.code.is_file()


def test_a_killed_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL: the same command goes on from the checkpoint, and gives what it would have given."""
    monkeypatch.chdir(tmp_path)
    line = words(tmp_path, "--epochs", 6, "--out", tmp_path / "out")
    line[line.index("--workers") + 1] = "1"
    killed = subprocess.Popen(command(*line), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: points(tmp_path) > 1)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    ended = result(nas_here(*line))
    assert points(tmp_path) == 6
    (tmp_path / "nas.db").rename(tmp_path / "old.db")
    whole = words(tmp_path, "--epochs", 6, "--out", tmp_path / "whole", "--study", "whole")
    whole[whole.index("--workers") + 1] = "1"
    assert result(nas_here(*whole))["metrics"] == pytest.approx(ended["metrics"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": "small"}, "No search space named 'small'"),
        ({"network": "mixconv"}, "not one network"),
        ({"network": "none:3"}, "No store"),
        ({"--data": "no/such"}, "No such file or folder"),
        ({"--seeds": "0"}, "--seeds is a whole number from 1 to 100, not 0"),
        ({"--recipe": "shrot"}, "No recipe named 'shrot'"),
        ({"--set": "optimiser.lr=1"}, "optimiser"),
        ({"--epochs": "0"}, "--epochs"),
        ({"--folds": "0"}, "--folds"),
        ({"--out": "small.py"}, "--out is a folder"),
        ({"--out": "."}, "holds weights"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    changes: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message that names the rule and the value, exit code 2, no store and no folder."""
    monkeypatch.chdir(tmp_path)
    line = words(tmp_path, "--out", "out", network=changes.pop("network", None))
    for option, value in changes.items():
        line += [option, value]
    if changes.get("--out") == ".":
        (tmp_path / "model.safetensors").touch()
    before = sorted(tmp_path.iterdir())
    ended = nas_here(*line)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
    assert sorted(tmp_path.iterdir()) == before


@given(architectures().filter(lambda architecture: architecture.body))
@settings(max_examples=50)
def test_the_space_of_a_network_is_that_network(architecture: Architecture) -> None:
    """For any network: no parameter, and the same id when it is decoded, also for other images."""
    network = blocks.canonical(architecture)
    subject = Subject(space_of("one", network), network.in_channels, network.classes)
    assert subject.space.parameters() == ()
    assert subject.decode({}).id == network.id
    assert search_space.SearchSpace.from_json(subject.space.to_json()) == subject.space


@pytest.mark.parametrize("name", search_space.names())
def test_the_shipped_networks_can_be_trained(name: str) -> None:
    """Each member, and a sample of each space, for gray images of three classes."""
    space = search_space.load(name)
    drawn = space.decode(space.draw(random.Random(0)))
    network = blocks.canonical(drawn.at(in_channels=1, classes=3))
    subject = Subject(space_of("one", network), 1, 3)
    assert subject.decode({}).id == network.id
