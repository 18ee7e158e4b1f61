"""What inheritance saves: searches of equal time, with and without it, on two data sets.

    python -m benchmarks.inheritance [--data NAME ...] [--seconds 600] [--part 1] [--seeds 5]

Each search is given the same time on the same workers, once with trials of the usual length, once
with trials of half the updates, from random weights and from those of the nearest relative. Where
time is short, `--part` shortens all trials alike, so that a search has enough of them. The truth is
the same for all: the best trial's network is trained in full from random weights, and looks at the
test split once. A row is written after each search; the same command goes on with those that are
missing. The table has means over the seeds with Student's 95 % interval, and of each the difference
from the usual search with the same seed.
"""

import argparse
import json
import shutil
import statistics
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import nas
from nas.data import load
from nas.files import write_json
from nas.report.intervals import interval
from nas.study.preparation import source_from_anywhere
from nas.training.recipes import compose

ARMS: dict[str, tuple[bool, float]] = {  # whether it inherits, and the part of the usual updates
    "random weights": (False, 1.0),
    "random weights, half as long": (False, 0.5),
    "inherited": (True, 1.0),
    "inherited, half as long": (True, 0.5),
}
DATA = ["digits", "../shared/data/retinamnist/retinamnist.npz"]
USUAL = "random weights"
NUMBERS = ("trials", "score", "validation", "test")
Row = dict[str, Any]


def searched(data: str, arm: str, seed: int, given: argparse.Namespace) -> Row:
    """Search for the given time, then train the best network in full."""
    folder = Path(given.folder, Path(data).name, arm.replace(", ", "-"), str(seed)).absolute()
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped: time counts anew
    folder.mkdir(parents=True)
    images, (inherits, part) = load(data), ARMS[arm]
    updates = given.updates or compose(images, words=["training.folds=1"]).epoch_updates
    quick = [f"training.epoch_updates={given.updates}"] if given.updates else []
    common: dict[str, Any] = {
        "data": source_from_anywhere(data), "store": f"sqlite:///{folder}/nas.db", "folds": 1,
        "workers": given.workers, "seed": seed, "showcase": False,
    }  # fmt: skip
    with chdir(folder):  # both make their studies here
        found = nas.search(
            given.space, target_flops=given.target_flops, time=given.seconds, inherit=inherits,
            set=[f"training.epoch_updates={max(1, round(part * given.part * updates))}"],
            no_finalists=True, warm_start=False, study="search", **common,
        )  # fmt: skip
        best = found.best.trial
        network = f"search:{best.number}"
        trained = nas.train(network, seeds=1, study="full", out="full", set=quick, **common)
    if trained.failure is not None:
        raise trained.failure
    metric = trained.study.best.metric
    return {
        "data": data, "arm": arm, "seed": seed, "seconds": given.seconds, "part": given.part,
        "trials": found.counts.complete, "score": best.score,
        "validation": trained.standing.validation[metric], "test": trained.study.best.test[metric],
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the means over the seeds, and differences from the usual search, as Markdown."""
    lines = [
        "| data | trials start from | seeds | trials | best score | validation | test | test, "
        "difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for setting in dict.fromkeys(map(_setting, rows)):
        alike = [row for row in rows if _setting(row) == setting]
        usual = {row["seed"]: row for row in alike if row["arm"] == USUAL}
        for arm in ARMS:
            mine = [row for row in alike if row["arm"] == arm]
            if not mine:
                continue
            means = [_words([row[name] for row in mine]) for name in NUMBERS]
            pairs = [
                row["test"] - usual[row["seed"]]["test"] for row in mine if row["seed"] in usual
            ]
            difference = "" if arm == USUAL or not pairs else _words(pairs)
            cells = [setting, arm, str(len(mine)), *means, difference]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _setting(row: Row) -> str:
    part = "" if row["part"] == 1 else f", {row['part']:g} of the updates"
    return f"{Path(row['data']).stem}, {row['seconds']:g} s{part}"


def _words(values: Sequence[float]) -> str:
    spread = interval(values)
    half = "" if spread is None else f" ± {(spread[1] - spread[0]) / 2:.3g}"
    return f"{statistics.fmean(values):.4g}{half}"


def main() -> None:
    """Run the searches that have no row yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=DATA)
    parser.add_argument("--space", default="mixconv")
    parser.add_argument("--target-flops", default="2M")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--part", type=float, default=1.0, help="of the usual updates of a trial")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--updates", type=int, help="of an epoch, for a quick try")
    parser.add_argument("--folder", default="build/inheritance", help="for the studies")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/inheritance.json"))
    given = parser.parse_args()
    rows: list[Row] = (
        json.loads(given.results.read_text())["rows"] if given.results.exists() else []
    )
    done = {(row["data"], row["arm"], row["seed"], row["seconds"], row["part"]) for row in rows}
    for seed in range(given.seeds):
        for data in given.data:
            for arm in ARMS:
                if (data, arm, seed, given.seconds, given.part) in done:
                    continue
                rows.append(searched(data, arm, seed, given))
                write_json(given.results, {"rows": rows})
                print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
