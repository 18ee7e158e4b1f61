"""A study's front: what each network measures over what it costs, and how the front grew."""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.quantities import short
from nas.report.ranking import Front
from nas.report.study_picture import BEST, INK, PALE, round_ticks
from nas.store.queries import TrialInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS = {"macs": "multiply-accumulates", "params": "parameters"}
MARGIN = 0.06  # of an axis, on either side of what it shows
APART = (0.035, 0.045)  # of the axes: labels nearer than both would touch
UNITS = ((7200, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))  # from, size, name


def draw_front(front: Front, path: Path) -> Path:
    """Write the picture of a front, .png or .svg, and return its path."""
    from matplotlib.figure import Figure  # a second of import, and no window is ever opened

    figure = Figure(figsize=(11, 5.2), layout="constrained", dpi=120)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.5, 1))[0]
    axes = left.subplots()
    _points(axes, front)
    left.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3,
                fontsize=8, markerscale=0.8, frameon=False)  # fmt: skip
    by_evaluations, by_time = right.subplots(2, 1, sharey=True)
    _growth(by_evaluations, front, [step.evaluations for step in front.growth], "evaluations")
    by_evaluations.xaxis.get_major_locator().set_params(integer=True)
    size, unit = _unit(front.growth[-1].seconds if front.growth else 0)
    seconds = [step.seconds / size for step in front.growth]
    _growth(by_time, front, seconds, f"{unit} of training, all workers together")
    value, cost = f"{front.reference.value:.3f}", short(front.reference.cost)
    by_evaluations.set_title(
        f"Hypervolume\nfrom {_words(front.metric)} {value} and {cost} {front.cost}", fontsize=10
    )
    right.supylabel(f"{_words(front.metric)} × ln {front.cost}", fontsize=10)
    for one in (axes, by_evaluations, by_time):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    complete = len(front.trials) + len(front.dominated)
    figure.suptitle(f"{front.study}: front of {complete} complete trials", color=INK)
    figure.savefig(path)
    return path


def _points(axes: "Axes", front: Front) -> None:
    """Draw every trial's last metric over its cost, and what the front reaches at each cost."""
    _limits(axes, front)
    _scatter(axes, front, front.pruned, "pruned", marker="x", color=PALE, linewidths=1.1)
    hollow: dict[str, Any] = {"facecolors": "white", "linewidths": 1.1}
    _scatter(axes, front, front.dominated, "complete", marker="o", edgecolors=INK, **hollow)
    _scatter(axes, front, front.promising, "pruned, worth training whole", marker="^", s=44,
             edgecolors=BEST, zorder=4, **hollow)  # fmt: skip
    costs = [front.cost_of(trial) for trial in front.trials]
    values = [front.value_of(trial) for trial in front.trials]
    end = axes.get_xlim()[1]
    steps = [*costs, end], [*values, values[-1]]
    axes.step(*steps, where="post", color=INK, linewidth=1.2)
    axes.fill_between(*steps, axes.get_ylim()[0], step="post", color=INK, alpha=0.05, linewidth=0)
    _scatter(axes, front, front.trials, "front", marker="o", color=INK, zorder=4)
    _scatter(axes, front, [front.best], "best score", marker="*", s=180, color=BEST, zorder=5)
    if front.target is not None and axes.get_xlim()[0] <= front.target <= end:
        target = f"target {short(front.target)}"
        axes.axvline(front.target, color=BEST, linestyle="--", linewidth=1, label=target)
    _name(axes, front)
    axes.set(xlabel=WORDS[front.cost], ylabel=f"validation {_words(front.metric)}")


def _limits(axes: "Axes", front: Front) -> None:
    """Show all costs, and of metrics those that matter: the front's and the better others'."""
    every = [*front.trials, *front.dominated, *front.promising, *front.pruned]
    costs = [front.cost_of(trial) for trial in every]
    ratio = (max(costs) / min(costs)) ** MARGIN * 1.01
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / ratio, max(costs) * ratio)
    round_ticks(axes)
    others = sorted(front.value_of(trial) for trial in front.dominated)
    better = others[len(others) // 4 :]
    values = [front.value_of(trial) for trial in (*front.trials, *front.promising)] + better
    room = (max(values) - min(values)) * MARGIN * 1.5 or 0.01
    axes.set_ylim(min(values) - room, max(values) + room)


def _scatter(
    axes: "Axes", front: Front, trials: Sequence[TrialInfo], label: str, **style: Any
) -> None:
    """Draw trials; those under the picture's end stand on it, as triangles that point down."""
    floor, ceiling = axes.get_ylim()
    inside = [trial for trial in trials if front.value_of(trial) >= floor]
    below = [trial for trial in trials if front.value_of(trial) < floor]
    if inside:
        costs = [front.cost_of(trial) for trial in inside]
        axes.scatter(costs, [front.value_of(t) for t in inside], label=label, **style)
    if below:
        at = floor + 0.015 * (ceiling - floor)
        style |= {"marker": "v"}
        costs = [front.cost_of(trial) for trial in below]
        axes.scatter(costs, [at] * len(below), label=f"{label}, lower", **style)


def _name(axes: "Axes", front: Front) -> None:
    """Write the front's trial numbers at its upper left, where no complete trial can be."""
    (left, right), (floor, ceiling) = axes.get_xlim(), axes.get_ylim()

    def share(trial: TrialInfo) -> tuple[float, float]:
        """Return where a trial stands, from 0 to 1 in both directions."""
        height = (front.value_of(trial) - floor) / (ceiling - floor)
        return log(front.cost_of(trial) / left) / log(right / left), height

    # A number may not stand on a pruned trial either, and it stands at the upper left of its own.
    placed = [(x + APART[0] / 2, y - APART[1] / 2) for x, y in map(share, front.promising)]
    best_first = sorted(front.trials, key=lambda trial: trial.number != front.best.number)
    for trial in best_first:
        at = front.cost_of(trial), front.value_of(trial)
        here = share(trial)
        if all(abs(here[0] - x) > APART[0] or abs(here[1] - y) > APART[1] for x, y in placed):
            placed.append(here)
            axes.annotate(str(trial.number), at, (-5, 5), textcoords="offset points", ha="right",
                          fontsize=8, color=INK, zorder=6)  # fmt: skip


def _growth(axes: "Axes", front: Front, spent: Sequence[float], label: str) -> None:
    """Draw the hypervolume over what was spent, from the first trial that has any."""
    steps = [(at, step.hypervolume) for at, step in zip(spent, front.growth, strict=True)]
    steps = [(at, area) for at, area in steps if area > 0] or steps
    axes.step(*zip(*steps, strict=True), where="post", color=INK, linewidth=1.6)
    axes.set_xlabel(label)
    axes.set_xlim(left=0)


def _unit(seconds: float) -> tuple[int, str]:
    """Return the unit of time in which people would tell a duration: its seconds and its name."""
    return next((size, name) for start, size, name in UNITS if seconds >= start)


def _words(metric: str) -> str:
    return metric.replace("_", " ")
