"""A study at a glance: metric against macs with the target, and the trials' learning curves; and a
scaled family: what each member reached beside the ideal.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.objective import Objective
from nas.quantities import short
from nas.store import queries
from nas.store.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW, WIDE = 3, 300  # ratios of an axis' ends: under the first evenly spaced ticks will do
STEPS = ((1,), (1, 2, 5))
INK, BEST, PALE = "#334155", "#d1495b", "#94a3b8"
CURVES = 40


def draw_study(store: Store, study_id: int, objective: Objective, folder: Path) -> Path:
    """Write search.png into the folder and return its path."""
    from matplotlib.figure import Figure  # a second of import, and no window is ever opened

    with store.read() as connection:
        info = next(s for s in queries.studies(connection) if s.id == study_id)
        metric = info.config["recipe"]["metric"]
        trials = queries.trials(connection, study_id)
        best = queries.best(connection, study_id, 1)
        newest = [trial for trial in trials if trial.state in ("complete", "pruned")][-CURVES:]
        curves = {t.number: queries.curve(connection, t.evaluation_id) for t in newest}
    figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    _costs(left, trials, best, metric, objective)
    for trial in newest:
        points = curves[trial.number]
        is_best = bool(best) and trial.number == best[0].number
        right.plot(
            [p.epoch for p in points],
            [p.metrics.get(metric) for p in points],
            color=BEST if is_best else PALE,
            linewidth=2 if is_best else 0.9,
            zorder=3 if is_best else 2,
        )
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set(xlabel="epoch", ylabel=f"validation {_words(metric)}", title="Learning curves")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.suptitle(f"{info.name}: {len(trials)} trials", color=INK)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "search.png"
    figure.savefig(path)
    return path


def draw_family(family: Mapping[str, Any], path: Path) -> None:
    """Draw each member's FLOPs over the source's, with the ideal line; `family` as its JSON."""
    from matplotlib.figure import Figure

    members = sorted(family["members"], key=lambda member: member["phi"])
    phis = [member["phi"] for member in members]
    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    steps = [phis[0] + (phis[-1] - phis[0]) * index / 50 for index in range(51)]
    ideal = [family["product"] ** phi for phi in steps]
    axes.plot(steps, ideal, color=PALE, linestyle="--", label="ideal")
    axes.plot(phis, [m["ratio"] for m in members], "o", color=BEST, label="reached")
    for member in members:
        numbers = (short(member["macs"]), short(member["params"]))
        text = "{} px, {} layers\n{} FLOPs, {} params".format(
            member["resolution"], member["layers"], *numbers
        )
        place = (member["phi"], member["ratio"])
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.annotate(
            text, place, (10, -10), textcoords="offset points", fontsize=8, va="top", bbox=box
        )
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} x")
    span = max(phis[-1] - phis[0], 1)
    axes.set_xlim(phis[0] - 0.1 * span, phis[-1] + 0.4 * span)  # the numbers stand at the right
    axes.set_xticks(phis)
    axes.margins(y=0.25)
    by = ", ".join(f"{name} {value:g}" for name, value in family["coefficients"].items())
    axes.set(xlabel="phi", ylabel="FLOPs over the source's", title=f"{family['source']}: {by}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path)


def _costs(
    axes: "Axes",
    trials: list[queries.TrialInfo],
    best: list[queries.TrialInfo],
    metric: str,
    objective: Objective,
) -> None:
    """Draw each trial's last metric over its cost: macs, or the predicted latency."""
    timed = objective.target_latency_ms is not None

    def amount(trial: queries.TrialInfo) -> float:
        return (trial.latency_ms or math.nan) if timed else trial.cost.macs

    for state, marker, color in (("complete", "o", INK), ("pruned", "x", PALE)):
        shown = [t for t in trials if t.state == state and t.metrics.get(metric) is not None]
        costs = [amount(t) for t in shown]
        values = [t.metrics[metric] or 0.0 for t in shown]
        axes.scatter(costs, values, marker=marker, color=color, label=state, alpha=0.8)
    if best:
        costs, values = [amount(best[0])], [best[0].metrics.get(metric) or 0.0]
        axes.scatter(costs, values, marker="*", s=220, color=BEST, label="best score", zorder=3)
        _floor(axes, best[0], metric)
    axes.axvline(objective.target, color=BEST, linestyle="--", linewidth=1, label="target")
    axes.set_xscale("log")
    round_ticks(axes)
    axes.set(
        xlabel="predicted latency, ms" if timed else "multiply-accumulates",
        ylabel=f"validation {_words(metric)}",
    )
    axes.set_title("What each network costs and scores")
    axes.legend(fontsize=8, frameon=False)


def round_ticks(axes: "Axes") -> None:
    """Mark a logarithmic axis of costs at round numbers that do not run into each other."""
    low, high = axes.get_xlim()
    axes.set_xticks(_ticks(low, high))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.minorticks_off()


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two, about as far apart on a logarithmic axis as can be."""
    from matplotlib.ticker import MaxNLocator

    if high / low < NARROW:
        even = MaxNLocator(5).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    steps = STEPS[0] if high / low > WIDE else STEPS[1]
    return [s * 10**power for power in range(-3, 13) for s in steps if low <= s * 10**power <= high]


def _floor(axes: "Axes", best: queries.TrialInfo, metric: str) -> None:
    """Show the majority-class rate: as a line where it is near the trials, else in the legend."""
    majority = best.metrics.get("majority_rate")
    if metric != "accuracy" or majority is None:
        return
    low, high = axes.get_ylim()
    label = f"majority class {majority:.3f}"
    if majority > low - (high - low):
        axes.axhline(majority, color=PALE, linestyle=":", label=label)
    else:
        axes.plot([], [], color=PALE, linestyle=":", label=f"{label}, far below")


def _words(metric: str) -> str:
    return metric.replace("_", " ")
