"""`nas store check` on sound stores: it must find nothing, and end soon on a large one.

    python -m benchmarks.sound_stores [--stores 50] [--trials 100000] [--seed 0]

Each small store is that of a study by a table (`tests/table_kit.py`) whose driver and workers are
killed at a random time and begun again, or left as the kill left them; every other study has a
ladder of rungs. The large one is the bulk loader's. Writes results/sound_stores.json; ends with
status 1 where the check finds something.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.scale.load import load
from nas.store import checking
from nas.store.store import Store
from nas.study.contents import compare
from tests import table_kit

RESULT = Path(__file__).parent / "results" / "sound_stores.json"
LONGEST = 3.0  # seconds until a kill
TRIALS = 8


def small(folder: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Make a store whose study was killed; return what was done, and what the check finds."""
    url = f"sqlite:///{folder}/nas.db"
    changes = rng.choice([{}, {"pruner": "none"}])
    config = table_kit.study(url, folder, **changes)
    for _ in range(kills := rng.randrange(3)):
        process = table_kit.start(url, config, TRIALS, 2)
        process.join(rng.uniform(0.2, LONGEST))
        if process.is_alive():
            os.kill(process.pid, rng.choice([signal.SIGKILL, signal.SIGINT]))
        process.join(60)
    ended = kills == 0 or rng.random() < 0.5
    if ended:
        process = table_kit.start(url, config, TRIALS, 2)
        process.join(120)
    return f"{kills} kills, {'ended' if ended else 'left'}", wrong(url)


def wrong(url: str) -> list[str]:
    """Return the faults that the check finds; traces of ordinary work are none."""
    health = checking.check(url, compare)
    return [finding.what for finding in health.findings if finding.wrong]


def large(folder: Path, trials: int) -> dict[str, Any]:
    """Check a store of many trials."""
    url = f"sqlite:///{folder}/nas.db"
    store = Store.open(url)
    load(store, "large", trials, str(folder))
    store.close()
    began = time.perf_counter()
    found = wrong(url)
    return {"trials": trials, "seconds": round(time.perf_counter() - began, 1), "findings": found}


def main() -> None:
    """Check all stores and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=int, default=50)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, made, findings = random.Random(options.seed), Counter[str](), []
    for n in range(options.stores):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            done, found = small(Path(folder), rng)
        made[done] += 1
        findings += found
        print(f"{n + 1} of {options.stores}: {done}: {found or 'sound'}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        whole = large(Path(folder), options.trials)
    result = {"seed": options.seed, "stores": made, "findings": findings, "large": whole}
    RESULT.write_text(f"{json.dumps(result, indent=1)}\n")
    print(json.dumps(result))
    if findings or whole["findings"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
