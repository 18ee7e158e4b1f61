"""The processor time that the service takes for a read, and for those who watch a search.

    python -m benchmarks.service_reads [--trials 300] [--reads 40] [--kinds sqlite,postgresql]

The application runs in this process on a synthetic study (`benchmarks.scale.load`), as a search
that runs; nothing goes over a network. For each route the mean milliseconds of processor time; for
50 watchers those of each second. Prints one JSON object, and writes it where --out says.
"""

import argparse
import asyncio
import json
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.overhead import machine
from benchmarks.scale.load import SERVER, database, load
from benchmarks.service_load import READS
from nas.service.api.access import Rate
from nas.service.api.app import Serving, application
from nas.service.api.service import Service
from nas.store import searches, tokens
from nas.store.searches import Wanted
from nas.store.store import Store

WATCHERS, WATCHED, BEGUN = 50, 10.0, 3.0  # clients; seconds that count, and before them
ROOT = "/api/v1/searches"


def submitted(store: Store) -> tuple[str, str]:
    """Put a search into the queue and take it; return its id and a token's text."""
    with store.write() as connection:
        token, text = tokens.create(connection, "reads", ["read", "submit"])
        search, _ = searches.add(connection, token, Wanted("synthetic", {}, {}))
        searches.take(connection, "nobody:1", 86400.0)
    return search.id, text


async def of_reads(app: Any, search: str, text: str, count: int) -> dict[str, float]:
    """Return the mean milliseconds of processor time of each route's reads."""
    headers, taken = {"Authorization": f"Bearer {text}"}, {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers=headers
    ) as client:
        for path in READS:
            (await client.get(f"{ROOT}/{search}{path}")).raise_for_status()
            began = time.process_time()
            for _ in range(count):
                await client.get(f"{ROOT}/{search}{path}")
            taken[path or "/"] = round(1000 * (time.process_time() - began) / count, 2)
    return taken


async def of_watchers(app: Any, search: str, text: str) -> float:
    """Return the milliseconds of processor time that all watchers take in a second."""
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": f"{ROOT}/{search}/events", "raw_path": b"", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {text}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Take an event."""

    watching = [asyncio.create_task(app({**scope}, receive, send)) for _ in range(WATCHERS)]
    await asyncio.sleep(BEGUN)
    began = time.process_time()
    await asyncio.sleep(WATCHED)
    taken = time.process_time() - began
    over.set()
    await asyncio.gather(*watching, return_exceptions=True)
    return round(1000 * taken / WATCHED, 1)


def measure(url: str, folder: Path, trials: int, reads: int) -> dict[str, Any]:
    """Measure the routes and the watchers on a synthetic search of a store."""
    with closing(Store.open(url)) as store:
        search, text = submitted(store)
        load(store, search, trials, str(folder))
        how = Serving(rate=Rate(1e6, 1e6))
        app = application(Service(store, url, folder / "service"), how)
        return {
            "read_ms": asyncio.run(of_reads(app, search, text, reads)),
            "watchers_ms_per_second": asyncio.run(of_watchers(app, search, text)),
        }


def main() -> None:
    """Measure on each kind of store and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--reads", type=int, default=40)
    parser.add_argument("--kinds", default="sqlite,postgresql")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {"trials": asked.trials, "watchers": WATCHERS}
    for kind in asked.kinds.split(","):
        with TemporaryDirectory() as folder, database(kind, SERVER) as url:
            result[kind] = measure(url, Path(folder), asked.trials, asked.reads)
    result["machine"] = machine()
    print(json.dumps(result))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
