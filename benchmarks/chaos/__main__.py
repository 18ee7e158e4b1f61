"""A search on Ray whose workers, driver, database and head are killed again and again.

    python -m benchmarks.chaos [--trials 75] [--minutes 15] [--seed 0] [--out FILE]

Four workers on a Ray head train short real trainings on the digits; the store is a PostgreSQL of
the run's own. Every 10 to 20 seconds a random worker is ended with SIGKILL; every 90 seconds the
driver or the database server, in turn, which then are started again; and twice the Ray head. It
goes on until the search has ended. Then the same search runs undisturbed, and the two are compared:
proposals follow from the seed and the trial's number alone, there is no pruner, and a worker has
one thread, so that the evaluations must be the same to the last bit. Writes
benchmarks/results/chaos.json; ends with status 1 where a promise is broken.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.store import queries
from tests import postgres_kit, ray_kit

RESULT = Path(__file__).parent.parent / "results" / "chaos.json"
WORKERS = 4
WORKER_EVERY = (10.0, 20.0)  # seconds
OTHERS_EVERY = 90.0
HEAD_AT = (1 / 3, 2 / 3)  # of the shortest duration
AWAY = (2.0, 6.0)  # seconds that the database is gone
PORT = 5433
DISTURBED, CALM = "disturbed", "calm"
LONGEST = 7200.0  # seconds, after which the run has failed


class Cluster:
    """A head, a database and a driver in one network of their own."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.ray = ray_kit.Cluster(folder)
        (folder / "pg").mkdir()
        self.database = postgres_kit.Server(folder / "pg", PORT, self.ray.within)
        self.driver: subprocess.Popen[bytes] | None = None
        self.log = (folder / "driver.log").open("ab")

    def start(self) -> None:
        """Start the database and the head."""
        self.folder.chmod(0o755)
        self.database.make()
        for study in (DISTURBED, CALM):  # a store of its own each, or the second reuses the first
            self.ask("--create", self.database.url, study)
        self.ray.start_head(cpus=WORKERS)

    def url(self, study: str) -> str:
        """Return the store of a study."""
        return f"{self.database.url.rpartition('/')[0]}/{study}"

    def start_driver(self, study: str) -> None:
        """Start the search, or go on with it: always the same command."""
        words = [
            *("search", "--space", "mixconv", "--data", "digits", "--target-flops", "2M"),
            "--no-finalists",
            *("--sampler", "random", "--pruner", "none", "--seed", str(self.options.seed)),
            *("--trials", str(self.options.trials), "--epochs", str(self.options.epochs)),
            *self.ray.words,
            *("--max-concurrent", str(WORKERS), "--store", self.url(study)),
            *("--out", str(self.folder / study), "--study", study),
        ]
        self.driver = subprocess.Popen(
            self.ray.within(sys.executable, "-m", "nas.cli", *words),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=self.ray.environ(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive"),
        )

    def workers(self) -> list[int]:
        """Return the workers' process ids."""
        return self.ray.head.workers() if self.ray.head is not None else []

    def read(self, study: str) -> dict[str, Any]:
        """Return all that the promises are about, of one study."""
        found: dict[str, Any] = self.ask("--read", self.url(study), study, str(self.folder / study))
        return found

    def ask(self, *words: str) -> Any:
        """Run this module in the network, where the database is, and return what it prints."""
        text = subprocess.run(
            self.ray.within(sys.executable, "-m", "benchmarks.chaos", *words),
            check=True,
            stdout=subprocess.PIPE,
            env=self.ray.environ(),
        ).stdout
        return json.loads(text)

    def close(self) -> None:
        """End everything."""
        if self.driver is not None and self.driver.poll() is None:
            self.driver.kill()
        self.ray.close()
        if (self.database.folder / "postmaster.pid").exists():
            self.database.kill()
        self.log.close()


@contextmanager
def clusters(options: argparse.Namespace) -> Iterator[Cluster]:
    """Yield a cluster in a short folder: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    cluster = Cluster(folder, options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


class Monkey:
    """Kills, and brings back what does not come back by itself."""

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self.cluster, self.options = cluster, options
        self.rng = random.Random(options.seed)
        self.killed: Counter[str] = Counter()
        self.restarts = 0  # of the driver, killed or ended by the loss of the head
        self.began = time.monotonic()
        self.next_worker = self._soon()
        self.next_other = OTHERS_EVERY
        self.heads = [share * options.minutes * 60 for share in HEAD_AT]

    @property
    def elapsed(self) -> float:
        """Seconds since the search began."""
        return time.monotonic() - self.began

    def _soon(self) -> float:
        return self.rng.uniform(*WORKER_EVERY)

    def run(self, study: str) -> None:
        """Disturb a search until it has ended well."""
        cluster = self.cluster
        cluster.start_driver(study)
        while cluster.driver is not None and cluster.driver.poll() != 0:
            if self.elapsed > LONGEST:
                raise SystemExit(f"The search did not end within {LONGEST:g} s.")
            if cluster.driver.poll() is not None:
                self.restarts += 1
                print(f"{self.elapsed:6.0f} s  driver again", flush=True)
                cluster.start_driver(study)
            self.strike()
            time.sleep(0.5)

    def strike(self) -> None:
        """Kill what is due."""
        if self.heads and self.elapsed > self.heads[0]:
            self.heads.pop(0)
            self.note("head")
            self.cluster.ray.stop()
            time.sleep(self.rng.uniform(*AWAY))
            self.cluster.ray.start_head(cpus=WORKERS)
        elif self.elapsed > self.next_other:
            self.next_other += OTHERS_EVERY
            self.strike_other()
        elif self.elapsed > self.next_worker:
            self.next_worker = self.elapsed + self._soon()
            workers = self.cluster.workers()
            if workers:
                self.note("worker")
                ray_kit.kill(self.rng.choice(workers))

    def strike_other(self) -> None:
        """Kill the database server and the driver in turn."""
        if self.killed["driver"] <= self.killed["database"]:
            self.note("driver")
            if self.cluster.driver is not None:
                self.cluster.driver.send_signal(signal.SIGKILL)
                self.cluster.driver.wait()
        else:
            self.note("database")
            self.cluster.database.kill()
            time.sleep(self.rng.uniform(*AWAY))
            self.cluster.database.control("start")

    def note(self, what: str) -> None:
        """Count and say what is killed."""
        self.killed[what] += 1
        print(f"{self.elapsed:6.0f} s  kill {what}", flush=True)


def create(server: str, name: str) -> str:
    """Create a database; return its name."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return name


def read(url: str, study: str, folder: str) -> dict[str, Any]:
    """Return all that the promises are about, of one study."""
    with queries.connect(url) as connection:
        info = queries.study(connection, study)
        trials = queries.trials(connection, info.id)
        best = queries.best(connection, info.id, 1)
        rows = {t.number: queries.evaluation(connection, t.evaluation_id) for t in trials}
        epochs = {
            t.number: [p.epoch for p in queries.curve(connection, t.evaluation_id)] for t in trials
        }
    events = [
        json.loads(line)
        for path in sorted(Path(folder).glob("*/logs/trial-*.jsonl"))
        for line in path.read_text().splitlines()
        if line.endswith("}")
    ]
    trained = Counter((e["trial"], e["epoch"]) for e in events if e["event"] == "epoch")
    return {
        "states": Counter(t.state for t in trials),
        "evaluations": Counter(one.state for one in rows.values()),
        "numbers": [t.number for t in trials],
        "distinct": len({t.architecture_id for t in trials}),
        "reused": sum(t.reused_from is not None for t in trials),
        "attempts": sum(t.attempt for t in trials),
        "curves": sorted({len(each) for each in epochs.values()}),
        "epochs_logged": sum(trained.values()),
        "epochs_logged_twice": sum(count > 1 for count in trained.values()),
        "found": {t.number: [t.architecture_id, dict(t.metrics), t.score] for t in trials},
        "winner": best[0].architecture_id if best else None,
    }


def broken(
    disturbed: dict[str, Any], calm: dict[str, Any], killed: Counter[str], options: Any
) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "every trial is complete, none is running or lost": disturbed["states"]
        == disturbed["evaluations"]
        == {"complete": options.trials},
        "trials are numbered without gap": disturbed["numbers"] == list(range(options.trials)),
        "every evaluation was completed once": disturbed["distinct"] == options.trials
        and disturbed["reused"] == 0,
        "every curve is whole": disturbed["curves"] == [options.epochs],
        "no epoch was trained again once it was stored": disturbed["epochs_logged_twice"] == 0,
        "the same evaluations as undisturbed": disturbed["found"] == calm["found"],
        "the same winner as undisturbed": disturbed["winner"] == calm["winner"],
        "everything was killed that was to be": all(
            killed[what] >= times
            for what, times in {"worker": 1, "driver": 1, "database": 1, "head": 2}.items()
        ),
    }
    return [promise for promise, kept in promises.items() if not kept]


def main() -> int:
    """Run the disturbed and the calm search, compare, write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos")
    parser.add_argument("--trials", type=int, default=75)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=15, help="when both heads were killed by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--create", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(*options.read)))
        return 0
    if options.create:
        print(json.dumps(create(*options.create)))
        return 0
    if ray_kit.why_not() or postgres_kit.INITDB is None:
        print(f"This needs Ray and PostgreSQL: {ray_kit.why_not() or 'no initdb'}.")
        return 2
    with clusters(options) as cluster:
        print(f"folder {cluster.folder}", flush=True)
        monkey = Monkey(cluster, options)
        monkey.run(DISTURBED)
        seconds = monkey.elapsed
        disturbed = cluster.read(DISTURBED)
        began = time.monotonic()
        cluster.start_driver(CALM)
        if cluster.driver is None or cluster.driver.wait() != 0:
            raise SystemExit("The undisturbed search failed.")
        calm_seconds = time.monotonic() - began
        calm = cluster.read(CALM)
    wrong = broken(disturbed, calm, monkey.killed, options)
    result = {
        "command": "python -m benchmarks.chaos " + " ".join(sys.argv[1:]),
        "date": datetime.now().date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "trials": options.trials,
        "epochs": options.epochs,
        "killed": dict(monkey.killed),
        "driver_started_again": monkey.restarts,
        "seconds": round(seconds),
        "seconds_undisturbed": round(calm_seconds),
        **{name: disturbed[name] for name in ("states", "attempts", "epochs_logged")},
        "winner": disturbed["winner"],
        "broken": wrong,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
