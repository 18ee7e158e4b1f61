"""How far latency tables of mixconv are off, for each back end, on 50 networks held out.

    python -m benchmarks.latency [--seconds 300] [--seed 0] [--backend NAME ...] [--networks 150]

For each place and back end: a table learnt from two thirds of the networks; the last third, from
which nothing is learnt, is predicted and measured. One thread, so the median of processor time.
Writes benchmarks/results/latency.json with the machine's load; tables of other back ends stay
there. Ends with status 1 where onnxruntime's rank correlation is below .95.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.latency import backends, learn
from nas.latency.setting import setting
from nas.objective import objective
from nas.search_space import load
from nas.search_space.preflight import Subject

RESULT = Path(__file__).parent / "results" / "latency.json"
WANTED = 0.95
COMPARED = ("onnxruntime", "torch", "openvino")


@dataclass(frozen=True)
class Place:
    """Where in mixconv a table is made; no resolution: all of them, no target: anywhere."""

    resolution: int | None
    target_flops: int | None
    classes: int
    batch_size: int = 1


PLACES = (Place(32, 5_000_000, 10), Place(None, None, 1000))


def main() -> None:
    """Make the tables, print and write what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=150)
    parser.add_argument("--place", type=int, action="append", choices=range(len(PLACES)))
    parser.add_argument("--backend", action="append", choices=backends.names())
    asked = parser.parse_args()
    tables = json.loads(RESULT.read_text())["tables"] if RESULT.exists() else []
    for number in asked.place or range(len(PLACES)):
        for name in asked.backend or COMPARED:
            made = _one(PLACES[number], name, asked.seconds, asked.seed, asked.networks)
            tables = [each for each in tables if _key(each) != _key(made)] + [made]
            RESULT.write_text(json.dumps({"space": "mixconv", "tables": tables}, indent=1) + "\n")
    ranks = [each["rank_correlation"] for each in tables if _key(each)[-1] == "onnxruntime"]
    if min(ranks, default=1.0) < WANTED:
        raise SystemExit(f"A rank correlation of onnxruntime is below {WANTED}.")


def _key(table: dict[str, Any]) -> tuple[Any, ...]:
    place = (table[name] for name in ("resolution", "target_flops", "classes", "batch_size"))
    return (*place, table["setting"].get("backend", backends.EAGER))


def _one(place: Place, name: str, seconds: float, seed: int, networks: int) -> dict[str, Any]:
    space = load("mixconv")
    space = space if place.resolution is None else space.at_resolution(place.resolution)
    goal = None if place.target_flops is None else objective(place.target_flops)
    how = setting(place.batch_size, backend=name)
    subject = Subject(space, 3, place.classes)
    table = learn.make(
        subject, how, goal=goal, seconds=seconds, seed=seed, networks=networks, say=print
    )
    print(f"{place}, {name}: {table.seconds:.0f} s; {table.error.describe()}", flush=True)
    return {
        **asdict(place),
        "seconds": table.seconds,
        **vars(table.error),
        "setting": vars(how),
        "load_average": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
