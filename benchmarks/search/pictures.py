"""The pictures of docs/how-it-works/engine.md.

    python -m benchmarks.search.pictures comparison RESULT.json... --out FILE.png
    python -m benchmarks.search.pictures proposal --table FILE.csv --out FILE.png

`comparison` draws results of `benchmarks.search`, a panel each: regret or hypervolume over
evaluations, with its 95 % interval. `proposal` draws what our sampler sees on a table after 30
evaluations: for each row what it predicts beside what is true, and what improvement it expects.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from benchmarks.search import table
from benchmarks.search.goal import Goal
from benchmarks.search.oracle import oracle
from benchmarks.search.run import run
from nas.errors import UserError
from nas.quantities import short
from nas.samplers._acquisition import Acquisition, Encoder, Observation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, INK = "#d1495b", "#334155"
PEERS = ("#2e6f95", "#94a3b8", "#6a994e", "#b5838d", "#e09f3e", "#5f0f40", "#335c67", "#9c6644")
SEEN = 30  # evaluations before the proposal that is drawn


def comparison(results: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw a panel per result; all share the colours of the samplers."""
    figure = _figure(len(results), 1)
    names = list(dict.fromkeys(name for result in results for name in result["samplers"]))
    others = [name for name in names if name != "nas"]
    colours = {"nas": OURS} | {n: PEERS[i % len(PEERS)] for i, n in enumerate(others)}
    drawn: dict[str, Any] = {}
    for axes, result in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results, strict=True
    ):
        measure = "hypervolume" if result["objective"] == "pareto" else "regret"
        for name, one in result["samplers"].items():
            drawn[name] = _line(axes, one[measure], colours[name], bold=name == "nas")
        if "regret_of_trying_all" in result and result["regret_of_trying_all"] > 0:
            axes.axhline(result["regret_of_trying_all"], color=INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log", base=2)
        axes.set_xticks(result["budgets"], [str(budget) for budget in result["budgets"]])
        axes.set(xlabel="evaluations", ylabel=measure)
        axes.set_title(f"{result['table']}, {result['objective']}", fontsize=10)
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def _line(axes: "Axes", found: Mapping[str, Any], colour: str, *, bold: bool) -> Any:
    budgets = [int(budget) for budget in found]
    means = [one["mean"] for one in found.values()]
    ends = [one["interval"] or [one["mean"]] * 2 for one in found.values()]
    low, high = zip(*ends, strict=True)
    axes.fill_between(budgets, low, high, color=colour, alpha=0.15, linewidth=0)
    (line,) = axes.plot(
        budgets, means, color=colour, marker="o", markersize=3, zorder=3 if bold else 2,
        linewidth=2.4 if bold else 1.2,
    )  # fmt: skip
    return line


def proposal(goal: Goal) -> "Figure":
    """Draw what the model holds of each row that was not evaluated, after `SEEN` evaluations."""
    known, rows = oracle(goal), run(goal, "nas", 0, SEEN).rows
    assignments = [goal.table.assignment(row) for row in range(len(goal.table))]
    looks = [look for each in assignments if (look := known.look(each)) is not None]
    seen = [Observation(assignments[r], looks[r], float(goal.seen[r])) for r in rows]
    encoder = Encoder(known.distributions)
    model = Acquisition(seen, [], encoder, random.Random(0))
    left = [row for row in range(len(goal.table)) if row not in set(rows)]
    kept = [looks[row] for row in left]
    worth, mean, spread = model.improvement(
        encoder.encode([assignments[r] for r in left], kept), kept
    )
    figure = _figure(2, 1)
    believed, promised = figure.subplots(1, 2)
    truth = goal.table.search[left]
    believed.errorbar(
        truth, mean, yerr=spread, fmt="none", ecolor=PEERS[1], alpha=0.35, linewidth=0.6
    )
    believed.scatter(truth, mean, s=9, color=PEERS[0], zorder=3)
    ends = [min(truth.min(), mean.min()), max(truth.max(), mean.max())]
    believed.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    believed.set(xlabel="measured later", ylabel="predicted, with its spread")
    believed.set_title(f"What {SEEN} evaluations tell of the others", fontsize=10)
    macs, best = goal.table.macs[left], int(np.argmax(worth))
    order = np.argsort(worth)  # the promising ones on top
    shown = promised.scatter(
        macs[order], goal.seen[left][order], c=worth[order], cmap="viridis", s=12, zorder=2
    )
    promised.scatter(
        goal.table.macs[rows], goal.seen[rows], s=22, facecolors="none", edgecolors=INK,
        linewidths=0.8, label="evaluated", zorder=3,
    )  # fmt: skip
    promised.scatter(macs[best], goal.seen[left][best], marker="*", s=170, color=OURS, zorder=4,
                     label="proposed next")  # fmt: skip
    promised.set(xlabel="macs", ylabel="score")
    promised.set_xscale("log", base=2)
    promised.xaxis.set_major_formatter(lambda value, _: short(value))
    promised.set_title("Where improvement is expected", fontsize=10)
    promised.legend(frameon=False, fontsize=8)
    figure.colorbar(shown, ax=promised, label="expected improvement")
    return figure


def _figure(columns: int, rows: int) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(4.6 * columns, 4.0 * rows), layout="constrained", dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and draw; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.pictures")
    verbs = parser.add_subparsers(dest="verb", required=True)
    results = verbs.add_parser("comparison")
    results.add_argument("results", nargs="+", type=Path)
    drawn = verbs.add_parser("proposal")
    drawn.add_argument("--table", type=Path, required=True)
    for each in (results, drawn):
        each.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if options.verb == "comparison":
            figure = comparison([json.loads(path.read_text()) for path in options.results])
        else:
            figure = proposal(Goal(table.read(options.table)))
        figure.savefig(options.out)
    except (UserError, OSError, ValueError) as error:
        print(f"python -m benchmarks.search.pictures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
