"""Trials per second of several workers on one study, beside plain Optuna on the same storage.

    python -m benchmarks.throughput [--trials 1000] [--plain 300] [--workers 2,4,8] [--server URL]

Nothing is trained: each process runs a worker's own loop (`nas.study.worker.Worker`: adopt, budget,
propose, decode, cost, start, finish) with the training left out, its observers (the dashboard's
notes and pictures among them) switched off. Plain Optuna is `study.ask()` with the same 20
categorical parameters and `study.tell()`, RDBStorage with its defaults, in as many processes. Both
draw at random, each in a fresh store of its own; the clock runs from the moment all processes are
ready. Every study is looked at afterwards: no number twice or missing, nothing running, no network
evaluated twice, the budget met exactly. Writes benchmarks/results/throughput.json; ends with
status 1 where a process failed, a study is wrong, or ours is under four times plain Optuna's.
"""

import argparse
import json
import multiprocessing
import random
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import sqlalchemy as sa

from benchmarks.overhead import machine
from benchmarks.scale.load import DISTRIBUTIONS, SERVER, config, database
from nas.architecture import Architecture
from nas.observers import Observers
from nas.store.store import Store
from nas.study.evaluator import Result, TrialControl
from nas.study.worker import Worker, WorkOrder, assemble

RESULT = Path(__file__).parent / "results" / "throughput.json"
STUDY = "throughput"
FACTOR = 4.0  # times plain Optuna's trials per second, at least
READY = 300.0  # seconds until all processes have begun


class Untrained:
    """An evaluator that leaves the training out: any network reaches some accuracy at once."""

    def get_ready(self) -> None:
        """Load nothing."""

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:  # noqa: ARG002
        """Return a random accuracy."""
        metrics = {"accuracy": random.random(), "balanced_accuracy": 0.5, "loss": 1.0}
        return Result(metrics=metrics, seconds=0.0)


def untrained(store: Store, worker: str, trials: int) -> Worker:
    """Return a worker that trains nothing and tells nobody."""
    order = WorkOrder(str(store.url), STUDY, worker=worker, trials=trials)
    return assemble(order, store, evaluator=Untrained(), observers=Observers(()))


def ours(url: str, index: int, trials: int, begin: Any, said: Any) -> None:
    """Be one worker process of ours."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    store = Store.open(url)
    worker = untrained(store, f"bench:{index}:1", trials)
    _timed(worker.run, begin, said)
    store.close()


def plain(url: str, index: int, trials: int, begin: Any, said: Any) -> None:
    """Be one process of plain Optuna, with an equal share of the trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=index)
    study = optuna.load_study(study_name=STUDY, storage=url, sampler=sampler)

    def run() -> None:
        for _ in range(trials):
            trial = study.ask()
            for name, distribution in DISTRIBUTIONS.items():
                trial.suggest_categorical(name, distribution.choices)
            study.tell(trial, random.random())

    _timed(run, begin, said)


def _timed(run: Any, begin: Any, said: Any) -> None:
    """Wait for the others, run, and say when it began and ended, or what went wrong."""
    begin.wait(READY)
    began = time.time()
    try:
        run()
        said.put((began, time.time(), ""))
    except BaseException as error:
        said.put((began, time.time(), f"{type(error).__name__}: {error}"))
        raise


def rate(target: Any, url: str, workers: int, each: int, trials: int) -> tuple[float, list[str]]:
    """Run so many processes; return trials per second, and what went wrong."""
    spawn = multiprocessing.get_context("spawn")
    begin, said = spawn.Barrier(workers), spawn.Queue()
    processes = [
        spawn.Process(target=target, args=(url, index, each, begin, said))
        for index in range(workers)
    ]
    for process in processes:
        process.start()
    told = [said.get(timeout=2 * READY) for _ in processes]
    for process in processes:
        process.join()
    seconds = max(end for _, end, _ in told) - min(start for start, _, _ in told)
    return trials / seconds, [error for *_, error in told if error]


def measure(kind: str, server: str, workers: int, trials: int, plain_trials: int) -> dict[str, Any]:
    """Measure both on one kind of storage with so many processes."""
    with database(kind, server) as url, TemporaryDirectory() as folder:
        store = Store.open(url)
        wanted = replace(config(folder), sampler="random", pruner="none")
        recipes = {wanted.recipe.hash: wanted.recipe.to_json()}
        store.create_study(STUDY, wanted.to_json(), recipes=recipes)
        mine, errors = rate(ours, url, workers, trials, trials)
        wrong = check(store, trials)
        store.close()
    with database(kind, server) as url:
        optuna.create_study(storage=url, study_name=STUDY, direction="maximize")
        share = plain_trials // workers
        theirs, failed = rate(plain, url, workers, share, share * workers)
    found = {
        "ours_per_second": round(mine, 1),
        "plain_per_second": round(theirs, 1),
        "factor": round(mine / theirs, 2),
        "errors": errors,
        "plain_errors": failed,
        "wrong": wrong,
    }
    print(kind, workers, "workers:", found, flush=True)
    return found


def check(store: Store, trials: int) -> list[str]:
    """Return what is wrong with a study that has ended; [] where nothing is."""
    asked = {
        "trials": ("SELECT count(*) FROM trials", None),
        "highest number": ("SELECT max(number) FROM trials", None),
        "numbers": ("SELECT count(DISTINCT number) FROM trials", None),
        "complete or reused": ("SELECT count(*) FROM trials WHERE state = 'COMPLETE'", None),
        "networks": (
            "SELECT count(DISTINCT architecture_id) FROM nas_evaluations WHERE state = 'complete'",
            trials,
        ),
        "evaluations": ("SELECT count(*) FROM nas_evaluations", trials),
        "trials that trained": (
            "SELECT count(*) FROM nas_trials WHERE reused_from IS NULL",
            trials,
        ),
        "linked trials": ("SELECT count(*) FROM nas_trials", None),
    }
    with store.read() as connection:
        found = {
            name: connection.execute(sa.text(statement)).scalar_one()
            for name, (statement, _) in asked.items()
        }
    wrong = [
        f"{name}: {found[name]}, not {wanted}"
        for name, (_, wanted) in asked.items()
        if wanted is not None and found[name] != wanted
    ]
    same = ("trials", "numbers", "complete or reused", "linked trials")
    if len({found[name] for name in same} | {found["highest number"] + 1}) != 1:
        wrong.append(f"these are not one number: {found}")
    return wrong


def main() -> None:
    """Measure, print, write the result and hold it to what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--plain", type=int, default=300, help="trials of plain Optuna")
    parser.add_argument("--workers", default="2,4,8")
    parser.add_argument("--server", default=SERVER, help="a PostgreSQL server, without a database")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[str, dict[str, dict[str, Any]]] = {"sqlite": {}, "postgresql": {}}
    for workers in map(int, options.workers.split(",")):
        for kind, rates in found.items():
            rates[str(workers)] = measure(
                kind, options.server, workers, options.trials, options.plain
            )
            result = {
                "trials": options.trials,
                "plain_trials": options.plain,
                "notes_and_pictures": "off",
                **found,
                "machine": machine(),
            }
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
    rows = [each for kind in found.values() for each in kind.values()]
    if any(row["errors"] or row["wrong"] or row["factor"] < FACTOR for row in rows):
        raise SystemExit(f"A process failed, a study is wrong, or ours is under {FACTOR} times.")


if __name__ == "__main__":
    main()
