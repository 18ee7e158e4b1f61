"""Changes of the `nas` sampler that were tried, each paired with it by seed.

    python -m benchmarks.search.levers --table FILE.csv --objective scalarised --target-macs 300M \
        --levers spread,ranks --seeds 50 --json OUT.json

A lever replaces one part of the engine while a run lasts. The command prints for each measure the
mean with the engine as it is, the mean with the lever, and the paired difference in standard
errors; smaller is better. Runs are kept in --cache. A file at --json keeps its other comparisons.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from scipy.special import ndtri
from scipy.stats import rankdata

from benchmarks.search import measures, oracle, table
from benchmarks.search.__main__ import CACHE, make_folder, whole_numbers
from benchmarks.search.cache import Cache
from benchmarks.search.contenders import OURS, check
from benchmarks.search.goal import KINDS, Goal
from benchmarks.search.oracle import TableOracle
from benchmarks.search.run import Run, run
from nas import quantities
from nas.errors import UserError, unknown
from nas.samplers import _acquisition, nas
from nas.samplers._acquisition import Encoder, Scaling
from nas.samplers._oracle import Assignment, Preview
from nas.samplers._surrogate import Floats, Points
from nas.search_space.preflight import OPENING_DRAWS

DRAWS = 24  # of which a spread opening takes one
PLACES = (2, 5, 0, 3, 1, 4)  # of the six opening proposals in the range of log macs, from below
CENTRES = np.arange(-2.0, 3.0)  # of the bumps over log macs, in standard deviations
FARTHEST = 3.0  # standard deviations at which log macs are cut off
ENGINE = "engine"  # as it is


def draw_near(table: TableOracle, rng: random.Random, *, near_target: bool = False) -> Assignment:
    """Open near the target, as a real search does; on a table the engine opens at random."""
    if not near_target:
        return rng.choice(table.rows)
    return min(_rows(table, rng, OPENING_DRAWS), key=lambda row: abs(_log_macs(table, row)))


def draw_spread(table: TableOracle, rng: random.Random, *, near_target: bool = False) -> Assignment:
    """Open with networks spread over log macs, from the smallest of some draws to the largest."""
    if not near_target:
        return rng.choice(table.rows)
    rows = _rows(table, rng, DRAWS)
    macs = [_log_macs(table, row) for row in rows]
    number = len(table.record.ended) + len(table.record.open)
    place = PLACES[number % len(PLACES)] / (len(PLACES) - 1)
    wanted = min(macs) + place * (max(macs) - min(macs))
    return rows[int(np.argmin(np.abs(np.array(macs) - wanted)))]


def _rows(table: TableOracle, rng: random.Random, count: int) -> list[Assignment]:
    return [rng.choice(table.rows) for _ in range(count)]


def _log_macs(table: TableOracle, row: Assignment) -> float:
    look = table.look(row)
    assert look is not None
    return look.cost


def ranked(scores: Floats) -> Floats:
    """Replace scores by normal quantiles of their ranks, about the median.

    Their spread is that of the scores above the median.
    """
    middle = float(np.median(scores))
    spread = float(np.sqrt(np.mean((scores[scores >= middle] - middle) ** 2)))
    return np.asarray(middle + spread * ndtri((rankdata(scores) - 0.5) / len(scores)))


class MacsEncoder(Encoder):
    """Has log macs as a last number: linear, and in another group as bumps, which are not."""

    def encode(self, assignments: Sequence[Assignment], looks: Sequence[Preview]) -> Points:
        """Return a row per assignment; the bumps are added when the numbers are scaled."""
        points = super().encode(assignments, looks)
        macs = np.array([look.cost for look in looks])
        group = np.append(points.group, points.group.max(initial=-1) + 1)
        return points._replace(numbers=np.column_stack([points.numbers, macs]), group=group)

    def scaling(self, numbers: Floats) -> "MacsScaling":
        """Return how numbers are scaled, with a slope for each bump."""
        scaling = super().scaling(numbers)
        slopes = np.append(scaling.slopes, np.zeros(len(CENTRES)))
        return MacsScaling(*scaling._replace(slopes=slopes))


class MacsScaling(Scaling):
    """Scales numbers, and adds the bumps over the last one."""

    def of(self, points: Points) -> Points:
        """Return points with scaled numbers and bumps."""
        macs = (points.numbers[:, -1] - self.centre[-1]) / self.scale[-1]
        macs = np.clip(macs, -FARTHEST, FARTHEST)
        bumps = np.exp(-0.5 * (macs[:, None] - CENTRES) ** 2)
        group = np.append(points.group, np.full(len(CENTRES), points.group[-1] + 1))
        scaled = super().of(points)
        return scaled._replace(numbers=np.hstack([scaled.numbers, bumps]), group=group)


def without_factor(key: Any, factor: float, *, cost: float) -> Preview:  # noqa: ARG001
    """Preview a row whose score is modelled whole: no certain factor favours an end of macs."""
    return Preview(key, cost=cost)


NEAR = (TableOracle, "draw", draw_near)
SPREAD = (TableOracle, "draw", draw_spread)
RANKS = (_acquisition, "levelled", ranked)
MACS = (nas, "Encoder", MacsEncoder)
WHOLE = (oracle, "Preview", without_factor)
LEVERS: Mapping[str, tuple[tuple[Any, str, Any], ...]] = {
    ENGINE: (),
    "near": (NEAR,),
    "spread": (SPREAD,),
    "ranks": (RANKS,),
    "macs": (MACS,),
    "whole_score": (WHOLE,),
    "spread+ranks": (SPREAD, RANKS),
    "spread+ranks+macs": (SPREAD, RANKS, MACS),
}


def runs_of(lever: str, cache: Cache, seeds: range, evaluations: int) -> list[Run]:
    """Return the engine's runs with a lever, in the order of their seeds; missing ones are made."""
    found = cache.read(evaluations)
    with ExitStack() as stack:
        for part in LEVERS[lever]:
            stack.enter_context(patch.object(*part))
        for seed in seeds:
            if seed not in found:
                found[seed] = run(cache.goal, OURS, seed, evaluations)
                cache.write(seed, evaluations, found[seed])
                print(f"{lever}: seed {seed}, {found[seed].seconds:.1f} s", file=sys.stderr)
    return [found[seed] for seed in seeds]


def measured(goal: Goal, one: Run, budgets: Sequence[int]) -> dict[str, float]:
    """Return what a run lacks, smaller is better.

    `best trained` is the regret of the best network that was trained, whatever its seen score.
    """
    if goal.kind == "pareto":
        return {
            f"front lacks at {b}": 1 - measures.hypervolume(goal, one.rows[:b]) for b in budgets
        }
    last, best = max(budgets), float(goal.true.max())
    result = {f"regret at {b}": measures.regret(goal, one, b) for b in budgets}
    result |= {f"best trained at {b}": best - float(goal.true[one.rows[:b]].max()) for b in budgets}
    took = measures.evaluations_to(goal, one, measures.top(goal), last)
    return result | {"to the best 0.5 %": min(took, last + 1)}


def paired(
    with_it: Sequence[Mapping[str, float]], without: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return each measure's means, and the mean difference in its standard errors."""
    result = {}
    for name in without[0]:
        new, old = (np.array([each[name] for each in runs]) for runs in (with_it, without))
        error = float((new - old).std(ddof=1) / np.sqrt(len(old)))
        errors = float((new - old).mean()) / error if error > 0 else 0.0
        result[name] = {
            "engine": round(float(old.mean()), 5),
            "lever": round(float(new.mean()), 5),
            "standard_errors": round(errors, 2),
        }
    return result


def compare(
    goal: Goal, levers: Sequence[str], seeds: range, budgets: Sequence[int], folder: Path
) -> dict[str, Any]:
    """Run what is missing and return each lever's measures beside the engine's."""
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]

    def runs(lever: str) -> list[dict[str, float]]:
        source = "" if lever == ENGINE else f"{lever}:{code}"
        made = runs_of(lever, Cache(folder, goal, OURS, source=source), seeds, max(budgets))
        return [measured(goal, one, budgets) for one in made]

    engine = runs(ENGINE)
    which = f"seeds {seeds[0]} to {seeds[-1]}"
    return {f"{lever}, {which}": paired(runs(lever), engine) for lever in levers}


def as_text(title: str, result: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the result as a table to read, in Markdown."""
    names = list(next(iter(result.values())))
    lines = [
        title,
        "",
        f"| lever | {' | '.join(names)} |",
        "| --- " * (len(names) + 1) + "|",
    ]
    for lever, one in result.items():
        cells = [
            f"{one[name]['engine']:.4g} -> {one[name]['lever']:.4g} "
            f"({one[name]['standard_errors']:+.1f})"
            for name in names
        ]
        lines.append(f"| {lever} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.search.levers", description=(__doc__ or "").partition("\n")[0]
    )
    names = [name for name in LEVERS if name != ENGINE]
    made.add_argument("--table", required=True, help="CSV file; see benchmarks/search/table.py")
    made.add_argument("--levers", default=",".join(names), help="names")
    made.add_argument("--budgets", default="25,50", help="evaluations")
    made.add_argument("--seeds", type=int, default=50, help="number of pairs")
    made.add_argument("--first", type=int, default=0, help="the first seed")
    made.add_argument("--objective", choices=KINDS, default="accuracy")
    made.add_argument("--target-macs", help="T of the scalarised objective, such as 300M")
    made.add_argument("--cache", default=str(CACHE), help="folder of the runs that were made")
    made.add_argument("--json", dest="out", help="file for the result")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write; return the exit status."""
    options = parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    levers = options.levers.split(",")
    try:
        for name in levers:
            if name not in LEVERS or name == ENGINE:
                raise UserError(unknown("lever", name, [each for each in LEVERS if each != ENGINE]))
        if options.seeds < 2 or options.first < 0:
            raise UserError("--seeds is at least 2, for a standard error, and --first at least 0.")
        budgets = whole_numbers(options.budgets, "--budgets")
        target = options.target_macs and quantities.count(options.target_macs, "--target-macs")
        target = target if options.objective == "scalarised" else None
        goal = Goal(table.read(options.table), options.objective, target)
        if options.out:
            make_folder(Path(options.out))
    except UserError as error:
        print(f"python -m benchmarks.search.levers: {error}", file=sys.stderr)
        return 2
    check(OURS)
    title = f"{goal.table.name}, {goal.kind}"
    seeds = range(options.first, options.first + options.seeds)
    result = compare(goal, levers, seeds, budgets, Path(options.cache))
    if options.out:
        out = Path(options.out)
        before = json.loads(out.read_text()) if out.is_file() else {}
        before[title] = before.get(title, {}) | result
        out.write_text(json.dumps(before, indent=1) + "\n")
    print(as_text(title, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
