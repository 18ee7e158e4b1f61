"""A comparison's result, as data and as a table to read."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from benchmarks.search import contenders, measures
from benchmarks.search.goal import WEIGHT, Goal
from benchmarks.search.run import Run
from benchmarks.search.table import Table

TARGETS = {"within_0.1_percent": measures.within, "best_0.5_percent": measures.top}


def of_sampler(
    name: str, goal: Goal, runs: Sequence[Run], budgets: Sequence[int]
) -> dict[str, Any]:
    """Return what the runs of one sampler were worth."""
    proposals = sum(run.proposals for run in runs)
    result: dict[str, Any] = {"version": contenders.version(name), "seeds": len(runs)}
    if goal.kind == "pareto":
        result |= _fronts(goal, runs, budgets)
    else:
        result |= _scores(goal, runs, budgets)
    return result | {
        "proposals": proposals,
        "repeats": sum(run.repeats for run in runs),
        "outside_the_table": sum(run.outside for run in runs),
        "stuck_runs": sum(run.stuck for run in runs),
        "milliseconds_per_proposal": sum(run.seconds for run in runs) / proposals * 1e3,
    }


def _scores(goal: Goal, runs: Sequence[Run], budgets: Sequence[int]) -> dict[str, Any]:
    last = max(budgets)
    regrets = {b: measures.mean([measures.regret(goal, run, b) for run in runs]) for b in budgets}
    result: dict[str, Any] = {"regret": {str(b): regrets[b] for b in budgets}}
    for name, score_of in TARGETS.items():
        score = score_of(goal)
        took = [measures.evaluations_to(goal, run, score, last) for run in runs]
        result[f"evaluations_to_{name}"] = {
            "median": _censored(measures.quantile(took, 0.5), last),
            "90th_percentile": _censored(measures.quantile(took, 0.9), last),
            "reached": sum(map(math.isfinite, took)) / len(took),
        }
    return result


def _fronts(goal: Goal, runs: Sequence[Run], budgets: Sequence[int]) -> dict[str, Any]:
    trained: dict[str, Any] = {}
    handed_over: dict[str, Any] = {}
    for b in budgets:
        trained[str(b)] = measures.mean([measures.hypervolume(goal, run.rows[:b]) for run in runs])
        fronts = [measures.chosen(goal, run, b) for run in runs]
        handed_over[str(b)] = measures.mean([measures.hypervolume(goal, rows) for rows in fronts])
    return {"hypervolume": trained, "hypervolume_of_chosen": handed_over}


def _censored(found: Mapping[str, Any], last: int) -> dict[str, Any]:
    """Return evaluations as whole numbers, and as text where they are above the last budget."""

    def write(value: float) -> int | str:
        return int(value) if math.isfinite(value) else f">{last}"

    ends = found["interval"]
    return {
        "value": write(found["value"]),
        "interval": None if ends is None else [write(end) for end in ends],
    }


def of_table(goal: Goal) -> dict[str, Any]:
    """Return what a table and an objective are."""
    table = goal.table
    result: dict[str, Any] = {
        "table": table.name,
        "hash": table.hash,
        "rows": table.rows_read,
        "architectures": len(table),
        "choices": len(table.choices),
        "searched_as": "a pool" if table.is_pool else "a whole space",
        "objective": goal.kind,
    }
    if goal.kind == "scalarised":
        result |= {"target_macs": goal.target_macs, "weight": WEIGHT}
    if goal.kind == "pareto":
        macs = float(table.macs.max())
        result["reference"] = {"test_score": float(table.test.min()), "macs": macs}
    else:
        found = {name: score(goal) for name, score in TARGETS.items()}
        counts = {name: int((goal.true >= score).sum()) for name, score in found.items()}
        chosen = float(goal.true[int(np.argmax(goal.seen))])
        result |= {"best": float(goal.true.max()), "targets": found, "rows_that_reach": counts}
        result["regret_of_trying_all"] = result["best"] - chosen
    return result


def of_source(source: Table | None, evaluations: int) -> dict[str, Any]:
    """Return what searches learn from; nothing where they do not."""
    if source is None:
        return {}
    return {"learn_from": {"table": source.name, "hash": source.hash, "evaluations": evaluations}}


def machine() -> dict[str, Any]:
    """Return what the times depend on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_average_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "optuna": optuna.__version__,
    }


def as_text(result: Mapping[str, Any]) -> str:
    """Return the result as a table to read, in Markdown."""
    scored = result["objective"] != "pareto"
    measure = "regret" if scored else "hypervolume"
    budgets = [str(budget) for budget in result["budgets"]]
    heads = ["sampler", "seeds", *(f"{measure} at {budget}" for budget in budgets)]
    if scored:
        heads += ["to 0.1 %: median / 90th", "to the best 0.5 %: median / 90th"]
    else:
        heads += [f"chosen at {budgets[-1]}"]
    heads += ["repeats", "ms a proposal"]
    lines = [_headline(result), "", f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, one in result["samplers"].items():
        cells = [name, str(one["seeds"]), *(_mean(one[measure].get(budget)) for budget in budgets)]
        if scored:
            cells += [_quantiles(one[f"evaluations_to_{target}"]) for target in TARGETS]
        else:
            cells += [_mean(one["hypervolume_of_chosen"].get(budgets[-1]))]
        cells += [f"{one['repeats'] / one['proposals']:.0%}"]
        cells += [f"{one['milliseconds_per_proposal']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
        if one["stuck_runs"]:
            lines.append(f"| | {one['stuck_runs']} runs ended early: nothing but repeats |")
    return "\n".join(lines)


def _headline(result: Mapping[str, Any]) -> str:
    merged = result["rows"] - result["architectures"]
    text = (
        f"{result['table']}: {result['architectures']:,} architectures of {result['choices']} "
        f"choices, searched as {result['searched_as']}; objective {result['objective']}"
    )
    if merged:
        text += f"; {merged:,} rows with the same choices as another were averaged"
    if "learn_from" in result:
        learnt = result["learn_from"]
        text += f"; lessons of {learnt['evaluations']} evaluations on {learnt['table']}"
    if result["workers"] > 1:
        text += f"; {result['workers']} evaluations at a time"
    return f"{text}. Means and percentiles over seeds, [95 % interval]."


def _mean(found: Mapping[str, Any] | None) -> str:
    if found is None:  # a slow sampler, which was not run for so long
        return "-"
    ends = found["interval"]
    text = "" if ends is None else f" [{ends[0]:.4g}, {ends[1]:.4g}]"
    return f"{found['mean']:.4g}{text}"


def _quantiles(found: Mapping[str, Any]) -> str:
    def write(one: Mapping[str, Any]) -> str:
        ends = one["interval"]
        return f"{one['value']}" + ("" if ends is None else f" [{ends[0]}, {ends[1]}]")

    return f"{write(found['median'])} / {write(found['90th_percentile'])}"
