"""The service under load beside a running search: does it answer in time, does the search lose?

    python -m benchmarks.service_load [--seconds 60] [--watchers 50] [--rate 20] [--store URL]

Starts `nas serve` with a worker on an empty store, runs a small search to its end, and begins one
of a single long training. Then, for `--seconds` each: the training alone; the training while
clients watch it and read at a steady rate what a search's page reads; the training alone once more.
The search's loss is by the mean seconds of its epochs. Prints one JSON object and writes it to
benchmarks/results/service_load.json; ends with status 1 where the 99th percentile of the reads is
above 300 ms or the search loses more than 5 %. The machine's cores are to be idle: two are enough,

    taskset -c 0,1 python -m benchmarks.service_load

and on busy ones `server_cpu_ms_per_read`, the server's processor time, can be compared too.

    NAS_TOKEN=... python -m benchmarks.service_load http://127.0.0.1:8080 SEARCH

loads a server that runs, with reads of one of its searches, and checks nothing.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.overhead import machine
from nas.errors import NotFound
from nas.service.client import ROOT, Client, read

RESULT = Path(__file__).parent / "results" / "service_load.json"
READS = ("", "/progress", "/trials?limit=20", "/top", "/trials/0", "/winner")  # of a search's page
WHILE_IT_RUNS = ("", "/progress", "/trials?limit=20")  # what there is before a trial is complete
P99, LOSS = 300.0, 0.05  # milliseconds, and the share of its pace that the search may lose
SMALL: dict[str, Any] = {"data": "digits", "target_flops": "2M", "finalists": 0, "folds": 1}
WAITED = 900.0  # seconds for a search on a busy machine
FIRST = 3  # epochs before the clock starts


@dataclass
class Seen:
    """What was measured: milliseconds of each read, the answers by status, events by kind."""

    taken: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return the percentiles and the counts."""
        cuts = statistics.quantiles(self.taken, n=100)
        return {
            "reads": len(self.taken),
            **{f"p{part}_ms": round(cuts[part - 1], 1) for part in (50, 95, 99)},
            "largest_ms": round(max(self.taken), 1), "answers": dict(self.answers),
            "events": {name: count for name, count in self.events.items() if count},
        }  # fmt: skip


async def watch(client: httpx.AsyncClient, path: str, events: Counter[str]) -> None:
    """Receive a search's events until cancelled, from the last one on after a lost connection."""
    last = ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            async with client.stream("GET", f"{path}/events", headers=headers) as answer:
                async for line in answer.aiter_lines():
                    name, _, value = line.partition(": ")
                    last = value if name == "id" else last
                    events[value] += name == "event"
                if answer.status_code == 204 or last.endswith("succeeded"):
                    return
        except httpx.TransportError:
            events["lost"] += 1
        await asyncio.sleep(1)


async def ask(client: httpx.AsyncClient, url: str, seen: Seen) -> None:
    """Read once, and note how long it took."""
    began = time.perf_counter()
    try:
        seen.answers[str((await client.get(url)).status_code)] += 1
    except httpx.TransportError as error:
        seen.answers[type(error).__name__] += 1
    seen.taken.append(1000 * (time.perf_counter() - began))


async def load(urls: list[str], watched: str, token: str, asked: argparse.Namespace) -> Seen:
    """Watch a search and read at a steady rate for some seconds; return what was measured."""
    seen, draw = Seen(), random.Random(0)
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
        watchers = [
            asyncio.create_task(watch(client, watched, seen.events)) for _ in range(asked.watchers)
        ]
        await asyncio.sleep(2)
        reads = []
        began = time.perf_counter()
        for number in range(round(asked.rate * asked.seconds)):
            await asyncio.sleep(max(0.0, began + number / asked.rate - time.perf_counter()))
            reads.append(asyncio.create_task(ask(client, draw.choice(urls), seen)))
        await asyncio.gather(*reads)
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    return seen


@dataclass
class Served:
    """A server of our own, a token for it, and its process."""

    client: Client
    token: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has taken, without its workers'."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def epochs(self, search: str) -> list[float]:
        """Return the seconds of each epoch that the search's first trial has trained."""
        curve = self.client.ask(read(f"/searches/{search}/trials/0/curve"))
        return [point["seconds"] for point in curve]

    def pace(self, search: str, during: Callable[[], Any]) -> dict[str, Any]:
        """Return how many epochs a search trains meanwhile, and their mean seconds."""
        before, began = len(self.epochs(search)), time.perf_counter()
        during()
        seconds, trained = time.perf_counter() - began, self.epochs(search)[before:]
        mean = statistics.fmean(trained) if trained else None
        return {"seconds": round(seconds, 1), "epochs": len(trained), "epoch_seconds": mean}


@contextmanager
def served(folder: Path, store: str, workers: int = 1) -> Iterator[Served]:
    """Run `nas serve` with workers on a store, in a folder."""
    nas = [sys.executable, "-m", "nas.cli"]
    environment = os.environ | {"NAS_STORE": store}
    made = subprocess.run(
        [*nas, "token", "create", "--name", "load", "--scopes", "read,submit",
         "--queued", "1000000", "--json"],
        env=environment, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    token = json.loads(made.stdout)["token"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*nas, "serve", "--port", "0", "--workers", str(workers)], env=environment, cwd=folder,
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with Client(address, token) as client:
            yield Served(client, token, process.pid)
    finally:
        process.terminate()
        process.wait(120)


def until(holds: Callable[[], Any]) -> Any:
    """Wait until something is there, and return it."""
    end = time.monotonic() + WAITED
    while not (found := holds()):
        if time.monotonic() > end:
            raise SystemExit("The search does not come on; see serve.log.")
        time.sleep(0.5)
    return found


def measure(server: Served, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure a search alone, under load, and alone again."""
    small = server.client.search(space="mixconv", trials=6, epochs=1, **SMALL)
    small.best()
    long = server.client.search(space="mixconv", trials=1, epochs=50_000, **SMALL)
    until(lambda: _epochs_or_none(server, long.id) and len(server.epochs(long.id)) >= FIRST)
    base = f"{server.client.url}{ROOT}/searches"
    urls = [f"{base}/{small.id}{path}" for path in READS]
    urls += [f"{base}/{long.id}{path}" for path in WHILE_IT_RUNS]
    seen, cpu = Seen(), 0.0

    def loaded() -> None:
        nonlocal seen, cpu
        cpu = -server.cpu_seconds()
        seen = asyncio.run(load(urls, f"{base}/{long.id}", server.token, asked))
        cpu += server.cpu_seconds()

    alone = [server.pace(long.id, lambda: time.sleep(asked.seconds))]
    under_load = server.pace(long.id, loaded)
    alone.append(server.pace(long.id, lambda: time.sleep(asked.seconds)))
    long.change("cancel")
    usual = statistics.fmean(each["epoch_seconds"] for each in alone)
    return {
        "watchers": asked.watchers, "rate": asked.rate, **seen.to_json(),
        "server_cpu_seconds": round(cpu, 2),
        "server_cpu_ms_per_read": round(1000 * cpu / len(seen.taken), 2),
        "alone": alone, "under_load": under_load,
        "search_loses": round(1 - usual / under_load["epoch_seconds"], 4),
    }  # fmt: skip


def _epochs_or_none(server: Served, search: str) -> list[float] | None:
    try:
        return server.epochs(search)
    except NotFound:  # no worker has begun it
        return None


def main() -> int:
    """Read the command line, load the server, print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?")
    parser.add_argument("search", nargs="?")
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--rate", type=float, default=20.0, help="reads a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--store", help="an empty store; a SQLite file if left out")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    if asked.server:
        path = f"{asked.server}{ROOT}/searches/{asked.search}"
        urls = [f"{path}{each}" for each in READS]
        seen = asyncio.run(load(urls, path, os.environ["NAS_TOKEN"], asked))
        print(json.dumps({"watchers": asked.watchers, "rate": asked.rate, **seen.to_json()}))
        return 0
    with TemporaryDirectory() as folder:
        store = asked.store or f"sqlite:///{folder}/nas.db"
        with served(Path(folder), store) as server:
            result = measure(server, asked)
    result["machine"] = machine()
    result["kept"] = result["p99_ms"] <= P99 and result["search_loses"] <= LOSS
    print(json.dumps(result))
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
