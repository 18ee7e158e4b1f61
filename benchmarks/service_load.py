"""The service under load: clients that watch a search, and requests at a steady rate beside them.

    NAS_TOKEN=... python -m benchmarks.service_load http://127.0.0.1:8080 SEARCH --seconds 60

The reads are those of a page that shows a search. Prints one JSON object: latencies in
milliseconds, the answers by status, the events that the watchers received.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter
from typing import Any

import httpx

READS = ("", "/progress", "/trials?limit=20", "/top", "/trials/0", "/winner")


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


async def read(client: httpx.AsyncClient, url: str, taken: list[float], seen: Counter[str]) -> None:
    """Read once, and note how long it took."""
    began = time.perf_counter()
    try:
        seen[str((await client.get(url)).status_code)] += 1
    except httpx.TransportError as error:
        seen[type(error).__name__] += 1
    taken.append(1000 * (time.perf_counter() - began))


async def load(path: str, token: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Watch and read for some seconds; return what was measured."""
    taken: list[float] = []
    seen: Counter[str] = Counter()
    events: Counter[str] = Counter()
    draw = random.Random(0)
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
        watchers = [asyncio.create_task(watch(client, path, events)) for _ in range(asked.watchers)]
        await asyncio.sleep(2)
        reads = []
        began = time.perf_counter()
        for number in range(round(asked.rate * asked.seconds)):
            await asyncio.sleep(max(0.0, began + number / asked.rate - time.perf_counter()))
            url = path + draw.choice(READS)
            reads.append(asyncio.create_task(read(client, url, taken, seen)))
        await asyncio.gather(*reads)
        seconds = time.perf_counter() - began
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    cuts = statistics.quantiles(taken, n=100)
    return {
        "watchers": asked.watchers, "reads": len(taken), "seconds": round(seconds, 1),
        "p50_ms": round(cuts[49], 1), "p95_ms": round(cuts[94], 1), "p99_ms": round(cuts[98], 1),
        "largest_ms": round(max(taken), 1), "answers": dict(seen),
        "events": {name: count for name, count in events.items() if count},
    }  # fmt: skip


def main() -> None:
    """Read the command line, load the server, print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("search")
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--rate", type=float, default=20.0, help="reads a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    path = f"{asked.server}/api/v1/searches/{asked.search}"
    print(json.dumps(asyncio.run(load(path, os.environ["NAS_TOKEN"], asked))))


if __name__ == "__main__":
    main()
