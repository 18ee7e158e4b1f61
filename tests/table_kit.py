"""Whole studies in seconds: an evaluator that reads metrics from a table, and processes for it.

Everything except the training is real: the driver, its workers, the store, leases, signals. A
server that has imported all modules forks the processes.
"""

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from benchmarks.scale.load import config
from nas.architecture import Architecture
from nas.config import Config
from nas.errors import Interrupted
from nas.executors import Work
from nas.store.records import CurvePoint
from nas.store.store import Store
from nas.study import worker
from nas.study.driver import Driver
from nas.study.evaluator import Result, TrialControl
from nas.study.worker import WorkOrder

STUDY = "table"
EPOCHS = 9
EPOCH = 0.02  # seconds
SERVER = multiprocessing.get_context("forkserver")
# Not this file: the server does not have the path of the tests (Python 3.11).
SERVER.set_forkserver_preload(["torch", "nas.study.driver", "nas.store.migrate", "psycopg"])


class Table:
    """An evaluator: metrics follow from the architecture's id and the epoch; it keeps checkpoints.

    Each evaluated epoch adds a line to the file `epochs`. While there is a file `granted` in a
    folder above, no more epochs are evaluated than it says.
    """

    def get_ready(self) -> None:
        """Load nothing."""

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:
        """Report each epoch of the table, the first ones from the checkpoint if there is one."""
        log = Path(control.checkpoints, "epochs")
        log.parent.mkdir(parents=True, exist_ok=True)
        done = len(log.read_text().splitlines()) if log.exists() else 0
        for epoch in range(1, fidelity + 1):
            if control.should_stop():
                raise Interrupted("asked to stop")
            if epoch > done:
                time.sleep(EPOCH)
                while not is_granted(log.parent):
                    if control.should_stop():
                        raise Interrupted("asked to stop")
                    time.sleep(EPOCH)
                with log.open("a") as file:
                    file.write(f"{epoch}\n")
            metrics = table(architecture.id, epoch)
            control.report(CurvePoint(epoch=epoch, metrics=metrics, seconds=EPOCH), epoch <= done)
        return Result(metrics=metrics, seconds=EPOCH * fidelity)


def evaluated(folder: Path) -> int:
    """Count the epochs that were evaluated by studies below a folder."""
    return sum(len(log.read_text().splitlines()) for log in folder.rglob("epochs"))


def grant(folder: Path, epochs: int) -> None:
    """Let so many more epochs be evaluated below a folder, and then none."""
    new = folder / "granted.new"
    new.write_text(str(evaluated(folder) + epochs))
    new.replace(folder / "granted")


def is_granted(folder: Path) -> bool:
    """Tell whether one more epoch may be evaluated; any may where nothing was granted."""
    for above in folder.parents:
        granted = above / "granted"
        if granted.exists():
            return evaluated(above) < int(granted.read_text())
    return True


def table(architecture_id: str, epoch: int) -> dict[str, float]:
    """Return the metrics of an architecture after an epoch."""
    best = int(hashlib.sha256(architecture_id.encode()).hexdigest()[:8], 16) / 16**8
    return {"accuracy": round(best * (1 - 0.5**epoch), 6)}


class Forked:
    """An executor whose workers are forks of the driver."""

    threads, crowding = 1, 1.0

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def start(self, work: Work) -> "Fork":
        """Start a worker and return at once."""
        return Fork(work)

    def close(self) -> None:
        """Do nothing."""


class Fork:
    """A worker in a process."""

    def __init__(self, work: Work) -> None:
        fork = multiprocessing.get_context("fork")
        self.asked = fork.Event()
        self.process = fork.Process(target=_run, args=(work.order, os.getpid(), self.asked.is_set))
        self.process.start()

    def poll(self) -> int | None:
        """Return None while the process runs, 0 when it has ended, else its exit status."""
        return self.process.exitcode

    def stop(self) -> None:
        """Ask the worker to stop."""
        self.asked.set()

    def wait(self, seconds: float) -> None:
        """Wait for the process's end, at most this long."""
        self.process.join(seconds)

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()

    def last_words(self) -> str:
        """Return nothing: the process prints its errors."""
        return ""


def _run(order: str, driver: int, asked: Callable[[], bool]) -> None:
    sys.exit(worker.run(order, lambda: asked() or os.getppid() != driver, Table()))


def study(url: str, folder: Path, **changes: Any) -> Config:
    """Make a study of a large space with rungs at 1, 3 and 9 epochs, unless it exists."""
    synthetic = config(str(folder / STUDY))
    recipe = replace(synthetic.recipe, epochs=EPOCHS, ladder=())
    options = {"sampler": "random", "pruner": "successive_halving", "showcase": False}
    made = replace(synthetic, recipe=recipe, **(options | changes))
    store = Store.open(url)
    store.create_study(STUDY, made.to_json(), recipes={recipe.hash: recipe.to_json()})
    store.close()
    return made


def drive(url: str, config: Config, trials: int, workers: int) -> None:
    """Run the study's workers to the end as a driver does; exit with status 130 on an interrupt."""
    with suppress(AttributeError):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    order = WorkOrder(url, STUDY, worker="", trials=trials)
    driver = Driver(order, config, Forked(workers), 1.0, lambda _: None)
    sys.exit(0 if driver.run() else 130)


def start(url: str, config: Config, trials: int, workers: int) -> Any:
    """Start a driver in a process of its own."""
    process = SERVER.Process(target=drive, args=(url, config, trials, workers))
    process.start()
    return process


def start_worker(url: str, name: str, *, trials: int, lease: float) -> Any:
    """Start a worker without a driver in a process of its own."""
    order = WorkOrder(url, STUDY, worker=name, trials=trials, lease=lease).to_json()
    process = SERVER.Process(target=_alone, args=(order,))
    process.start()
    return process


def _alone(order: str) -> None:
    sys.exit(worker.run(order, lambda: False, Table()))
