"""Trackers: a trial is one run in TensorBoard, MLflow and Weights & Biases, read back by theirs."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from search_kit import arguments, nas_here, result
from store_kit import opened, point, proposal, ready_file, score, trials
from table_kit import EPOCHS, SERVER, STUDY, start, study

from nas.errors import UserError
from nas.observers import Observers, trackers
from nas.observers.trackers import Tracking
from nas.store import queries
from nas.store.records import CurvePoint, Lease
from nas.store.store import Store
from nas.study import options

# MLflow's tables use what SQLAlchemy will drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@dataclass
class Shown:
    """A run as a tracker's own reader shows it."""

    state: str
    curve: list[tuple[int, float]]
    facts: dict[str, Any] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)


def of_tensorboard(folder: Path) -> list[Shown]:
    """Read event files by TensorBoard's EventAccumulator."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    shown = []
    for run in sorted((folder / "tensorboard").iterdir()):
        events = EventAccumulator(str(run))
        events.Reload()
        scalars = events.Tags()["scalars"]
        plugin = events.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
        values = HParamsPluginData.FromString(plugin).session_start_info.hparams
        facts = {k: v.string_value or v.number_value for k, v in values.items()}
        final = {
            n.removeprefix("final/"): events.Scalars(n)[-1].value
            for n in scalars
            if n.startswith("final/")
        }
        state = events.Tensors("state/text_summary")[-1].tensor_proto.string_val[0].decode()
        curve = (
            [(e.step, e.value) for e in events.Scalars("accuracy")] if "accuracy" in scalars else []
        )
        shown.append(Shown(state, curve, facts, final))
    return shown


def of_mlflow(folder: Path) -> list[Shown]:
    """Read the database by MLflow's client."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder.parent}/mlflow.db")
    shown = []
    for experiment in client.search_experiments(filter_string="name != 'Default'"):
        for run in client.search_runs(
            [experiment.experiment_id], order_by=["tags.`mlflow.runName`"]
        ):
            points = client.get_metric_history(run.info.run_id, "accuracy")
            last = {each.step: each.value for each in points}
            final = {k.removeprefix("final_"): v for k, v in run.data.metrics.items()}
            shown.append(
                Shown(
                    run.data.tags["state"],
                    sorted(last.items()),
                    {**run.data.tags, **run.data.params},
                    final,
                )
            )
    return shown


def of_wandb(folder: Path) -> list[Shown]:
    """Read the records of offline runs; those with one id are one run once they are sent."""
    runs: dict[str, Shown] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for record in records(path):
            if record.HasField("run"):
                run = runs.setdefault(record.run.run_id, Shown("", []))
                run.facts |= {
                    each.key: json.loads(each.value_json) for each in record.run.config.update
                }
            elif record.HasField("history"):
                row = {
                    "/".join(each.nested_key) or each.key: json.loads(each.value_json)
                    for each in record.history.item
                }
                run.curve = sorted((dict(run.curve) | {row["epoch"]: row["accuracy"]}).items())
            elif record.HasField("summary"):
                for each in record.summary.update:
                    key = "/".join(each.nested_key) or each.key
                    run.final[key.removeprefix("final_")] = json.loads(each.value_json)
    for run in runs.values():
        run.state = str(run.final.pop("state", ""))
        run.final |= {name: run.facts[name] for name in ("macs", "params")}
    return list(runs.values())


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: LevelDB's log, with Weights & Biases' messages in it."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, message = path.read_bytes(), 7, b""  # after the file's own header
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(message)
            message = b""


BLOCK = 32_768  # bytes
READERS: dict[str, Callable[[Path], list[Shown]]] = {
    "tensorboard": of_tensorboard,
    "mlflow": of_mlflow,
    "wandb": of_wandb,
}


def shown(tracker: str, folder: Path, runs: int) -> list[Shown]:
    """Return the runs once all have ended: Weights & Biases closes its files in the background."""
    end = time.monotonic() + 30
    while len(read := READERS[tracker](folder)) < runs or {"", "left"} & {
        run.state for run in read
    }:
        assert time.monotonic() < end, read
        time.sleep(0.1)
    return read


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no tracker named by the environment."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(here: Path, tables: bytes) -> Path:
    """Make a study's folder beside a database of MLflow without runs."""
    made = here / "studies" / "s"
    made.mkdir(parents=True)
    (made.parent / "mlflow.db").write_bytes(tables)
    return made


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make MLflow's tables once, because that is slow."""
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open an empty store."""
    with opened(ready_file(tmp_path)) as made:
        yield made


def begin(store: Store, tracker: str, folder: Path, **worker: Any) -> tuple[Tracking, Any, Lease]:
    """Begin a trial, or take it over from the dead; return its tracker, trials and lease."""
    mine = trials(store, **worker)
    started = mine.adopt() or mine.start(proposal())
    assert started.lease is not None
    assert started.evaluation is not None
    tracking = Tracking(tracker, folder, mine.info, lambda n: mine.shown(n).params, score)
    tracking.started(started.lease, started.evaluation)
    return tracking, mine, started.lease


def train_and_die(url: str, tracker: str, folder: Path) -> None:
    """Train two epochs; be killed."""
    with opened(url) as store:
        tracking, _, lease = begin(store, tracker, folder, worker="w1", lease=0.01)
        for epoch, accuracy in ((1, 0.125), (2, 0.5)):
            tracking.epoch(lease, CurvePoint(epoch=epoch, metrics={"accuracy": accuracy}), accuracy)
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("tracker", trackers.names())
def test_a_trial_is_one_run(tracker: str, store: Store, folder: Path) -> None:
    """One that a worker dies over and another ends has its parameters, curve, cost and state."""
    dies = SERVER.Process(
        target=train_and_die, args=(f"sqlite:///{folder.parent.parent}/nas.db", tracker, folder)
    )
    dies.start()
    dies.join(60)
    assert dies.exitcode == -signal.SIGKILL
    living, mine, lease = begin(store, tracker, folder, worker="w2")
    for epoch, accuracy in ((2, 0.25), (3, 0.75)):  # the second epoch is trained again
        metrics = {"accuracy": accuracy, "recall:<b>": 0.5, "loss": None}
        living.epoch(lease, CurvePoint(epoch=epoch, metrics=metrics), accuracy)
    living.ended(lease, "complete", {"accuracy": 0.75}, None)
    mine.finish(lease, "complete", metrics={"accuracy": 0.75})
    living.reused(mine.start(proposal()))
    first, again = shown(tracker, folder, 2)
    assert (first.state, again.state) == ("complete", "complete")
    assert (first.curve, again.curve) == ([(1, 0.125), (2, 0.25), (3, 0.75)], [])
    for run in (first, again):
        assert run.facts["stage3.kernels"] == "3.5"
        assert run.facts["notation"] == "ir_r1_k3.5_s2_e6_c40"
        assert {name: run.final[name] for name in ("accuracy", "score", "macs", "params")} == {
            "accuracy": 0.75, "score": 0.75, "macs": 2_000_000, "params": 30_000,
        }  # fmt: skip


@pytest.mark.parametrize("tracker", trackers.names())
def test_a_trial_that_fails_has_the_reason(tracker: str, store: Store, folder: Path) -> None:
    """One that was let go first is the same run; no password is in the reason."""
    tracking, mine, lease = begin(store, tracker, folder)
    tracking.left(lease, "stopped")
    mine.release(lease)
    tracking, _, lease = begin(store, tracker, folder)
    tracking.ended(lease, "failed", {}, "Diverged: postgresql://me:secret@host/nas")
    (run,) = shown(tracker, folder, 1)
    assert run.state.startswith("failed")
    told = f"{run.state} {run.facts} {run.final}"
    assert "Diverged" in told
    assert "secret" not in told


def test_a_tracker_that_fails_is_reported_once(
    store: Store, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file is where its folder should be: the trial goes on, without it."""
    (here / "tensorboard").write_text("")
    tracking, _, lease = begin(store, "tensorboard", here)
    observers = Observers([tracking])
    for epoch in (1, 2, 3):
        observers.tell("epoch", lease, point(epoch), 0.5)
    observers.tell("ended", lease, "complete", {"accuracy": 0.5}, None)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("tensorboard fails, its runs end here: ")


def test_several_workers_share_a_database(here: Path) -> None:
    """Each trial of two processes is a run of MLflow; they make its tables only once."""
    config = study(f"sqlite:///{here}/nas.db", here / "studies", pruner="none", track=("mlflow",))
    process = start(f"sqlite:///{here}/nas.db", config, trials=4, workers=2)
    process.join(120)
    assert process.exitcode == 0
    runs = of_mlflow(here / "studies" / STUDY)
    assert [run.state for run in runs] == ["complete"] * 4
    assert all([epoch for epoch, _ in run.curve] == [*range(1, EPOCHS + 1)] for run in runs)


def test_a_search_tells_its_trackers(here: Path) -> None:
    """So does a resumed one, and the training of its finalists; a study's meaning has none.

    Nothing that lies in the studies' folder is removed or shortened, be it a tracker's or not.
    """
    foreign = here / "studies" / "tensorboard" / "mine.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("another's")
    words = arguments(here, workers=0, finalists=1, final_seeds=1, trials=2)
    result(nas_here("search", *words, "--track", "tensorboard", "--json"))
    runs = of_tensorboard(here / "studies" / "tiny")
    assert [run.state for run in runs] == ["complete"] * 2
    assert len(of_tensorboard(here / "studies" / "tiny-finalists")) == 1
    store = ("--store", f"sqlite:///{here}/nas.db", "--workers", "0")
    kept = {path: path.read_bytes() for path in (here / "studies").rglob("tensorboard/**/*.*")}
    result(nas_here("resume", "--study", "tiny", "--trials", "3", "--json", *store))
    assert len(kept) > 3
    assert all(path.read_bytes().startswith(content) for path, content in kept.items())
    assert len(of_tensorboard(here / "studies" / "tiny")) == 3
    with queries.connect(store[1]) as connection:
        assert queries.study(connection, "tiny").config["track"] == ["tensorboard"]
    assert "track" not in options.fixed()


def test_a_search_without_trackers_imports_none(here: Path) -> None:
    """Without --track none of the trackers' packages is imported, though they are installed."""
    code = (
        "import sys; from nas.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "print({'tensorboard', 'mlflow', 'wandb'} & {*sys.modules}, file=sys.stderr)"
    )
    words = ["search", *arguments(here, workers=0, finalists=0, trials=1), "--json"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300, cwd=here
    )
    assert result(ended)["best"] is not None
    assert ended.stderr.endswith("set()\n")


def test_a_name_or_a_package_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the names, or the command that installs the package."""
    for given, told in (
        ("tensorbord", "No tracker named 'tensorbord'. Did you mean 'tensorboard'? Available: "),
        (3, "--track are names of trackers such as tensorboard,mlflow, not 3."),
    ):
        with pytest.raises(UserError, match=re.escape(told)):
            options.read({"track": given})
    assert options.read({"track": "wandb, mlflow,wandb"}).track == ("wandb", "mlflow")
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"--track wandb needs .*: pip install 'nas\[wandb\]'\."):
        options.read({"track": ["wandb"]})


def test_a_change_of_environment_is_the_users(
    store: Store, here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLFLOW_TRACKING_URI names another database, WANDB_MODE another way to run."""
    (folder.parent / "mlflow.db").rename(here / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for tracker in ("mlflow", "wandb"):
        tracking, mine, lease = begin(store, tracker, folder)
        tracking.ended(lease, "complete", {"accuracy": 0.75}, None)
        mine.release(lease)
    assert len(of_mlflow(here / "studies")) == 1
    assert sorted(path.name for path in folder.parent.rglob("*") if path.is_file()) == [
        "mlflow.lock"
    ]
