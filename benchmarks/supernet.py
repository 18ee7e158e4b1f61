"""Does a one-shot supernet know which networks are good, and does a search gain by it?

    python -m benchmarks.supernet FOLDER --data DATA [--parts 0.5,1,2] [--seeds 3]

FOLDER holds a table of `benchmarks.search.real`: its space, its recipe and its networks, each
trained alone. A supernet is trained for a part of the updates of such a training, and scores the
networks by its weights. Added to benchmarks/results/supernet.json, for each part and seed:

- what it costs, in trainings of a network alone, by processor time in the same run;
- Spearman's rank correlation of its scores with the table's `test_score`, and that of one training
  (`search_score`), with 95 % intervals from a bootstrap over the networks;
- the regret of a search after so many trainings: `ranked` trains the best by the supernet, `taught`
  is the sampler `nas` with the supernet as its lesson, `alone` without, after as many trainings and
  after as many more as the supernet costs. Each is a mean over the sampler's seeds and its error.
"""

import argparse
import csv
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.search import run as searches
from benchmarks.search import table as tables
from benchmarks.search.goal import Goal
from benchmarks.search.measures import rank_correlation, regret
from benchmarks.search.real import SOURCE, TABLE
from benchmarks.shared_weights import Child, Course
from nas.architecture import Value
from nas.data import DataSet, load
from nas.files import write_json
from nas.report.intervals import mean_and_error
from nas.samplers._lesson import Lesson
from nas.search_space import SearchSpace
from nas.training.metrics import gain
from nas.training.recipe import Recipe
from nas.training.trainer import train

TIMED = 6  # networks whose training alone is timed
POOL = 100  # networks of a large space that share the weights, beside the table's
BUDGETS = (6, 12, 25)  # trainings of single networks
RUNS = 20  # of the sampler
RESULTS = Path(__file__).parent / "results" / "supernet.json"


@dataclass(frozen=True, eq=False)
class Experiment:
    """A table and the course of a supernet of its networks, which come first."""

    table: tables.Table
    course: Course

    @property
    def children(self) -> Sequence[Child]:
        """The table's networks."""
        return self.course.children[: len(self.table)]

    @cached_property
    def alone(self) -> float:
        """The mean processor seconds of training a network of the table alone."""
        seconds = []
        for child in random.Random(0).sample(self.children, TIMED):
            clock = time.process_time()
            train(child.architecture, self.course.data, self.course.recipe)
            seconds.append(time.process_time() - clock)
        return fmean(seconds)


def read(folder: Path, data: DataSet) -> Experiment:
    """Read a table; of a sample's space more networks are drawn."""
    source = json.loads((folder / SOURCE).read_text())
    space, recipe = SearchSpace.from_json(source["space"]), Recipe.from_json(source["recipe"])
    table = tables.read(folder / TABLE)
    with (folder / TABLE).open(newline="") as file:
        rows = [_assignment(space, row) for row in csv.DictReader(file)]
    if table.is_pool:
        rng = random.Random(0)
        rows += [space.sample(rng) for _ in range(POOL)]
    channels, classes = data.in_channels, len(data.classes)
    children = [Child(space.decode(each, in_channels=channels, classes=classes)) for each in rows]
    return Experiment(table, Course(children, data, recipe))


def _assignment(space: SearchSpace, row: Mapping[str, str]) -> dict[str, Value]:
    """Return a row's choices as the space has them; one that does not exist is left out."""
    cells = ((p, row[tables.PREFIX + p.name]) for p in space.parameters())
    return {p.name: choice for p, cell in cells for choice in p.choices if str(choice) == cell}


def compared(experiment: Experiment, part: float, seed: int) -> dict[str, Any]:
    """Train a supernet, score the table's networks by it, and search with it."""
    table, alone = experiment.table, experiment.alone
    course = replace(experiment.course, recipe=replace(experiment.course.recipe, seed=seed))
    updates = max(1, round(part * experiment.course.updates))
    clock = time.process_time()
    net = course.train(updates)
    middle = time.process_time()
    scores = [course.score(net, child) for child in experiment.children]
    end = time.process_time()
    metric = course.recipe.metric
    gains = [gain(metric, each[metric]) for each in scores]
    results = [(table.assignment(row), each) for row, each in enumerate(gains)]
    lesson = Lesson.of("supernet", len(table) - 1, table.choices, results)
    return {
        "updates": updates,
        "seed": seed,
        "trainings_worth": {
            "training": round((middle - clock) / alone, 1),
            "scoring": round((end - middle) / alone, 1),
        },
        "best": max(gains),
        "spearman": rank_correlation(gains, table.test.tolist()),
        "spearman_loss": rank_correlation([-s["loss"] for s in scores], table.test.tolist()),
        "regret": regrets(Goal(table), lesson, round((end - clock) / alone)),
    }


def regrets(goal: Goal, lesson: Lesson, spent: int) -> dict[str, Any]:
    """Return the regrets after each budget; `spent` trainings are what the lesson cost."""
    most = max(BUDGETS)
    taught = [searches.run(goal, "nas", seed, most, lesson=lesson) for seed in range(RUNS)]
    alone = [searches.run(goal, "nas", seed, most + spent) for seed in range(RUNS)]
    order = np.argsort(-np.array(lesson.metrics), kind="stable").tolist()
    ranked = [searches.Run(order, 0, 0, 0, 0.0, stuck=False)] * 2

    def after(runs: Sequence[searches.Run], trainings: int) -> list[float]:
        pair = mean_and_error([regret(goal, run, trainings) for run in runs])
        return [round(each, 3) for each in pair]

    return {
        str(budget): {
            "ranked": after(ranked, budget)[0],
            "taught": after(taught, budget),
            "alone": after(alone, budget),
            "alone_as_long": after(alone, budget + spent),
        }
        for budget in BUDGETS
    }


def table(kept: Mapping[str, Any]) -> str:
    """Return the rank correlations as Markdown, a line for each length of a supernet."""
    lines = [
        "| networks | updates, alone | cost, in trainings | Spearman's, by seed | of one training "
        "| of macs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in kept.items():
        others = (_interval(result[key]) for key in ("spearman_one_training", "spearman_macs"))
        end = " | ".join(others)
        for updates in dict.fromkeys(each["updates"] for each in result["supernets"]):
            rows = [each for each in result["supernets"] if each["updates"] == updates]
            spent = (sum(each["trainings_worth"].values()) for each in rows)
            found = ", ".join(f"{each['spearman'][0]:.2f}" for each in rows)
            length = f"{updates}, {result['updates_alone']}"
            count = f"{result['networks']} of {name}"
            lines.append(f"| {count} | {length} | {fmean(spent):.0f} | {found} | {end} |")
    return "\n".join(lines)


def _interval(numbers: Sequence[float]) -> str:
    return f"{numbers[0]:.2f} ({numbers[1]:.2f} to {numbers[2]:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and add to the results."""
    import optuna

    parser = argparse.ArgumentParser(prog="python -m benchmarks.supernet")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--parts", default="0.5,1,2", help="of the updates of a training alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    experiment = read(asked.folder, load(asked.data))
    truth = experiment.table.test.tolist()
    kept: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    result = kept.setdefault(
        experiment.table.name,
        {
            "networks": len(experiment.table),
            "updates_alone": experiment.course.updates,
            "spearman_one_training": rank_correlation(experiment.table.search.tolist(), truth),
            "spearman_macs": rank_correlation(experiment.table.macs.tolist(), truth),
            "supernets": [],
        },
    )
    for part in map(float, asked.parts.split(",")):
        for seed in range(asked.seeds):
            result["supernets"].append(compared(experiment, part, seed))
            write_json(asked.out, kept)
            print(json.dumps(result["supernets"][-1]), flush=True)
    print(table(kept))


if __name__ == "__main__":
    main()
