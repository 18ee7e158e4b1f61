"""What a trial costs on Ray beside bare Ray tasks that do nothing, in one run.

    python -m benchmarks.ray_overhead [--trials 300] [--workers 2] [--rounds 3]

Starts a Ray head in a network namespace of its own (`tests/ray_kit.py`). In each round, in turn:
bare Ray tasks that return at once; trials without a training (propose, decode, cost, start, one
report, finish: `benchmarks.overhead`) by workers that the Ray executor starts; the same by workers
that the local executor starts. Both start `benchmarks.empty_trials` in place of the real worker.
Writes benchmarks/results/ray_overhead.json.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.overhead import SPACE, machine
from nas import executors
from nas.executors import Executor, Work
from nas.store.store import Store

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "ray_overhead.json"


def measure(executor: Executor, trials: int, seed: int) -> dict[str, float]:
    """Run a store's worth of trials on an executor; seconds to the first trial, ms of each."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/nas.db"
        store = Store.open(url)
        store.create_study("ours-random", {"space": SPACE.to_json()}, recipes={"random": {}})
        store.close()
        asked, handles, outs = time.time(), [], []
        for number in range(executor.workers):
            outs.append(Path(folder, f"{number}.json"))
            job = {"store": url, "trials": trials, "seed": seed + number, "out": str(outs[-1])}
            log = str(Path(folder, "logs", f"worker{number}.log"))
            work = Work("benchmarks.empty_trials", json.dumps(job), log, 1)
            handles.append(executor.start(work))
        while None in [handle.poll() for handle in handles]:
            time.sleep(0.05)
        died = [handle.last_words() for handle in handles if handle.poll()]
        if died:
            raise RuntimeError(died[0])
        ends = [json.loads(out.read_text()) for out in outs]
    first, last = min(end[0] for end in ends), max(end[1] for end in ends)
    each = statistics.mean((end[1] - end[0]) / trials * 1e3 for end in ends)
    return {
        "start_s": round(first - asked, 3),
        "trial_ms": round(each, 3),
        "per_second": round(trials * len(ends) / (last - first), 2),
    }


def bare(address: str, tasks: int) -> dict[str, float]:
    """Run tasks that do nothing on a connection of their own; ms of each."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    nothing = ray.remote(num_cpus=1)(_nothing)
    ray.get([nothing.remote() for _ in range(10)])  # the processes are there
    begun = time.time()
    ray.get([nothing.remote() for _ in range(tasks)])
    seconds = time.time() - begun
    begun = time.time()
    for _ in range(tasks):
        ray.get(nothing.remote())
    alone = time.time() - begun
    ray.shutdown()
    return {
        "together_ms": round(seconds / tasks * 1e3, 3),
        "one_by_one_ms": round(alone / tasks * 1e3, 3),
    }


def _nothing() -> None:
    return


def inside(address: str, options: argparse.Namespace) -> None:
    """Measure on a cluster that is there, and print the result as JSON."""
    found: dict[str, list[dict[str, float]]] = {"bare_tasks": [], "ray": [], "local": []}
    on_ray = executors.Request(address=address, max_concurrent=options.workers)
    cluster = executors.get("ray", on_ray)
    local = executors.get("local", executors.Request(workers=options.workers))
    for turn in range(options.rounds):
        seed = 1000 * turn
        found["bare_tasks"].append(bare(address, options.trials))
        found["ray"].append(measure(cluster, options.trials, seed))
        found["local"].append(measure(local, options.trials, seed))
    cluster.close()
    print(json.dumps(found))


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return each number's median over the rounds."""
    return {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}


def main() -> None:
    """Start a cluster, measure in it, print and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300, help="of each worker")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options)
        return
    import ray

    from tests import ray_kit

    os.environ["PYTHONPATH"] = str(ROOT)  # workers start outside of this folder
    words = [f"--{name}={getattr(options, name)}" for name in ("trials", "workers", "rounds")]
    with ray_kit.cluster() as cluster:
        cluster.start_head(cpus=options.workers)
        here = (sys.executable, "-m", "benchmarks.ray_overhead", "--inside", cluster.address)
        ended = cluster.run(*here, *words, timeout=1800)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    rounds = json.loads(ended.stdout.splitlines()[-1])
    found = {name: medians(each) for name, each in rounds.items()}
    result = {
        "what": "trials without a training, SQLite, random sampler; medians over the rounds",
        "workers": options.workers,
        "trials_of_each_worker": options.trials,
        "rounds": options.rounds,
        **found,
        "ray_minus_local_ms_per_trial": round(
            found["ray"]["trial_ms"] - found["local"]["trial_ms"], 3
        ),
        "all_rounds": rounds,
        "machine": machine() | {"ray": ray.__version__},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
