"""What is asked of a store while a search goes on, timed at 100,000 trials, 1,000,000 curve points.

    python -m benchmarks.scale [--trials 100000] [--repeats 9] [--server URL] [--only sqlite]
                              [--store URL]

A synthetic study is loaded (see `load.py`) into a fresh SQLite file and a fresh PostgreSQL
database, and then, in one warm process: `nas status`, `nas top`, the driver's snapshot, each step
of a worker, a proposal of the nas sampler. Medians and worst, in milliseconds. `--store` names a
store that was loaded before. Writes benchmarks/results/scale.json; ends with
status 1 where a limit is not kept.
"""

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from benchmarks.overhead import machine
from benchmarks.scale.load import (
    EPOCHS,
    SERVER,
    Network,
    config,
    database,
    load,
    networks,
    proposal,
)
from nas import pruners
from nas.commands import studies as commands
from nas.executors.in_process import InProcess
from nas.store import queries
from nas.store.records import CurvePoint, Lease
from nas.store.store import Store
from nas.study.driver import Driver
from nas.study.evaluator import Training
from nas.study.worker import WorkOrder, assemble

RESULT = Path(__file__).parents[1] / "results" / "scale.json"
STUDY = "scale"
LIMITS = {"proposal": 500.0, "promotion": 500.0}  # milliseconds; all others:
LIMIT = 200.0
DEAD_SLOW = 4_000.0  # milliseconds from which fewer repeats are enough


class Bench:
    """One loaded store, as a worker and as somebody who watches see it."""

    def __init__(self, url: str, folder: str) -> None:
        self.url, self.repeats = url, 9
        self.store = Store.open(url)
        self.order = WorkOrder(store=url, study=STUDY, worker="bench:1:1", trials=10_000_000)
        self.worker = assemble(self.order, self.store)
        self.asker = self.worker.asker
        self.driver = Driver(self.order, config(folder), InProcess(), 60.0, lambda _: None)
        self.fresh = networks(random.Random("measured"))
        self.leases: list[Lease] = []
        self.times: dict[str, list[float]] = {}
        self.processor = 0.0  # seconds of a proposal

    def time(self, name: str, act: Callable[[], object], repeats: int) -> None:
        """Call once to warm up, then several times."""
        act()
        for _ in range(repeats):
            began = time.perf_counter()
            act()
            took = 1e3 * (time.perf_counter() - began)
            self.times.setdefault(name, []).append(took)
            if took > DEAD_SLOW:
                break
        print(f"  {name:22} {statistics.median(self.times[name]):9.1f} ms", flush=True)

    def watching(self, repeats: int) -> None:
        """Time what people and drivers ask."""
        self.time("nas status", lambda: commands.status(STUDY, store=self.url), repeats)
        self.time("nas top", lambda: commands.top(STUDY, store=self.url), repeats)
        self.time("snapshot", lambda: self.driver.read(time.monotonic()), repeats)
        with queries.connect(self.url) as connection:
            key = self.worker.trials.info.id
            for query in (
                queries.counts, queries.fidelities, queries.running, queries.best,
                queries.failures, queries.epoch_seconds,
            ):  # fmt: skip
                self.time(f"query {query.__name__}", partial(query, connection, key), repeats)

    def working(self, repeats: int) -> None:
        """Time each step of a worker."""
        trials = self.worker.trials
        self.time("adopt", trials.adopt, repeats)
        key = trials.info.id
        number = partial(trials.read, queries.number_within, key, self.order.trials)
        self.time("next number", number, repeats)
        self.time("start", lambda: self.start(next(self.fresh)), repeats)
        metrics = {"accuracy": 0.5, "balanced_accuracy": 0.5, "loss": 1.0, "predicted_classes": 10}
        leases = iter(self.leases)
        point = CurvePoint(epoch=1, metrics=metrics, seconds=3.0)
        self.time("report", lambda: trials.report(next(leases), point), repeats)
        leases = iter(self.leases)
        self.time("finish", lambda: trials.finish(next(leases), "failed", reason="x"), repeats)
        self.time("promotion", lambda: self.promotion(), repeats)
        self.time("others run", self.asker.others_run, repeats)
        training = self.worker.evaluator
        assert isinstance(training, Training)
        self.time("drop weights", training.drop_weights, repeats)

    def start(self, one: Network) -> None:
        """Start a network that nobody has."""
        asked = proposal(one, self.worker.config, self.asker.schedule.rungs[0])
        lease = self.worker.trials.start(asked, budget=self.order.trials).lease
        if lease is None:
            raise SystemExit("A network that nobody has could not be started.")
        self.leases.append(lease)

    def promotion(self) -> object:
        """Ask who goes on."""
        return self.asker.schedule.promotion(self.asker.rung_trials())

    def proposing(self, repeats: int) -> tuple[float, float]:
        """Time a proposal; return the seconds of the first, which reads all, wall and processor."""
        numbers = iter(range(1_000))
        began, worked = time.perf_counter(), time.process_time()
        self.asker.proposer.propose(next(numbers))
        first = time.perf_counter() - began, time.process_time() - worked
        worked = time.process_time()
        self.time("proposal", lambda: self.asker.proposer.propose(next(numbers)), repeats)
        self.processor = (time.process_time() - worked) / (repeats + 1)
        known = self.asker.proposer.known
        self.time("is it known", lambda: known()["no", "thing"], repeats)
        return first

    def pruning(self, repeats: int) -> None:
        """Time what the median pruner asks after an epoch."""
        pruner = pruners.get("median").make(EPOCHS, lambda _: 1.0)
        study = self.worker.trials.optuna_study(pruner=pruner)
        self.start(next(self.fresh))
        lease = self.leases[-1]
        point = CurvePoint(epoch=20, metrics={"accuracy": 0.5}, seconds=3.0)
        self.worker.trials.report(lease, point)
        self.time("prune", lambda: self.worker.trials.should_prune(lease, study), repeats)


def measure(url: str, loaded: dict[str, Any], repeats: int, folder: str) -> dict[str, Any]:
    """Time everything on a loaded store; return what came of it."""
    print(url.split(":")[0], loaded, flush=True)
    bench = Bench(url, folder)
    bench.watching(repeats)
    bench.working(repeats)
    first = bench.proposing(repeats)
    bench.pruning(repeats)
    bench.store.close()
    summary = {
        name: {"median_ms": round(statistics.median(each), 2), "worst_ms": round(max(each), 2)}
        for name, each in bench.times.items()
    }
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        **loaded,
        "first_proposal_seconds": round(first[0], 1),
        "first_proposal_processor_seconds": round(first[1], 1),
        "proposal_processor_ms": round(1e3 * bench.processor, 1),
        "memory_mib": memory,
        "times": summary,
        "machine": machine(),
    }


def _loaded(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Load a fresh store, or take the one that is given, and measure it."""
    given = [url for url in options.store if url.startswith(kind)]
    with tempfile.TemporaryDirectory() as folder:
        if given:
            return measure(given[0], {"store": "loaded before"}, options.repeats, folder)
        with database(kind, options.server) as url:
            store = Store.open(url)
            loaded = load(store, STUDY, options.trials, folder)
            store.close()
            return measure(url, loaded, options.repeats, folder)


def main() -> None:
    """Load, time, print, write the result and hold it to the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--server", default=SERVER, help="a PostgreSQL server, without a database")
    parser.add_argument("--store", action="append", default=[], help="a store that is loaded")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = (options.only,) if options.only else ("sqlite", "postgresql")
    found = {kind: _loaded(kind, options) for kind in kinds}
    if options.trials == parser.get_default("trials"):
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        result = {**kept, "trials": options.trials, **found}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    slow = [
        f"{kind}: {name} takes {times['median_ms']:.0f} ms"
        for kind, each in found.items()
        for name, times in each["times"].items()
        if times["median_ms"] > LIMITS.get(name, LIMIT)
    ]
    if slow:
        raise SystemExit("\n".join(["Over the limit:", *slow]))


if __name__ == "__main__":
    main()
