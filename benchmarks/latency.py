"""How long a latency table of mixconv takes to make here, and how far its predictions are off.

    python -m benchmarks.latency [--seconds 90] [--seed 0]

For each place below: a table, its time, and its error on networks that nothing was learnt from.
Writes benchmarks/results/latency.json, with the machine's load while it was made; ends with status
1 where a table takes two minutes or more.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.latency import learn
from nas.latency.measure import setting
from nas.objective import objective
from nas.search_space import load
from nas.search_space.preflight import Subject

RESULT = Path(__file__).parent / "results" / "latency.json"
BUDGET = 120  # seconds


@dataclass(frozen=True)
class Place:
    """Where in mixconv a table is made; no resolution: all of them, no target: anywhere."""

    resolution: int | None
    target_flops: int | None
    classes: int
    batch_size: int = 1


PLACES = (
    Place(32, 5_000_000, 10),
    Place(224, 300_000_000, 1000),
    Place(None, None, 1000),
    Place(32, 5_000_000, 10, batch_size=32),
)


def main() -> None:
    """Make the tables, print and write what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = [_one(place, options.seconds, options.seed) for place in PLACES]
    RESULT.write_text(json.dumps({"space": "mixconv", "tables": found}, indent=1) + "\n")
    if max(one["seconds"] for one in found) >= BUDGET:
        raise SystemExit(f"A table took {BUDGET} seconds or more.")


def _one(place: Place, seconds: float, seed: int) -> dict[str, Any]:
    space = load("mixconv")
    space = space if place.resolution is None else space.at_resolution(place.resolution)
    goal = None if place.target_flops is None else objective(place.target_flops)
    how = setting(place.batch_size)
    table = learn.make(Subject(space, 3, place.classes), how, goal=goal, seconds=seconds, seed=seed)
    print(f"{place}: {table.seconds:.0f} s; {table.error.describe()}", flush=True)
    return {
        **asdict(place),
        "seconds": table.seconds,
        **vars(table.error),
        "setting": how.to_json(),
        "load_average": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
