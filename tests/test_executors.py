"""Executors: the same search in this process, in local processes and on a real Ray cluster."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas import executors
from nas.errors import UserError
from nas.executors._processors import threads
from nas.study.options import read
from tests import ray_kit
from tests.search_kit import arguments, command, is_gone, nas_here, result
from tests.test_search import assert_whole, children, points, rows, until

CURVES = """SELECT e.architecture_id, c.epoch, c.train_loss, c.metrics
    FROM nas_evaluations e JOIN nas_curve_points c ON c.evaluation_id = e.id ORDER BY 1, 2"""
OVER = 240  # seconds for a small search to end on a busy machine


@dataclass(frozen=True)
class Place:
    """How one executor is asked for, started and looked into."""

    words: tuple[str, ...]  # one worker with all cores' threads
    two: tuple[str, ...]  # two workers
    popen: "Callable[..., subprocess.Popen[str]]"
    workers: Callable[[int], list[int]]  # process ids of the workers of a driver

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command of ours."""
        return self.popen(*command(*words))

    def end(self, *words: str) -> "tuple[int, str, str]":
        """Run a command of ours to its end: status, output, errors."""
        process = self.start(*words)
        out, errors = process.communicate(timeout=OVER)
        return process.returncode, out, errors


def here(*words: str) -> "subprocess.Popen[str]":
    """Start a command on this machine."""
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(params=executors.names())
def place(request: pytest.FixtureRequest) -> Place:
    """Return each executor's way; one that is new has to be told of here."""
    if request.param == "in-process":
        alone = ("--executor", "in-process")
        return Place(alone, alone, here, lambda driver: [driver])
    if request.param == "local":
        words = ("--executor", "local", "--workers")
        return Place((*words, "1"), (*words, "2"), here, children)
    cluster = request.getfixturevalue("head")  # has room for two workers, or one with all cores
    words = (*cluster.words, "--max-concurrent")
    return Place(
        (*words, "1", "--cpus-per-trial", str(threads())),
        (*words, "2"),
        cluster.popen,
        lambda _: [pid for node in cluster.nodes for pid in node.workers()],
    )


def search(folder: Path, **options: object) -> list[str]:
    """Return the words of a small search that say nothing of workers."""
    words = arguments(folder, **{"sampler": "random", "trials": 3, **options})
    at = words.index("--workers")
    return ["search", *words[:at], *words[at + 2 :], "--json"]


@pytest.fixture(scope="module")
def curves_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return what a worker in this very process stores of a small search."""
    folder = tmp_path_factory.mktemp("here")
    result(nas_here(*search(folder), "--executor", "in-process"))
    return {"curves": rows(folder, CURVES)}


def test_every_executor_gives_the_same_evaluations(
    place: Place, tmp_path: Path, curves_of: dict[str, object]
) -> None:
    """The same networks, and of each the same losses and metrics, epoch for epoch."""
    status, out, errors = place.end(*search(tmp_path), *place.words)
    assert status == 0, errors
    assert json.loads(out.splitlines()[-1])["trials"]["complete"] == 3
    assert rows(tmp_path, CURVES) == curves_of["curves"]


def test_a_killed_worker_loses_nothing(place: Place, tmp_path: Path) -> None:
    """SIGKILL in mid-training: its trial goes on, at the latest with the same command again."""
    words = [*search(tmp_path, trials=2, epochs=15, images=320), *place.two]
    process = place.start(*words)
    until(lambda: points(tmp_path) >= 3)
    ray_kit.kill(place.workers(process.pid)[0])
    _, errors = process.communicate(timeout=OVER)
    if process.returncode == -signal.SIGKILL:  # the worker was this very process
        process = place.start(*words)
        _, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    assert_whole(tmp_path, 2, 15)
    assert max(rows(tmp_path, "SELECT attempt FROM nas_evaluations")) == (2,)


def test_a_search_stops_when_asked(place: Place, tmp_path: Path) -> None:
    """SIGINT: exit code 130, the trial left to others at once, no worker left."""
    process = place.start(*search(tmp_path, trials=2, epochs=60, images=640), *place.words)
    until(lambda: points(tmp_path) >= 2)
    workers = [pid for pid in place.workers(process.pid) if pid != process.pid]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=OVER)
    assert process.returncode == 130, errors
    assert "goes on" in errors
    assert "Traceback" not in errors
    until(lambda: all(map(is_gone, workers)), 30)
    left = rows(tmp_path, "SELECT expires_at FROM nas_evaluations WHERE state = 'running'")
    assert [float(str(row[0])) <= time.time() for row in left] == [True]


def test_a_mistake_that_a_worker_finds_is_told(place: Place, tmp_path: Path) -> None:
    """Images that are gone when a search goes on: one message, exit code 2, no traceback."""
    result(nas_here(*search(tmp_path, trials=1, epochs=1), "--executor", "in-process"))
    (tmp_path / "tones.npz").unlink()
    store = f"sqlite:///{tmp_path}/nas.db"
    words = ("resume", "--study", "tiny", "--store", store, "--trials", "2")
    status, _, errors = place.end(*words, *place.words)
    assert status == 2, errors
    assert "tones.npz" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "No executor named 'slurm'. Available: in-process, local, ray."),
        ({"workers": -1}, "--workers is a whole number of at least 0, not -1."),
        ({"executor": "in-process", "workers": 2}, "has one worker, not --workers 2"),
        ({"executor": "local", "workers": 0}, "at least 1 worker, not --workers 0"),
        ({"address": "head:6379"}, "--address head:6379 is for --executor ray, not for local."),
        ({"cpus_per_trial": 2.0, "workers": 0}, "is for --executor ray, not for in-process."),
        ({"max_concurrent": 2}, "--max-concurrent 2 is for --executor ray"),
        ({"executor": "ray", "workers": 2}, "--max-concurrent says"),
        (
            {"executor": "ray", "cpus_per_trial": 0.0},
            "--cpus-per-trial is a number of at least 0.01, not 0.0.",
        ),
        ({"executor": "ray", "gpus_per_trial": 1.5}, "or a whole number, not 1.5."),
        (
            {"executor": "ray", "max_concurrent": 0},
            "--max-concurrent is a whole number of at least 1, not 0.",
        ),
    ],
)
def test_what_an_executor_cannot_do_is_refused(options: dict[str, object], message: str) -> None:
    """The rule, the value and the way out, before anything is connected."""
    if options.get("executor") == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(UserError) as refused:
        read(options).new_executor()
    assert message in str(refused.value)


def test_without_ray_the_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is an extra: asked for and absent, the message says how to get it."""
    monkeypatch.setattr("nas.executors.ray.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'nas\[ray\]'"):
        executors.get("ray", executors.Request())


def test_workers_0_is_the_debuggers_friend() -> None:
    """--workers 0 is in-process, anything else local, unless the executor is named."""
    assert type(read({"workers": 0}).new_executor()).__name__ == "InProcess"
    assert type(read({"workers": 3}).new_executor()).__name__ == "LocalProcesses"
    by_default = read({}).new_executor()
    assert by_default.threads * by_default.workers <= max(1, os.cpu_count() or 1)
