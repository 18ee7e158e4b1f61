"""The command line: mistakes told in one message, JSON for machines, quick commands kept quick."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Unpack

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from search_kit import ROOT, SPACE, command, nas, telling_of_torch, write_inputs
from typer.testing import CliRunner

from nas.cli import app

Mistake = tuple[Callable[[Path], dict[str, object]], list[str]]


def run(*words: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(words))


def search(inputs: Path, **changes: object) -> list[str]:
    """Return the words of a tiny search that would succeed, but for the changes."""
    options: dict[str, object] = {
        "space": inputs / "tiny.py", "data": inputs / "tones.npz", "target_flops": "50k",
        "trials": 1, "epochs": 1, "workers": 1, "study": "tiny", "finalists": 0,
    }  # fmt: skip
    chosen = {k: v for k, v in (options | changes).items() if v is not None}
    flags = [(f"--{k.replace('_', '-')}", str(v)) for k, v in chosen.items()]
    return ["search", *(word for flag in flags for word in flag)]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its bytes, folders with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def held(result: Result, words: list[str]) -> None:
    """Hold that a run ended as a user's mistake ends: one message with these words, exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("nas: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny space and a tiny data set."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, 48)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no store named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORE", raising=False)
    return tmp_path


def edited(old: str, new: str) -> Callable[[Path], dict[str, object]]:
    """Write the tiny space with an edit."""

    def make(folder: Path) -> dict[str, object]:
        assert old in SPACE
        (folder / "edited.py").write_text(SPACE.replace(old, new))
        return {"space": "edited.py"}

    return make


def option(**changes: object) -> Callable[[Path], dict[str, object]]:
    """Change options of the search."""
    return lambda _: changes


def npz(**changes: Any) -> Callable[[Path], dict[str, object]]:
    """Write an .npz data set with other arrays; None leaves one out."""

    def make(folder: Path) -> dict[str, object]:
        arrays = {
            "train_images": np.zeros((12, 8, 8), np.uint8), "train_labels": np.arange(12) % 2,
            "val_images": np.zeros((4, 8, 8), np.uint8), "val_labels": np.arange(4) % 2,
            "test_images": np.zeros((4, 8, 8), np.uint8), "test_labels": np.arange(4) % 2,
        } | changes  # fmt: skip
        np.savez(folder / "bad.npz", **{k: v for k, v in arrays.items() if v is not None})
        return {"data": "bad.npz"}

    return make


def write_images(folder: Path, classes: list[str], each: int = 6) -> None:
    """Write a folder of small images per class."""
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            shade = (60 + 120 * index + number,) * 3
            Image.new("RGB", (9, 7), shade).save(folder / name / f"{number}.png")


def images(*classes: str, broken: bool = False) -> Callable[[Path], dict[str, object]]:
    """Write a folder of images, perhaps with one that is not readable."""

    def make(folder: Path) -> dict[str, object]:
        (folder / "images").mkdir()
        write_images(folder / "images", list(classes))
        if broken:
            (folder / "images" / classes[0] / "torn.png").write_bytes(b"\x89PNG no more")
        return {"data": "images"}

    return make


def folder_as_database(folder: Path) -> dict[str, object]:
    """Make a folder where the database's file would be."""
    (folder / "nas.db").mkdir()
    return {"store": "sqlite:///nas.db"}


def database_below_a_file(folder: Path) -> dict[str, object]:
    """Make a file where the database's folder would be."""
    (folder / "file").write_text("not a folder")
    return {"store": "sqlite:///file/nas.db"}


def beside_a_file(**options: object) -> Callable[[Path], dict[str, object]]:
    """Make a file, and return these options."""

    def make(folder: Path) -> dict[str, object]:
        return out_is_a_file(folder) | options

    return make


def out_is_a_file(folder: Path) -> dict[str, object]:
    """Make a file where the studies' folder would be."""
    (folder / "file").write_text("not a folder")
    return {"out": "file"}


MISTAKES: dict[str, Mistake] = {
    "unknown space": (
        option(space="mixcov"),
        ["'mixcov'", "'mixconv'", "nas space list"],
    ),
    "absent space file": (option(space="no.py"), ["no.py", "nas space list"]),
    "error in a space file": (
        edited("SearchSpace(", "SearchSpace(nothing=1, "),
        ["edited.py, line ", "nothing"],
    ),
    "unknown option": (
        edited("expansion=", "expand="),
        ["edited.py, line ", "stage1", "expand", "expansion", "kernels"],
    ),
    "even kernel": (
        edited('"3.5")', '"3.4")'),
        ["edited.py, line ", "stage1", "kernels", "odd", "3.4"],
    ),
    "more groups than channels": (
        edited('"3.5"), expansion=choice(2, 3, 4)', '"3.5.7.9.11.13.15.17.19"), expansion=1'),
        ["edited.py, line ", "stage1", "kernels: 9 groups", "not 8"],
    ),
    "no target": (option(target_flops=None), ["target", "--target-flops 300M"]),
    "target of 0": (option(target_flops=0), ["--target-flops", "at least 1", "300M", "'0'"]),
    "negative target": (option(target_flops="-5M"), ["--target-flops", "at least 1", "'-5M'"]),
    "target of abc": (option(target_flops="abc"), ["--target-flops", "300M", "'abc'"]),
    "target of nan": (option(target_flops="nan"), ["--target-flops", "'nan'"]),
    "target out of reach": (
        option(target_flops="90G"),
        ["can't reach 90,000,000,000 FLOPs", "the nearest target is "],
    ),
    "target under reach": (option(target_flops=7), ["can't reach 7 FLOPs", "nearest target is "]),
    "limit nothing keeps": (option(max_params=5), ["params", "limit of 5", "Raise the limit"]),
    "limit of abc": (option(max_flops="abc"), ["--max-flops", "'abc'", "300M"]),
    "absent data": (option(data="no/such"), ["no/such", "digits", ".npz"]),
    "data that is no archive": (option(data="edited.py"), ["edited.py", "digits", ".npz"]),
    "empty folder": (images(), ["images", "one folder of images per class", ".png"]),
    "one class": (images("cat"), ["at least two classes", "images", "1: cat"]),
    "unreadable image": (images("cat", "dog", broken=True), ["cat/torn.png", "readable"]),
    "wrong keys": (
        npz(train_images=None, train_labels=None, x=np.zeros(3)),
        ["'train_images' and 'train_labels'", "bad.npz", "val_images"],
    ),
    "wrong shape": (npz(train_images=np.zeros((12, 8), np.uint8)), ["train_images", "(12, 8)"]),
    "wrong number of labels": (npz(train_labels=np.zeros(3, int)), ["train", "12", "3"]),
    "wrong type": (npz(train_images=np.zeros((12, 8, 8))), ["train_images", "uint8", "float64"]),
    "one class in npz": (npz(train_labels=np.zeros(12, int)), ["class", "bad.npz"]),
    "class only in validation": (
        npz(val_labels=np.full(4, 7)),
        ["Every class needs images in the train split", "bad.npz has none of '7'"],
    ),
    "folder as database": (folder_as_database, ["nas.db", "--store", "sqlite:///studies/nas.db"]),
    "database below a file": (database_below_a_file, ["file/nas.db", "--store"]),
    "no database URL": (option(store="nas.db"), ["database URL", "sqlite:///studies/nas.db"]),
    "unknown database": (option(store="oracle://u:secret@h/d"), ["oracle", "PostgreSQL", "sqlite"]),
    "out is a file": (out_is_a_file, ["--out", "file"]),
    "unknown sampler": (option(sampler="tpo"), ["'tpo'", "Did you mean 'tpe'?", "random"]),
    "unknown pruner": (option(pruner="mean"), ["'mean'", "median", "successive_halving"]),
    "unknown metric": (option(metric="acc"), ["'acc'", "'accuracy'", "nas search --help"]),
    "unknown objective": (option(objective="firm"), ["'firm'", "hard", "soft"]),
    "weight above 0": (option(w=0.5), ["w", "0.5", "-0.07"]),
    "bad time": (option(time="soon"), ["--time", "'soon'", "30m"]),
    "no trials": (option(trials=0), ["--trials", "at least 1", "not 0"]),
    "negative workers": (option(workers=-1), ["--workers", "at least 0", "not -1"]),
    "no epochs": (option(epochs=0), ["--epochs", "at least 1", "not 0"]),
    "no resolution": (option(resolution=0), ["--resolution", "from 1 to 16384", "not 0"]),
    "path as study": (option(study="../x"), ["study", "name of a folder", "'../x'"]),
    "long study": (option(study="ü" * 123), ["at most 245 bytes", "246", "--study"]),
    "control in study": (option(study="a\x1b[1m"), ["name of a folder", "--study"]),
    "file as study": (
        beside_a_file(study="file", out=".", store="sqlite:///x.db"),
        ["file", "can't be"],
    ),
    "file as checkpoints": (
        beside_a_file(checkpoints="file", out="studies"),
        ["file", "--checkpoints is a folder"],
    ),
    "below a file as checkpoints": (
        beside_a_file(checkpoints="file/x", out="studies"),
        ["--checkpoints is a folder"],
    ),
    "unwritable URL as checkpoints": (
        option(checkpoints="http://127.0.0.1:9/x"),
        ["http://127.0.0.1:9/x", "--checkpoints"],
    ),
    "seed below 0": (option(seed=-1), ["--seed", "-1"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(mistake: str, inputs: Path, here: Path) -> None:
    """A search that can't be: one message with rule, value and options, exit code 2, no file."""
    make, message = MISTAKES[mistake]
    words = search(inputs, **make(here))
    before = contents(here)
    held(run(*words), message)
    assert contents(here) == before


@pytest.mark.parametrize(
    "change", [{"target_flops": "90G"}, {"store": "sqlite:///images/cat/0.png/x"}]
)
def test_a_late_mistake_takes_back_the_cache_of_images(
    change: dict[str, object], inputs: Path, here: Path
) -> None:
    """What reading a folder of images left in the cache is removed when the search can't begin."""
    write_images(here / "images", ["cat", "dog"])
    before = contents(here)
    held(run(*search(inputs, data="images", **change)), [])
    assert contents(here) == before


COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "status without a store": (["status"], ["studies/nas.db", "--store", "NAS_STORE"]),
    "top without a store": (["top"], ["studies/nas.db", "--store", "NAS_STORE"]),
    "rescore without a store": (["rescore", "--target-flops", "1M"], ["studies/nas.db", "--store"]),
    "show without a store": (["show"], ["studies/nas.db", "--store", "NAS_STORE"]),
    "export without a store": (["export", "--out", "x"], ["studies/nas.db", "--store"]),
    "resume without a store": (["resume", "--study", "x"], ["studies/nas.db", "--store"]),
    "unknown format": (["export", "--out", "x", "--format", "onyx"], ["'onyx'", "python"]),
    "no top": (["top", "--n", "0"], ["at least 1", "not 0"]),
    "unknown member": (["cost", "mixnet_x"], ["'mixnet_x'", "mixnet_s"]),
    "cost of a space": (["cost", "mixconv"], ["mixconv", "nas space list", "nas space sample"]),
    "cost at 0 px": (["cost", "mixnet_s", "--resolution", "0"], ["--resolution", "at least 1"]),
    "cost for no classes": (["cost", "mixnet_s", "--classes", "0"], ["--classes", "at least 1"]),
    "cost of no image": (["cost", "mixnet_s", "--in-channels", "0"], ["--in-channels"]),
    "cost of no file": (["cost", "no.json"], ["no.json"]),
    "cost of two, one unknown": (["cost", "mixnet_s", "mixnet_x"], ["'mixnet_x'", "mixnet_s"]),
    "unknown network to draw": (["space", "diagram", "mixnet_x"], ["'mixnet_x'", "mixnet_s"]),
    "picture of another kind": (
        ["space", "diagram", "mixnet_s", "--out", "x.jpg"],
        ["--out", ".svg or .png", "'x.jpg'"],
    ),
    "no samples": (["space", "sample", "mixconv", "--n", "0"], ["--n", "at least 1", "not 0"]),
    "unknown space to sample": (["space", "sample", "x"], ["'x'", "nas space list"]),
    "unknown space to show": (["space", "show", "x"], ["'x'", "nas space list"]),
    "target of abc to show": (
        ["space", "show", "mixnet_s", "--target-flops", "abc"],
        ["--target-flops", "'abc'"],
    ),
    "unknown space to check": (["space", "validate", "x"], ["'x'", "nas space list"]),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_every_command_tells_a_mistake(mistake: str, here: Path) -> None:
    """Commands besides search: one message with rule, value and options, exit code 2, no file."""
    words, message = COMMANDS[mistake]
    held(run(*words), message)
    assert contents(here) == {}


def test_a_real_process_tells_a_mistake(inputs: Path, here: Path) -> None:
    """The same in a process of its own: one line on standard error, exit code 2, no file."""
    ended = nas(*search(inputs, data="no/such"), cwd=here)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("nas: ")
    assert ended.stderr.count("\n") == 1
    assert contents(here) == {}


def test_an_option_that_does_not_exist_is_refused(here: Path) -> None:
    """What the parser refuses ends with exit code 2 and the name of the option too."""
    ended = run("search", "--target", "5M")
    assert ended.exit_code == 2
    assert "--target" in ended.stderr
    assert contents(here) == {}


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished search of two trials."""
    folder = tmp_path_factory.mktemp("finished")
    store = f"sqlite:///{folder}/nas.db"
    words = search(inputs, trials=2, store=store, out=folder / "studies", pruner="none")
    ended = run(*words, "--json")
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["study"] == "tiny"
    return folder


@pytest.fixture
def stored(finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Name the finished search's store by NAS_STORE, and work in an empty folder."""
    monkeypatch.setenv("NAS_STORE", f"sqlite:///{finished}/nas.db")
    monkeypatch.chdir(tmp_path)
    return finished


JSON_KEYS: dict[str, set[str]] = {
    "status --study tiny": {"study", "trials", "running", "best", "failures"},
    "status": {"study", "trials", "running", "best", "failures"},
    "top": {"number", "score", "metrics", "macs", "params", "architecture_id", "one_class"},
    "top --study tiny -n 1": {"number", "score"},
    "top --pareto": {"study", "metric", "cost", "hypervolume", "reference", "front", "growth"},
    "rescore --target-flops 1M": {"study", "objective", "extrapolated", "trials"},
    "show": {"number", "architecture", "curve"},
    "show --study tiny --trial 0": {"number", "architecture", "curve"},
    "export --study tiny --format python --out out": {"code"},
    "resume --study tiny --workers 1": {"study", "best", "trials"},
    "cost mixnet_s": {
        "name",
        "architecture_id",
        "resolution",
        "in_channels",
        "classes",
        "macs",
        "params",
        "activations",
        "peak_activation_bytes",
        "blocks",
        "stages",
    },
    "cost mixnet_s mixnet_m": {"name", "macs", "blocks", "stages"},
    "cost mixnet_s --blocks": {"macs", "blocks"},
    "cost mixnet_s_k9.11.13 --resolution 64 --classes 2 --in-channels 1": {"macs", "params"},
    "priors list": {"name", "space", "networks", "about"},
    "space list": {"name", "kind", "size", "parameters"},
    "space show mixnet_s --target-flops 239M": {"size", "macs", "params", "near_target"},
    "space show mixconv --data digits": {"fitted", "networks"},
    "space sample mixconv --n 2 --seed 0": {"stages", "resolution", "classes"},
    "space validate mixnet_s": {"name", "stages"},
    "space diagram mixnet_s": {"files"},
}


@pytest.mark.parametrize("words", JSON_KEYS)
def test_json_is_one_value_for_machines(words: str, stored: Path) -> None:
    """With --json a command prints one object, or a list of objects, and nothing else."""
    ended = run(*words.split(), "--json")
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1
    for one in found if isinstance(found, list) else [found]:
        assert JSON_KEYS[words] <= one.keys()


@pytest.mark.parametrize("words", [words for words in JSON_KEYS if "resume" not in words])
def test_people_get_text(words: str, stored: Path) -> None:
    """Without --json the same commands print text for people."""
    ended = run(*words.split())
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.strip()
    assert ended.stdout[0] not in "[{"


def test_cost_is_summed_up_by_stage() -> None:
    """The stages of `nas cost --json` add up to the totals, from the image to the logits."""
    found = json.loads(run("cost", "mixnet_s", "--json").stdout)
    stages = found["stages"]
    for name in ("macs", "params", "activations"):
        assert sum(stage[name] for stage in stages) == found[name]
    assert sum(stage["layers"] for stage in stages) == len(found["blocks"])
    assert [stage["part"] for stage in (stages[0], stages[1], stages[-1])] == [
        "stem", "stage1", "head",
    ]  # fmt: skip
    sizes = [(stage["resolution_in"], stage["resolution_out"]) for stage in stages]
    assert (sizes[0], sizes[2], sizes[-1]) == ((224, 112), (112, 56), (7, 1))
    assert all(before[1] == after[0] for before, after in itertools.pairwise(sizes))
    assert stages[-1]["blocks"] == {"conv": 1, "classifier": 1}


def test_several_networks_are_compared() -> None:
    """`nas cost` of several names prints a line for each, with ratios to the first."""
    lines = run("cost", "mixnet_s", "mixnet_m", "--resolution", "224").stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:5] == ["mixnet_s", "224", "1000", "19", "239M"]
    assert lines[2].split()[5:8] == ["1.42x", "5.01M", "1.21x"]


def test_cost_tables_are_never_cut() -> None:
    """Numbers are printed whole on a narrow terminal: by stage, and block by block."""
    by_stage, by_block = run("cost", "mixnet_s").stdout, run("cost", "mixnet_s", "--blocks").stdout
    for out in (by_stage, by_block):
        assert "239,173,360" in out
        assert "4,134,606" in out
        assert "…" not in out
    assert "mbconv x4" in by_stage
    assert len(by_block.splitlines()) > len(by_stage.splitlines())


def test_the_store_is_named_by_the_environment_or_the_option(stored: Path, inputs: Path) -> None:
    """NAS_STORE names the store where --store does not; --store goes first."""
    assert "tiny: 2 complete" in run("status").stdout
    held(run("status", "--store", "sqlite:///other.db"), ["other.db"])


@pytest.mark.parametrize(
    "words", ["status --study", "top --study", "show --study", "resume --study"]
)
def test_an_unknown_study_lists_the_known_ones(words: str, stored: Path) -> None:
    """A study that is not in the store is refused with the names of those that are."""
    held(run(*words.split(), "tinny"), ["'tinny'", "Did you mean 'tiny'?"])


def test_an_unknown_trial_is_refused(stored: Path) -> None:
    """A trial that is not in the study is refused with those that are."""
    held(run("show", "--study", "tiny", "--trial", "99"), ["99", "0 to 1"])
    held(run("export", "--study", "tiny", "--trial", "99", "--out", "x"), ["99", "0 to 1"])


def test_a_folder_is_the_same_with_a_slash_or_without(inputs: Path, here: Path) -> None:
    """`images/` and `images` are one data set: the second command goes on with the same study."""
    write_images(here / "images", ["cat", "dog"], 8)
    for name in ("images/", "images"):
        ended = run(*search(inputs, data=name, workers=0))
        assert ended.exit_code == 0, ended.stderr


def test_an_export_that_can_not_be_written_is_refused(stored: Path) -> None:
    """A file where the folder of the export would be is a mistake that is told."""
    Path("file").write_text("not a folder")
    held(run("export", "--study", "tiny", "--out", "file"), ["file"])
    assert Path("file").read_text() == "not a folder"


def test_a_study_keeps_its_meaning(stored: Path, inputs: Path) -> None:
    """The name of a study that exists with another space is refused; the study stays as it was."""
    before = known()
    Path("other.py").write_text(SPACE.replace("choice(2, 3, 4)", "choice(2, 4)"))
    held(run(*search(inputs, space="other.py", trials=2)), ["tiny", "expansion"])
    assert known() == before


def known() -> list[dict[str, Any]]:
    """Return what `nas status` says of studies, but for what passes with time."""
    passing = ("recent", "overall", "idle", "now", "elapsed")
    found = json.loads(run("status", "--json").stdout)
    return [{name: one[name] for name in one if name not in passing} for one in found]


QUICK = ["--help", "status", "top", "show", "top --pareto", "rescore --target-flops 1M"]


@pytest.mark.parametrize("words", [line.split() for line in QUICK])
def test_quick_commands_import_no_torch(words: list[str], stored: Path) -> None:
    """Help, status and top import neither torch nor Optuna nor Alembic."""
    heavy = "{'torch', 'optuna', 'alembic', 'sklearn', 'matplotlib', 'kornia'}"
    code = (
        "import sys, nas.cli\n"
        f"try: nas.cli.app({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_help_is_quick() -> None:
    """`nas --help` works for less than half as long as Python takes to import torch, here and now.

    Counted in the processor's time, for what a busy machine adds is not ours.
    """
    torch = seconds_of([sys.executable, "-c", "import torch"])
    assert min(seconds_of(command("--help")) for _ in range(3)) < 0.5 * torch


def seconds_of(words: list[str]) -> float:
    """Run a command, and return the processor's seconds that it took."""
    begun = os.times()
    subprocess.run(words, capture_output=True, check=True, timeout=120)
    ended = os.times()
    return ended.children_user + ended.children_system - begun.children_user - begun.children_system


@pytest.mark.parametrize(
    "words", ["space list", "space list --json", "space sample mixconv --n 200"]
)
def test_a_reader_that_has_seen_enough_is_no_error(words: str, here: Path) -> None:
    """`nas space list | head -1` ends without a traceback or a message."""
    line = f"{sys.executable} -m nas.cli {words} | head -c 10"
    ended = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120, cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_a_network_that_predicts_one_class_is_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    """The progress line, read as it is and not as markup, and the table say so."""
    from rich.console import Console

    from nas.cost import Cost
    from nas.report.tables import top_table
    from nas.store.queries import TrialInfo
    from nas.study.progress import trial_line

    trial = TrialInfo(
        number=3, state="complete", score=0.7, evaluation_id=1, architecture_id="a" * 16,
        notation="", cost=Cost(10, 10, 10, 10), reason=None, seconds=1.0, fidelity=1, attempt=1,
        metrics={"accuracy": 0.7551, "majority_rate": 0.7551, "predicted_classes": 1.0},
        worker="w", reused_from=None, stopped=False,
    )  # fmt: skip
    console = Console(width=200, force_terminal=False)
    console.print(trial_line(trial, "accuracy"), markup=False)
    console.print(top_table([trial], "accuracy"))
    out = capsys.readouterr().out
    assert "accuracy 0.7551 (majority class 0.7551)" in out
    assert "[predicts one class]" in out
    assert "one class!" in out


def test_a_verb_says_everything_of_its_command_once() -> None:
    """Options, flags and --json follow from a verb's signature; its value prints itself."""
    import typer

    from nas.cli._shared import add
    from nas.commands._options import Help, Images, argument
    from nas.errors import Interrupted, NasError

    class Greeting(dict[str, Any]):
        @property
        def failure(self) -> NasError | None:
            return {"bad": NasError("bad"), "stop": Interrupted("gone")}.get(self["name"])

        def to_json(self) -> dict[str, Any]:
            return self

        def lines(self) -> list[str]:
            return [f"hello {self['name']}"]

    def greet(
        name: Annotated[str, argument("A name.")],
        *,
        loud: Annotated[bool, Help("In capitals.")] = False,
        target: Annotated[str | float | None, Help("Such as 5M.", ("--to",))] = None,
        callback: object = None,
        **images: Unpack[Images],
    ) -> Greeting:
        """Greet somebody.

        Not on the command line.
        """
        return Greeting(name=name, loud=loud, target=target, callback=callback, **images)

    group = typer.Typer()
    add(group, "greet", greet)
    words = ["Ada", "--loud", "--to", "5M", "--resolution", "8"]
    ended = CliRunner().invoke(group, [*words, "--json"])
    greeting = {"name": "Ada", "loud": True, "target": "5M", "callback": None, "resolution": 8}
    assert json.loads(ended.stdout) == greeting
    assert CliRunner().invoke(group, words).stdout == "hello Ada\n"
    described = CliRunner().invoke(group, ["--help"]).stdout
    assert "Greet somebody." in described
    assert "Not on the command line" not in described
    assert "--callback" not in described
    codes = {name: CliRunner().invoke(group, [name]) for name in ("bad", "stop")}
    assert {name: (end.exit_code, end.stdout) for name, end in codes.items()} == {
        "bad": (1, "hello bad\n"), "stop": (130, ""),
    }  # fmt: skip


def test_the_command_line_asks_nowhere_whether_to_print_json() -> None:
    """One function prints a value or its JSON, and one place names the option."""
    sources = {path.name: path.read_text() for path in (ROOT / "nas/cli").glob("*.py")}
    asking = re.compile(r"if (not )?(json_|as_json)\b")
    assert [name for name, text in sources.items() if asking.search(text)] == ["_shared.py"]
    assert sum(text.count('"--json"') for text in sources.values()) == 1


REFUSED = """
search --metric kapa --target-flops 1M
search --sampler tpo --target-flops 1M
search --track x --target-flops 1M
search --target-flops many
search --space mixcnov --target-flops 1M
search --space no.py --target-flops 1M
search --data digitz --target-flops 1M
search --recipe shrt --target-flops 1M
store check --store sqlite:///no.db
search
resume --study x --trials 0
train mixnet_s --out x --metric kapa
train mixnet_s --out x --seeds 0
evaluate x --split tset --data digits
export --member mixnet_s --format pyton --out x
proxies --proxies naswat
rescore --target-flops many
top --n 0
status --every 3
space show mixconv --target-flops many
space show mixconv --target-device x
space sample mixconv --n 0
scale mixnet_s --phi a
scale mixnet_s --divisor 0
cost mixnet_s --resolution 0
"""
REFUSE = """
import os, sys
import nas.store.queries, nas.training.recipe_file
from nas.cli import main
for line in sys.stdin.read().split(chr(10)):
    if os.fork() == 0:
        sys.argv = ["nas", *line.split()]
        try:
            main()
        except SystemExit as ended:
            os._exit((ended.code or 0) + 100 * ("torch" in sys.modules))
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status != 2:
        print(line, status)
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("space list", '"mixconv"'),
        ("space show mixconv", '"parameters": 28'),
        ("cost mixnet_s convnext_tiny", '"macs": 239173360'),
        ("recipe show whole --data digits", '"adamw"'),
    ],
)
def test_what_trains_nothing_answers_without_torch(words: str, told: str, tmp_path: Path) -> None:
    """Spaces, costs and recipes are told of, and torch was not imported for it."""
    ended = telling_of_torch(*words.split(), "--json", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "False\n")
    assert told in ended.stdout


def test_what_trains_is_seen_to_import_torch(tmp_path: Path) -> None:
    """The check above can fail: building a network imports torch."""
    words = ["export", "--member", "se_condconv_se", "--format", "json", "--out", str(tmp_path)]
    assert telling_of_torch(*words, cwd=tmp_path).stderr.endswith("True\n")


def test_a_wrong_option_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    """It takes the time of `nas --help`: a search's slow imports come after its options."""
    lines = REFUSED.strip()
    command = [sys.executable, "-c", REFUSE]
    ended = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.count("nas: ") == len(lines.splitlines())
    assert list(tmp_path.iterdir()) == []
