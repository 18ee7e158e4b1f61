"""What a sampler is worth in a real search: equal trainings, several seeds, validation only.

    python -m benchmarks.engine --data DATA --samplers nas,tpe,random --seeds 3 --trials N \
        --epochs N --target-flops 1M --resolution 28 --out FOLDER

Each (sampler, seed) is a search of `mixconv`, or of --space, in a store of its own, by one worker
with one thread and without a pruner; the seed is that of the trainings too. What is compared is the
objective's value of the best network so far, on validation images: the test split is never read.
FOLDER gets result.json, which is written after each search and from which the same command goes on,
README.md and curves.png.
"""

import argparse
import json
import os
import platform
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.search import contenders
from nas import quantities, samplers
from nas.errors import UserError
from nas.store import queries
from nas.store.store import Store
from nas.study import options, preparation
from nas.study.worker import WorkOrder, assemble

RESULT = "result.json"
COLOURS = ("#d1495b", "#2e6f95", "#94a3b8", "#6a994e", "#b5838d")
Floats = NDArray[np.float64]
Run = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What is compared: the options, checked."""

    space: str
    data: str
    samplers: list[str]
    seeds: int
    trials: int
    epochs: int
    target_flops: str
    resolution: int
    out: Path
    again: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Return what all searches share."""
        kept = ("trials", "epochs", "target_flops", "resolution")
        names = {"space": Path(self.space).stem, "data": Path(self.data).stem}
        return {**names, **{name: getattr(self, name) for name in kept}}


def compare(comparison: Comparison) -> dict[str, Any]:
    """Search what is missing; return the result as plain data, which is kept after each search."""
    result = _begun(comparison)
    done = {(run["sampler"], run["seed"]) for run in result["runs"]}
    for seed in range(comparison.seeds):  # seeds first: what is interrupted is still a comparison
        for name in comparison.samplers:
            if (name, seed) not in done:
                result["runs"].append(search(comparison, name, seed))
                _keep(comparison, result)
    _keep(comparison, result)
    draw(result, comparison.out / "curves.png")
    (comparison.out / "README.md").write_text(page(comparison, result))
    return result


def _begun(comparison: Comparison) -> dict[str, Any]:
    """Return the result so far; raises UserError where it is of other settings."""
    path = comparison.out / RESULT
    if not path.exists():
        return {"settings": comparison.settings, "runs": []}
    found: dict[str, Any] = json.loads(path.read_text())
    if found["settings"] != comparison.settings:
        raise UserError(
            f"{path} holds searches with {found['settings']}, not with {comparison.settings}: name"
            " another --out."
        )
    found["runs"] = [run for run in found["runs"] if run["sampler"] not in comparison.again]
    return found


def search(comparison: Comparison, sampler: str, seed: int) -> Run:
    """Search once, training by training, from nothing.

    A point is what one more training led to: the seconds so far (of the clock and of the processor)
    and the best score so far. A network that the search comes back to costs no training.
    """
    with TemporaryDirectory(prefix="nas-engine-") as folder:
        prepared = _prepared(comparison, sampler, seed, folder)
        store = preparation.open_study(prepared)
        try:
            points = list(_points(prepared, store))
            with store.read() as connection:
                info = queries.study(connection, prepared.name)
                counts = queries.counts(connection, info.id)
                best = queries.best(connection, info.id, 1)
        finally:
            store.close()
    return {
        "sampler": sampler,
        "seed": seed,
        "version": contenders.version(sampler),
        "points": points,
        "complete": counts.complete,
        "failed": counts.failed,
        "known_before": counts.reused,
        "winner": _winner(best[0]) if best else None,
    }


def _prepared(comparison: Comparison, sampler: str, seed: int, folder: str) -> preparation.Prepared:
    given = {
        "space": comparison.space,
        "data": comparison.data,
        "target_flops": comparison.target_flops,
        "sampler": sampler,
        "seed": seed,
        "trials": comparison.trials,
        "epochs": comparison.epochs,
        "resolution": comparison.resolution,
        "pruner": "none",
        "showcase": False,
        "workers": os.cpu_count(),  # one thread each, so the pre-flight's estimate takes one
        "study": f"{sampler}-{seed}",
        "store": f"sqlite:///{folder}/nas.db",
        "out": folder,
    }
    return preparation.prepare(options.read(given))


def _points(prepared: preparation.Prepared, store: Store) -> Iterator[dict[str, float]]:
    """Search with one worker in this thread; yield where it stands after each training."""
    import sklearn.metrics  # noqa: F401 (seconds of import, before the clock runs)

    torch.set_num_threads(1)
    order = WorkOrder(prepared.store, prepared.name, worker=f"engine:{prepared.name}")
    worker = assemble(order, store)
    worker.evaluator.get_ready()
    wall, processor = time.perf_counter(), time.process_time()
    for count in range(1, (prepared.trials or 0) + 1):
        worker.asker.budget = count
        worker.run()
        with store.read() as connection:
            best = queries.best(connection, worker.trials.info.id, 1)
        point = {
            "evaluations": count,
            "seconds": round(time.perf_counter() - wall, 2),
            "processor_seconds": round(time.process_time() - processor, 2),
            "best": best[0].score or 0.0 if best else 0.0,
        }
        print(f"{prepared.name}: {point}", file=sys.stderr, flush=True)
        yield point


def _winner(trial: queries.TrialInfo) -> dict[str, Any]:
    return {
        "score": trial.score,
        "validation_accuracy": trial.metrics.get("accuracy"),
        "macs": trial.cost.macs,
        "params": trial.cost.params,
    }


def _keep(comparison: Comparison, result: dict[str, Any]) -> None:
    """Write the result with its summary, at once or not at all."""
    order = {name: place for place, name in enumerate(comparison.samplers)}
    result["runs"].sort(key=lambda run: (order.get(run["sampler"], len(order)), run["seed"]))
    result |= {"summary": summarise(result["runs"]), "machine": _machine()}
    temporary = comparison.out / f"{RESULT}.tmp"
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, comparison.out / RESULT)


def _machine() -> dict[str, str]:
    import optuna

    return {
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": optuna.__version__,
    }


def by_sampler(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each sampler, in the order of first appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run["sampler"], []).append(run)
    return found


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """Return each sampler's final best score, and what the first gains over it seed by seed."""
    groups = by_sampler(runs)
    finals = {name: {r["seed"]: final(r) for r in group} for name, group in groups.items()}
    first = next(iter(finals), "")
    return {
        name: {
            "seeds": len(scores),
            "final_best": mean(list(scores.values())),
            f"gain_of_{first}": mean(
                [finals[first][seed] - scores[seed] for seed in scores if seed in finals[first]]
            ),
            "winners": _winners(groups[name]),
            "processor_seconds": round(
                float(np.mean([run["points"][-1]["processor_seconds"] for run in groups[name]]))
            ),
        }
        for name, scores in finals.items()
    }


def _winners(runs: Sequence[Run]) -> dict[str, float]:
    """Return what the networks that the searches would hand over have on average."""
    winners = [run["winner"] for run in runs if run.get("winner")]
    names = ("validation_accuracy", "macs")
    found = {name: [one[name] for one in winners] for name in names}
    return {name: float(np.mean(values)) if values else 0.0 for name, values in found.items()}


def final(run: Run) -> float:
    """Return the best score of a whole search."""
    return float(run["points"][-1]["best"])


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean with its 95 % interval by Student's t: wide, as few seeds leave it.

    The interval is None where there is one value.
    """
    half = half_width(np.array([values]).T)
    middle = float(np.mean(values))
    ends = None if half is None else [middle - float(half[0]), middle + float(half[0])]
    return {"mean": middle, "interval": ends}


def half_width(values: Floats) -> Floats | None:
    """Return half of the mean's 95 % interval at each point of (seeds, points)."""
    from scipy.stats import t

    seeds = len(values)
    if seeds < 2:
        return None
    return np.asarray(t.ppf(0.975, seeds - 1) * values.std(axis=0, ddof=1) / seeds**0.5)


def at(runs: Sequence[Run], unit: str, grid: Floats) -> Floats:
    """Return each run's best score at points of a grid (runs, points): steps, not slopes."""
    rows = []
    for run in runs:
        ends = np.array([point[unit] for point in run["points"]])
        best = np.array([point["best"] for point in run["points"]])
        rows.append(best[np.searchsorted(ends, grid, side="right") - 1])
    return np.array(rows)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the best score so far against evaluations and against seconds of the processor."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained", dpi=120)
    panels = zip(figure.subplots(1, 2), ("evaluations", "processor_seconds"), strict=True)
    for axes, unit in panels:
        lowest = np.inf
        for colour, (name, runs) in zip(COLOURS, by_sampler(result["runs"]).items(), strict=False):
            begin = max(run["points"][0][unit] for run in runs)
            end = min(run["points"][-1][unit] for run in runs)
            grid = np.linspace(begin, end, 400)
            found = at(runs, unit, grid)
            middle, half = found.mean(axis=0), half_width(found)
            axes.plot(grid, found.T, color=colour, linewidth=0.7, alpha=0.5)
            axes.plot(grid, middle, color=colour, label=f"{name}, {len(runs)} seeds", linewidth=2)
            if half is not None:
                axes.fill_between(grid, middle - half, middle + half, color=colour, alpha=0.15)
            lowest = min(lowest, float(middle[len(grid) // 5]))
        scores = [final(run) for run in result["runs"]]
        margin = 0.3 * (max(scores) - lowest) or 0.01
        axes.set_ylim(lowest - margin, max(scores) + margin)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=unit.replace("_", " "), ylabel="best validation score so far")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)


def page(comparison: Comparison, result: Mapping[str, Any]) -> str:
    """Write the study's page."""
    words = (
        f"python -m benchmarks.engine --space {comparison.space} --data {comparison.data}"
        f" --samplers {','.join(comparison.samplers)} --seeds {comparison.seeds}"
        f" --trials {comparison.trials} --epochs {comparison.epochs}"
        f" --target-flops {comparison.target_flops} --resolution {comparison.resolution}"
        f" --out {comparison.out}"
    )
    first, names = next(iter(result["summary"])), result["settings"]
    lines = [
        f"# {names['space']} on {names['data']}: samplers under an equal budget of trainings",
        "",
        "```text",
        words,
        "```",
        "",
        textwrap.fill(
            f"{comparison.trials} trainings of {comparison.epochs} epochs a search, one worker with"
            " one thread, no pruner. The score is validation accuracy x (FLOPs /"
            f" {comparison.target_flops})^-0.07; the test split was never read. Means over seeds"
            " with 95 % intervals (Student's t; a band in the picture); a seed is that of the"
            " sampler and of the trainings, and intervals are over seeds, not over data: each score"
            " is one short training's on the validation images that the search chose by. Samplers"
            " that learn open with networks drawn near the target; random search does not. Seconds"
            " are of the processor.",
            118,
        ),
        "",
        f"| sampler | seeds | best score at the end | gain of `{first}`, seed by seed | winners:"
        " accuracy | macs | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in result["summary"].items():
        gain = "" if name == first else _said(one[f"gain_of_{first}"])
        winners = one["winners"]
        cells = [f"`{name}`", str(one["seeds"]), _said(one["final_best"]), gain]
        cells += [f"{winners['validation_accuracy']:.4f}", quantities.short(winners["macs"])]
        lines.append(f"| {' | '.join(cells)} | {one['processor_seconds']:,} |")
    lines += ["", *verdicts(result["summary"]), ""]
    lines += ["![The best score so far against evaluations and seconds](curves.png)", ""]
    return "\n".join(lines)


def verdicts(summary: Mapping[str, Any]) -> list[str]:
    """Say of each pair with the first sampler what its interval allows to be said."""
    first = next(iter(summary))
    lines = []
    for name, one in summary.items():
        ends = one[f"gain_of_{first}"]["interval"]
        if name == first or ends is None:
            continue
        if ends[0] > 0:
            lines.append(f"`{first}` is ahead of `{name}`: the gain's interval is above 0.")
        elif ends[1] < 0:
            lines.append(f"`{first}` is behind `{name}`: the gain's interval is below 0.")
        else:
            lines.append(f"`{first}` and `{name}` are a tie: the gain's interval holds 0.")
    return lines


def _said(found: Mapping[str, Any]) -> str:
    ends = found["interval"]
    text = "" if ends is None else f" ({ends[0]:.4f} to {ends[1]:.4f})"
    return f"{found['mean']:.4f}{text}"


def read_options(arguments: Sequence[str] | None) -> Comparison:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("--space", default="mixconv", help="a shipped space's name, or a file")
    parser.add_argument("--data", required=True, help="digits, a .npz file or a folder")
    parser.add_argument(
        "--samplers", default="nas,tpe,random", help="the first is the one compared"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24, help="trainings of a search")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--target-flops", default="1M")
    parser.add_argument("--resolution", type=int, default=28)
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--again", default="", help="samplers to search with anew, once changed")
    given = vars(parser.parse_args(arguments))
    numbers = {name: given[name] for name in ("seeds", "trials", "epochs", "resolution")}
    quantities.check_positive(**numbers)
    given["samplers"] = list(dict.fromkeys(given["samplers"].split(",")))
    given["again"] = tuple(filter(None, given["again"].split(",")))
    for name in (*given["samplers"], *given["again"]):
        samplers.check(name)
    try:
        given["out"].mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {given['out']} can't be written: {error}.") from None
    return Comparison(**given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print the summary; return the exit status."""
    try:
        comparison = read_options(arguments)
        result = compare(comparison)
    except UserError as error:
        print(f"python -m benchmarks.engine: {error}", file=sys.stderr)
        return 2
    print(page(comparison, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
