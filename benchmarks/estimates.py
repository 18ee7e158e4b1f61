"""Whether the pre-flight's estimate of a search's time holds: on three loads, beside what it took.

    python -m benchmarks.estimates [--rounds 2]

Each load is a search of `mixconv` on the digits, without pruner and finalists, in a process that
may use so many processors, with so many workers: one on one, two on two, three on one. Short trials
(2 epochs of a fixed recipe) and longer ones (10). The pre-flight says "about X or less"; the time
that it took begins when the workers are started and ends with their last trial.

Writes benchmarks/results/estimates.json; status 1 where an estimate is off by more than a factor of
two.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

RESULT = Path(__file__).parent / "results" / "estimates.json"
WITHIN = 2.0


class Load(NamedTuple):
    """So many processors and workers, trials and epochs."""

    processors: int
    workers: int
    trials: int
    epochs: int


LOADS = [
    Load(processors, workers, trials, epochs)
    for processors, workers, trials in ((1, 1, 2), (2, 2, 4), (1, 3, 3))
    for epochs in (2, 10)
]


def main() -> None:
    """Run each load, in turns; with --one, be the process of one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", type=int, help="the number of a load")
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(searched(LOADS[asked.one])))
        return
    rows = []
    for _ in range(asked.rounds):
        for number, load in enumerate(LOADS):
            words = [sys.executable, "-m", __spec__.name, "--one", str(number)]
            ended = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
            rows.append(load._asdict() | json.loads(ended.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    if any(not 1 / WITHIN <= row["expected"] / row["took"] <= WITHIN for row in rows):
        raise SystemExit(f"An estimate is off by more than a factor of {WITHIN:g}.")


def searched(load: Load) -> dict[str, Any]:
    """Search; return the seconds that were expected and that it took, and the machine's load."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: load.processors])
    from nas.commands.search import run
    from nas.study import options
    from nas.study.preparation import open_study, prepare

    with tempfile.TemporaryDirectory() as folder:
        given = {"space": "mixconv", "data": "digits", "target_flops": "500k", "finalists": 0}
        given |= {"workers": load.workers, "trials": load.trials, "epochs": load.epochs}
        given |= {"pruner": "none", "out": folder, "store": f"sqlite:///{folder}/nas.db"}
        asked = options.read(given)
        with closing(asked.new_executor()) as executor:
            prepared = prepare(asked, executor=executor)
            store, began = open_study(prepared), time.monotonic()
            run(prepared, store, lambda _: None, hand_over=False)
            took = time.monotonic() - began
    return {"expected": prepared.expected, "took": took, "load_average": os.getloadavg()[0]}


if __name__ == "__main__":
    main()
