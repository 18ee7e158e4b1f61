"""The pictures of a study and of a scaled family: facts in, files out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.quantities import short
from nas.report.tradeoff import BEST, INK, PALE, TradeOff, draw, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

UNITS = ((7200, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))  # from, size, name
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

    def at_right(half: "SubFigure") -> list["Axes"]:
        axes = half.subplots()
        for number, curve in curves.items():
            best = number == trials.best
            style: dict[str, Any] = (
                {"color": BEST, "linewidth": 2, "zorder": 3} if best else
                {"color": PALE, "linewidth": 0.9, "zorder": 2}
            )  # fmt: skip
            axes.plot(*zip(*curve, strict=True), **style)
        _whole_numbers(axes)
        axes.set(xlabel="epoch", ylabel=trials.axis)
        axes.set_title("Learning curves", fontsize=10)
        return [axes]

    return _halves(trials, at_right, title, path)


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

    def at_right(half: "SubFigure") -> list["Axes"]:
        by_evaluations, by_time = half.subplots(2, 1, sharey=True)
        seconds = growth[-1].seconds if growth else 0
        size, unit = next((size, name) for start, size, name in UNITS if seconds >= start)
        steps = [step for step in growth if step.hypervolume > 0] or growth
        areas = [step.hypervolume for step in steps]
        for axes, spent, label in (
            (by_evaluations, [step.evaluations for step in steps], "evaluations"),
            (by_time, [s.seconds / size for s in steps],
             f"{unit} of training, all workers together"),
        ):  # fmt: skip
            axes.step(spent, areas, where="post", color=INK, linewidth=1.6)
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
        _whole_numbers(by_evaluations)
        by_evaluations.set_title(f"Hypervolume\nfrom {reference}", fontsize=10)
        half.supylabel(f"{words(trials.metric)} × ln {trials.cost}", fontsize=10)
        return [by_evaluations, by_time]

    return _halves(trials, at_right, title, path)


def _halves(
    trials: TradeOff, at_right: "Callable[[SubFigure], list[Axes]]", title: str, path: Path
) -> Path:
    """Write a picture, .png or .svg: metric over cost at the left, something else at the right."""
    figure = _figure(11, 5.2)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.5, 1))[0]
    axes = left.subplots()
    draw(axes, trials)
    left.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3,
                fontsize=8, markerscale=0.8, frameon=False)  # fmt: skip
    for each in (axes, *at_right(right)):
        _plain(each)
    figure.suptitle(title, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # a second of import, and no window is ever opened

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


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
