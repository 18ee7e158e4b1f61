"""A worker whose trials train nothing: what `benchmarks.ray_overhead` starts on executors.

It is started as `nas.study.worker` is: with an order of JSON, on Ray by `run`, elsewhere on
standard input.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.overhead import Ours
from nas import samplers
from nas.store.store import Store

LOG_FORMAT = "%(message)s"


def run(text: str, should_stop: Callable[[], bool]) -> str | None:
    """Be a worker: run trials without a training, and note when the first began, the last ended."""
    job = json.loads(text)
    store = Store.open(job["store"])
    try:
        ours = Ours(store, "random", worker=f"w{job['seed']}")
        ours.sampler = samplers.get("random", seed=job["seed"])
        begun = time.time()
        for _ in range(job["trials"]):
            if should_stop():
                return "stopped"
            ours.one({})
        Path(job["out"]).write_text(json.dumps([begun, time.time()]))
    finally:
        store.close()
    return None


if __name__ == "__main__":
    sys.exit(run(sys.stdin.read(), lambda: False))
