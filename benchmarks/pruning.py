"""What pruners stop, and what that costs: searches replayed on trained networks' whole curves.

    python -m benchmarks.pruning --tables FOLDER... [--pruners none,median,hyperband,curves] \
        [--searches 100] [--json OUT.json]

FOLDER/trainings.csv is one of `benchmarks.search.real`: nothing is trained. A search tries the
networks in a drawn order, with one worker, until all were tried; its pruner sees each epoch as in
`nas search`. The score is the accuracy. Of each pruner the result has the share of the trainings
that it stopped, the epochs that were saved, how many of the stopped trainings would have beaten the
best so far, the share of all that would have which it stopped, and the best final score by the
epochs spent. `forecasts` compares what is expected of a training's end: by the mean gain of the
whole curves, and by the model of `nas/pruners/curves.py`.
"""

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import norm

from benchmarks.search.summary import machine
from nas import pruners, quantities
from nas.errors import UserError
from nas.pruners import curves
from nas.pruners.ladder import RungTrial, Schedule, ladder

Floats = NDArray[np.float64]
SHARES = (0.1, 0.2, 0.3, 0.5)  # of the epochs of all trainings: budgets
LEAST_DENSITY = -20.0  # logarithm: one end far outside decides no mean
KNOWN = (5, 10, 20, 40)  # whole curves that forecasts are made from


@dataclass
class Replay:
    """A search so far: a study as pruners see it, the epochs spent and the best final scores.

    `bests` has the epochs spent and the best so far, each time that a network was trained whole.
    `stopped` and `winners` count trainings that began when there were curves to judge them by.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    spent: int = 0
    bests: list[tuple[int, float]] = field(default_factory=list)
    judged: int = 0
    stopped: int = 0
    saved: int = 0
    winners: int = 0
    winners_stopped: int = 0
    chances: list[float] = field(default_factory=list)  # of the stopped
    direction = StudyDirection.MAXIMIZE

    def get_trials(
        self, deepcopy: bool = True, states: Sequence[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the ended trials of these states."""
        del deepcopy
        return [each for each in self.trials if states is None or each.state in states]

    @property
    def best(self) -> float:
        """The best final score so far."""
        return self.bests[-1][1] if self.bests else -np.inf

    def end(self, score: float) -> None:
        """Count a whole training."""
        self.bests.append((self.spent, max(self.best, score)))

    def best_after(self, epochs: float) -> float:
        """Return the best final score when so many epochs were spent; 0 without one."""
        return max((score for spent, score in self.bests if spent <= epochs), default=0.0)


def read(folder: Path) -> dict[int, Floats]:
    """Return the curves of a table's networks (networks, epochs), between 0 and 1, by seed."""
    try:
        with (folder / "trainings.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(f"--tables {folder}: {error}.") from None
    found: dict[int, list[list[float]]] = {}
    for row in rows:
        values = [float(cell) / 100 for name, cell in row.items() if name.startswith("epoch_")]
        found.setdefault(int(row["seed"]), []).append(values)
    return {seed: np.array(values) for seed, values in found.items()}


def replay(scores: Floats, name: str, seed: int) -> Replay:
    """Search through all networks in the order that a seed draws."""
    order = list(range(len(scores)))
    random.Random(seed).shuffle(order)
    if pruners.get(name).LADDER:
        return _climbed(scores, name, order)
    pruner = pruners.get(name).make(scores.shape[1], lambda _: 1.0)
    search = Replay()
    for row in order:
        _trained(search, scores[row], pruner)
    return search


def _trained(search: Replay, curve: Floats, pruner: BasePruner) -> None:
    """Train a network until the pruner stops it or to its end."""
    is_winner, is_judged = bool(curve[-1] > search.best), len(search.bests) >= curves.FEWEST
    epochs = len(curve)
    trial = create_trial(state=TrialState.RUNNING)
    trial.number = len(search.trials)
    stopped = False
    for epoch, value in enumerate(curve.tolist(), 1):
        trial.intermediate_values[epoch] = value
        search.spent += 1
        stopped = epoch < epochs and bool(pruner.prune(search, trial))  # type: ignore[arg-type]
        if stopped:
            search.saved += epochs - epoch
            break
    if stopped and isinstance(pruner, curves.CurvesPruner) and pruner.last_chance is not None:
        search.chances.append(pruner.last_chance)
    trial.value = trial.intermediate_values[max(trial.intermediate_values)]
    trial.state = TrialState.PRUNED if stopped else TrialState.COMPLETE
    search.trials.append(trial)
    if not stopped:
        search.end(float(curve[-1]))
    search.judged += is_judged
    search.stopped += stopped
    search.winners += is_judged and is_winner
    search.winners_stopped += stopped and is_winner


def _climbed(scores: Floats, name: str, order: list[int]) -> Replay:
    """Search on a ladder: promote the best of a rung where one may go on, else begin a network."""
    rungs = tuple(rung.epochs for rung in ladder(scores.shape[1]))
    schedule, search = Schedule(rungs, brackets=pruners.get(name).BRACKETS), Replay()
    trials: list[RungTrial] = []
    left = iter(order)

    def train(row: int, begin: int, end: int) -> None:
        search.spent += end - begin
        score = float(scores[row, end - 1])
        number = len(trials)
        trials.append(
            RungTrial(
                architecture_id=str(row), fidelity=end, ended=True, score=score, number=number,
                evaluation_id=number,
            )
        )  # fmt: skip
        if end == rungs[-1]:
            search.end(score)

    while True:
        promotion = schedule.promotion(trials)
        if promotion is None and (row := next(left, None)) is not None:
            train(row, 0, schedule.base(trials))
            continue
        promotion = promotion or schedule.promotion(trials, closing=True)
        if promotion is None:
            return search
        train(int(promotion[0].architecture_id), promotion[0].fidelity, promotion[1])


def of_pruner(by_seed: dict[int, Floats], name: str, searches: int) -> dict[str, Any]:
    """Return a pruner's numbers over the searches."""
    seeds = sorted(by_seed)
    runs = [replay(by_seed[seeds[n % len(seeds)]], name, n) for n in range(searches)]
    whole = by_seed[seeds[0]].size
    result: dict[str, Any] = {
        "best_after": {
            f"{share:g}": _mean([run.best_after(share * whole) for run in runs]) for share in SHARES
        },
        "epochs_spent": _mean([run.spent / whole for run in runs]),
    }
    if pruners.get(name).LADDER or name == "none":
        return result
    stopped, winners = sum(run.stopped for run in runs), sum(run.winners for run in runs)
    lost = sum(run.winners_stopped for run in runs)
    chances = [each for run in runs for each in run.chances]
    result |= {
        "stopped": stopped / sum(run.judged for run in runs),
        "saved": sum(run.saved for run in runs) / whole / searches,
        "stopped_trainings": stopped,
        "would_have_won": lost / max(1, stopped),
        "winners": winners,
        "winners_stopped": lost / max(1, winners),
    }
    if chances:
        result["mean_chance_of_the_stopped"] = float(np.mean(chances))
    return result


def _mean(values: Sequence[float]) -> dict[str, float]:
    """Return the mean and its standard error."""
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 5), "error": round(error, 5)}


def forecasts(scores: Floats, draws: int) -> Iterator[dict[str, float]]:
    """Yield how well ends are forecast from so many whole curves, after each epoch."""
    rng = np.random.default_rng(0)
    for known in KNOWN:
        if known + 10 > len(scores):
            return
        samples = [rng.permutation(len(scores)) for _ in range(draws)]
        for epoch in range(1, scores.shape[1]):
            told = [_told(scores, order, known, epoch) for order in samples]
            model, mean = (np.mean([each[i] for each in told], axis=0) for i in (0, 1))
            names = ("error", "density", "in_90")
            yield {
                "known": known,
                "epoch": epoch,
                **{f"model_{n}": round(float(v), 4) for n, v in zip(names, model, strict=True)},
                **{f"mean_gain_{n}": round(float(v), 4) for n, v in zip(names, mean, strict=True)},
            }


def _told(scores: Floats, order: NDArray[np.intp], known: int, epoch: int) -> tuple[Floats, Floats]:
    """Return the absolute error, the log density and the 90 % interval's coverage, of both."""
    before = scores[:, epoch - 2] if epoch > 1 else np.full(len(scores), np.nan)
    reached, finals = np.column_stack([scores[:, epoch - 1], before]), scores[:, -1]
    some, rest = order[:known], order[known:]
    told = curves.forecast(reached[some], finals[some], reached[rest])
    means, variances = told.values()
    gains = finals[some] - reached[some, 0]
    floor = 1e-6 * finals[some].var() + 1e-12
    model = norm(means, np.sqrt(variances + floor))
    mean = norm(reached[rest, 0] + gains.mean(), np.sqrt(gains.var() + floor))
    return _judged(model, finals[rest]), _judged(mean, finals[rest])


def _judged(law: Any, finals: Floats) -> Floats:
    low, high = law.interval(0.9)
    inside = (finals >= low) & (finals <= high)
    density = np.maximum(law.logpdf(finals), LEAST_DENSITY)
    return np.array([np.abs(finals - law.mean()).mean(), density.mean(), inside.mean()])


def compare(folders: Sequence[Path], names: Sequence[str], searches: int) -> dict[str, Any]:
    """Return the result of all tables as plain data."""
    tables = {}
    for folder in folders:
        by_seed = read(folder)
        first = by_seed[min(by_seed)]
        tables[folder.name] = {
            "networks": len(first),
            "epochs": first.shape[1],
            "best": round(float(max(each[:, -1].max() for each in by_seed.values())), 5),
            "pruners": {name: of_pruner(by_seed, name, searches) for name in names},
            "forecasts": list(forecasts(first, 20)),
        }
    return {"searches": searches, "tables": tables, "machine": machine()}


def as_text(result: dict[str, Any]) -> str:
    """Return the result as tables for people."""
    lines = []
    for name, table in result["tables"].items():
        lines.append(f"{name}: {table['networks']} networks, {table['epochs']} epochs")
        lines.append(
            f"  {'':10} stopped saved would-have-won winners-stopped  best after "
            + ", ".join(f"{share:.0%}" for share in SHARES)
        )
        for pruner, row in table["pruners"].items():
            numbers = [
                f"{row[key]:{width}.1%}" if key in row else " " * (width - 1) + "-"
                for key, width in (
                    ("stopped", 7), ("saved", 5), ("would_have_won", 14), ("winners_stopped", 15),
                )
            ]  # fmt: skip
            bests = "  ".join(f"{each['mean']:.4f}" for each in row["best_after"].values())
            lines.append(f"  {pruner:10} {' '.join(numbers)}  {bests}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, print, write; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="folders")
    parser.add_argument("--pruners", default="none,median,hyperband,curves")
    parser.add_argument("--searches", type=int, default=100, help="replayed of each pruner")
    parser.add_argument("--json", dest="out", type=Path, help="file for the result")
    options = parser.parse_args(arguments)
    try:
        quantities.check_positive(searches=options.searches)
        names = options.pruners.split(",")
        for name in names:
            pruners.check(name)
        result = compare(options.tables, names, options.searches)
    except UserError as error:
        print(f"python -m benchmarks.pruning: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(as_text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
