"""The pictures of a study and of a scaled family: facts in, files out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.quantities import short
from nas.report import figures
from nas.report.chart import Chart, Mark, Series, axis
from nas.report.chart_files import save_together
from nas.report.facts import LearningCurve
from nas.report.tradeoff import BEST, INK, MACS, PALE, TradeOff
from nas.training.metrics import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_TRAININGS = 5  # of a network, the best: more could not be told apart
Curve = Sequence[tuple[int, float]]  # each epoch with its metric


class Epoch(NamedTuple):
    """An epoch of a training: its metric on validation, its two losses; NaN for a missing one."""

    epoch: int
    metric: float
    train_loss: float
    validation_loss: float


class Growth(NamedTuple):
    """The hypervolume after a trial's end, and what the study had spent by then.

    An evaluation is a network that was trained, whatever it took. Trials reused from another study
    cost neither evaluations nor seconds of training.
    """

    trial: int
    evaluations: int
    seconds: float
    hypervolume: float


def draw_study(trials: TradeOff, curves: Mapping[int, Curve], title: str, path: Path) -> Path:
    """Draw metric over cost, and the learning curves by their trials' numbers; return the path."""
    shown = [LearningCurve(f"trial {n}", curve, n == trials.best) for n, curve in curves.items()]
    charts = [figures.trade_offs({"": trials}), figures.learning_curves(shown, trials.axis)]
    return save_together(charts, title, path)


def draw_training(
    curves: Mapping[str, Sequence[Epoch]], metric: str, title: str, path: Path
) -> Path:
    """Draw the learning curves of a network's trainings by their names; return the path.

    At the left stands the metric on validation, at the right the loss on the train images, which
    are augmented, and on validation. The first training stands out: its weights are handed over.
    """
    figure = _figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    curves = dict(list(curves.items())[:SHOWN_TRAININGS])
    for number, (name, epochs) in enumerate(curves.items()):
        color, width = (PALE, 1.2) if number else (BEST, 2.0)
        style: dict[str, Any] = {"color": color, "linewidth": width, "zorder": 3 - bool(number)}
        xs = [each.epoch for each in epochs]
        left.plot(xs, [each.metric for each in epochs], label=name, **style)
        right.plot(
            xs, [each.validation_loss for each in epochs], label=f"validation, {name}", **style
        )
        right.plot(
            xs,
            [each.train_loss for each in epochs],
            label=f"train, {name}",
            linestyle="--",
            **style,
        )
    left.set(ylabel=f"{words(metric)} on validation")
    right.set(ylabel="loss")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.legend(frameon=False, fontsize=8)
        _whole_numbers(axes)
        _plain(axes)
    figure.suptitle(title, color=INK, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def draw_front(
    trials: TradeOff, growth: Sequence[Growth], reference: str, title: str, path: Path
) -> Path:
    """Draw metric over cost, and how the hypervolume from a reference grew; return the path."""
    steps = [step for step in growth if step.hypervolume > 0] or growth
    size, label = figures.time_axis(step.seconds for step in growth)
    name = f"{words(trials.metric)} × ln {trials.cost}"
    charts = [figures.trade_offs({"": trials})]
    for about, spent in (
        (figures.NETWORKS, [float(step.evaluations) for step in steps]),
        (label, [step.seconds / size for step in steps]),
    ):
        marks = [Mark(x, step.hypervolume) for x, step in zip(spent, steps, strict=True)]
        charts.append(
            Chart(
                title=f"Hypervolume from {reference}",
                summary=f"The hypervolume over {about}",
                x=axis(about, [0.0, *spent], low=0.0, is_whole=about == figures.NETWORKS),
                y=axis(name, [mark.y for mark in marks]),
                series=[Series(marks=marks, shape="steps")],
            )
        )
    return save_together(charts, title, path)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # a second of import, and no window is ever opened

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def draw_trained_family(family: Mapping[str, Any], path: Path) -> Path:
    """Draw the metric of each trained member over its FLOPs; `family` as its JSON."""
    members = sorted(family["members"], key=lambda member: member["macs"])
    metric, costs = members[0]["training"]["metric"], [float(m["macs"]) for m in members]
    shown = {
        split: [
            Mark(cost, member["training"][key][metric], text=text.format(member["phi"]))
            for cost, member in zip(costs, members, strict=True)
        ]
        for split, key, text in (("validation", "metrics", "phi {:g}"), ("test", "test", ""))
    }
    series = [
        Series(label=label if shape == "dots" else "", marks=marks, shape=shape, color=color)
        for (label, marks), color in zip(shown.items(), ("best", "ink"), strict=True)
        for shape in ("line", "dots")
    ]
    chart = Chart(
        title="What each member costs and reaches",
        summary=f"{words(metric)} against {MACS}: {len(members)} members",
        x=axis(MACS, costs, is_log=True, write=short),
        y=axis(words(metric), [mark.y for marks in shown.values() for mark in marks]),
        series=series,
    )  # fmt: skip
    return save_together([chart], f"{family['source']}, scaled", path)


def draw_family(family: Mapping[str, Any], path: Path) -> None:
    """Draw each member's FLOPs over the source's, with the ideal line; `family` as its JSON."""
    members = sorted(family["members"], key=lambda member: member["phi"])
    phis = [member["phi"] for member in members]
    figure = _figure(7, 4.2)
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
    _plain(axes)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path)
