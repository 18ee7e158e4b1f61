"""The figures of a study, one function each: facts in, a chart out, or None without facts."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nas.quantities import short
from nas.report import predictions
from nas.report.chart import HEIGHT, Chart, Mark, Series, Symbol, axis, names
from nas.report.chart_files import CATEGORIES
from nas.report.effects import Effect, effects, ordered
from nas.report.facts import LearningCurve, Overview, ShownTrial, TrialEnd
from nas.report.tradeoff import Spot, TradeOff
from nas.training.metrics import words

UNITS = ((7200, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))  # from, size, name
MOST_BARS = 16  # parameters, the most important
MOST_ROWS = 12  # stages, values: a larger matrix has no numbers
TESTED = " of the test split"
NETWORKS = "networks trained"  # an axis of counts
LINE = 22.0  # height of a bar or a row of cells
SYMBOLS: Mapping[str, tuple[Symbol, float]] = {  # of the markers that plotly draws
    "x": ("cross", 3.0), "circle-open": ("ring", 3.4), "circle": ("disc", 3.8),
    "triangle-up-open": ("up", 3.6), "star": ("star", 7.5),
}  # fmt: skip


def figures(facts: Overview) -> dict[str, Chart]:
    """Return all charts of a study that have facts to show, by the names of `nas plot`."""
    made: dict[str, Chart | None] = {name: make(facts) for name, make in FIGURES.items()}
    made |= {f"effect-{effect[0].kind}": effect_of(effect) for effect in by_kind(facts)}
    return {name: chart for name, chart in made.items() if chart is not None}


def trade_off(facts: Overview) -> Chart | None:
    """Show metric over cost with front, target and majority rate; every trial can be opened."""
    return trade_offs({"": facts.trade_off})


def trade_offs(studies: Mapping[str, TradeOff]) -> Chart | None:
    """Show metric over cost of one study, or of several by their names, on the same axes."""
    shown = {name: figure for name, figure in studies.items() if not figure.is_empty}
    if not shown:
        return None
    first, *_ = shown.values()
    lows, highs = zip(*(figure.values for figure in shown.values()), strict=True)
    low, high = min(lows), max(highs)
    ends = [end for figure in shown.values() for end in figure.costs]
    majority = first.majority
    if majority is not None and 2 * low - high < majority < low:
        low = majority - 0.04 * (high - low)
    y = axis(first.axis, (), low=low, high=high)
    x = axis(first.cost, ends, is_log=True, write=short, low=min(ends), high=max(ends))
    series: list[Series] = []
    if len(shown) == 1:
        series += _layers(first)
    else:
        for (name, figure), color in zip(shown.items(), CATEGORIES * 9, strict=False):
            series += _compared(name, figure, color, x.high)
    targets = {figure.target for figure in shown.values() if figure.target is not None}
    for target in sorted(targets):
        ends_of = [Mark(target, low), Mark(target, high)]
        label = f"target {short(target)}"
        series.insert(0, Series(label=label, marks=ends_of, shape="line", color="best",
                                width=1.2, dashed=True))  # fmt: skip
    if majority is not None and low < majority < high:
        label = f"majority class {majority:.3f}"
        level = [Mark(x.low, majority), Mark(x.high, majority)]
        series.insert(0, Series(label=label, marks=level, shape="line", color="pale", dashed=True))
    count = sum(len(figure.front) for figure in shown.values())
    return Chart(
        title="What each network costs and reaches",
        summary=f"{words(first.metric)} against {first.cost}: {count} networks on the front",
        x=x, y=y, series=series, height=HEIGHT + 20,
    )  # fmt: skip


def _layers(figure: TradeOff) -> Iterator[Series]:
    """Yield the trials by their markers, and the line of the front below them."""
    yield _front_line(figure.front, "ink", figure.costs[1])
    for layer in figure.layers:
        if layer.spots:
            symbol, size = SYMBOLS[layer.symbol]
            # The front's trials have their numbers, the winner's first: of two that touch it stays.
            named = layer.spots is figure.front
            spots = sorted(layer.spots, key=lambda s: s.number != figure.best)
            marks = [
                Mark(s.cost, s.value, trial=s.number, text=str(s.number) if named else "")
                for s in spots
            ]
            yield Series(
                label=layer.label, marks=marks, color=layer.color, symbol=symbol, size=size
            )


def _front_line(front: Sequence[Spot], color: str, end: float) -> Series:
    marks = [Mark(spot.cost, spot.value) for spot in front]
    marks += [Mark(end, front[-1].value)] if front else []
    return Series(marks=marks, shape="steps", color=color, width=1.4)


def _compared(name: str, figure: TradeOff, color: str, end: float) -> Iterator[Series]:
    """Yield a study's front and winner in its colour, its other complete trials as rings."""

    def marks(spots: Sequence[Spot]) -> list[Mark]:
        return [
            Mark(s.cost, s.value, f"{name}, trial {s.number}: {s.value:.4f} at {short(s.cost)}")
            for s in spots
        ]

    yield _front_line(figure.front, color, end)
    yield Series(marks=marks(figure.dominated), color=color, symbol="ring", size=2.6)
    yield Series(label=name, marks=marks(figure.front), color=color)
    best = [spot for spot in (*figure.front, *figure.dominated) if spot.number == figure.best]
    yield Series(marks=marks(best), color=color, symbol="star", size=8)


def progress(facts: Overview) -> Chart | None:
    """Show each complete trial's score and the best so far, over the networks trained."""
    return progress_by_networks(_with_control(facts), facts.networks)


def progress_by_time(facts: Overview) -> Chart | None:
    """Show each complete trial's score and the best so far, over the seconds of training."""
    return progress_by_seconds(_with_control(facts), facts.networks)


def progress_by_networks(
    studies: Mapping[str, Sequence[TrialEnd]], networks: Sequence[ShownTrial] = ()
) -> Chart | None:
    """Show the best score of studies by their names over the networks trained."""
    title = "Best score over the networks trained"
    return _progress(title, studies, NETWORKS, lambda end: end.evaluations, networks)


def progress_by_seconds(
    studies: Mapping[str, Sequence[TrialEnd]], networks: Sequence[ShownTrial] = ()
) -> Chart | None:
    """Show the best score of studies by their names over the seconds of training."""
    size, label = time_axis(step.seconds for steps in studies.values() for step in steps)
    title = "Best score over the time of training"
    return _progress(title, studies, label, lambda end: end.seconds / size, networks)


def time_axis(seconds: Iterable[float]) -> tuple[int, str]:
    """Return the unit in seconds, and the label, of an axis of the time of training."""
    most = max(seconds, default=0.0)
    size, unit = next((size, name) for start, size, name in UNITS if most >= start)
    return size, f"{unit} of training, all workers together"


def _with_control(facts: Overview) -> dict[str, Sequence[TrialEnd]]:
    """Return the study's steps, unnamed, and those of the random search beside it."""
    control = {facts.control.study: facts.control.steps} if facts.control else {}
    return {"": facts.steps, **control}


def _progress(
    title: str,
    studies: Mapping[str, Sequence[TrialEnd]],
    label: str,
    spent: Callable[[TrialEnd], float],
    networks: Sequence[ShownTrial],
) -> Chart | None:
    """Show the best score so far of studies by their names, an unnamed one's trials as dots too."""
    shown = {name: [s for s in steps if s.score is not None] for name, steps in studies.items()}
    shown = {name: steps for name, steps in shown.items() if steps}
    if not shown:
        return None
    present = {network.trial for network in networks}
    series = []
    for (name, steps), color in zip(shown.items(), ("best", *CATEGORIES * 9), strict=False):
        end = spent(studies[name][-1])
        best = [*_best_so_far(steps, spent)]
        if not name:
            marks = [
                Mark(spent(s), s.score or 0.0, f"trial {s.trial}: score {s.score:.4f}",
                     s.trial if s.trial in present else None)
                for s in steps
            ]  # fmt: skip
            series.append(Series(label="complete trials", marks=marks, color="pale", size=2.6))
        line = [*best, Mark(end, best[-1].y)]
        label_of = f"best of {name}" if name else "best so far"
        series.append(Series(label=label_of, marks=line, shape="steps", color=color, width=2))
    scores = sorted(s.score or 0.0 for steps in shown.values() for s in steps)
    floor = scores[len(scores) // 10]  # a few trials that learnt nothing flatten no curve
    xs = [spent(steps[-1]) for steps in studies.values() if steps]
    y = axis("score", [floor, scores[-1]])
    return Chart(
        title=title,
        summary=f"The best score so far rises to {scores[-1]:.4f}",
        x=axis(label, [0.0, *xs], low=0.0, is_whole=label == NETWORKS), y=y, series=series,
    )  # fmt: skip


def _best_so_far(steps: Sequence[TrialEnd], spent: Callable[[TrialEnd], float]) -> Iterator[Mark]:
    best = -float("inf")
    for step in steps:
        if step.score is not None and step.score > best:
            best = step.score
            yield Mark(spent(step), best, f"trial {step.trial}: score {best:.4f}")


def importance(facts: Overview) -> Chart | None:
    """Show how much of the scores' variance each choice explains, by itself."""
    shown = [effect for effect in effects(facts.choices) if effect.share >= 0.005][:MOST_BARS]
    if not shown:
        return None
    marks = [
        Mark(effect.share, row, f"{effect.parameter}: {effect.share:.0%} of the variance")
        for row, effect in enumerate(shown)
    ]
    high = max(0.1, *(effect.share for effect in shown)) * 1.05
    return Chart(
        title="What mattered",
        summary=f"The choice that explains most of the scores' variance is {shown[0].parameter}",
        x=axis("share of the scores' variance, alone", (), low=0.0, high=high,
               write=lambda value: f"{value:.0%}"),
        y=names("", [effect.parameter for effect in shown], down=True),
        series=[Series(marks=marks, shape="bars", color="good")],
        height=_height(len(shown)),
    )  # fmt: skip


def by_kind(facts: Overview) -> list[list[Effect]]:
    """Return the effects by the option that they are about, the options that matter most first."""
    kinds: dict[str, list[Effect]] = {}
    for effect in effects(facts.choices):
        kinds.setdefault(effect.kind, []).append(effect)
    staged = [[e for e in group if e.stage] for group in kinds.values()]
    return sorted((group for group in staged if group), key=lambda g: -sum(e.share for e in g))


def effect_of(group: Sequence[Effect]) -> Chart | None:
    """Show by stage how the score goes with an option's values, over the mean of all trials."""
    rows = sorted(group, key=lambda effect: effect.stage)[:MOST_ROWS]
    columns = ordered({level.value: [] for effect in rows for level in effect.levels})
    largest = max(abs(level.effect) for effect in rows for level in effect.levels)
    if not largest or len(columns) > MOST_ROWS:
        return None
    texts = [_value(value) for value in columns]
    marks = [
        Mark(columns.index(level.value), row, f"{effect.parameter} = {_value(level.value)}: "
             f"{level.effect:+.4f}, {level.trials} trials",
             text=f"{100 * level.effect:+.1f}", shade=level.effect / largest)
        for row, effect in enumerate(rows)
        for level in effect.levels
    ]  # fmt: skip
    name = words(rows[0].kind).removesuffix(" ratio")
    return Chart(
        title=f"{'SE' if name == 'se' else name.capitalize()} by stage",
        summary=f"Mean score by {name} and stage, in hundredths over the mean of all trials",
        x=names(f"{words(rows[0].kind)}; cells: score over the mean, in hundredths", texts),
        y=names("", [effect.stage for effect in rows], down=True),
        series=[Series(marks=marks, shape="cells")],
        height=_height(len(rows)),
    )  # fmt: skip


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _height(rows: int) -> float:
    return 34 + 42 + LINE * max(2, rows) + 14


def curves(facts: Overview) -> Chart | None:
    """Show learning curves: the newest trials', the winner's and its trainings in full."""
    return learning_curves(facts.curves, facts.trade_off.axis)


def learning_curves(
    given: Sequence[LearningCurve], label: str, best: str = "the winner"
) -> Chart | None:
    """Show the metric, whose axis has this label, after each epoch; the `best` curves stand out."""
    shown = [curve for curve in given if len(curve.points) > 1]
    if not shown:
        return None
    series = []
    for curve in sorted(shown, key=lambda curve: curve.is_best):
        last = curve.points[-1][1]
        marks = [Mark(epoch, value, f"{curve.name}: {last:.4f} at the end")
                 for epoch, value in curve.points]  # fmt: skip
        color, width = ("best", 2.2) if curve.is_best else ("pale", 1.1)
        series.append(Series(marks=marks, shape="line", color=color, width=width))
    labels = {"pale": "trials", "best": best}
    for color in dict.fromkeys(each.color for each in series):
        series.append(Series(label=labels[color], marks=(), shape="line", color=color, width=2.2))
    epochs = [epoch for curve in shown for epoch, _ in curve.points]
    values = [value for curve in shown for _, value in curve.points]
    return Chart(
        title="Learning curves",
        summary=f"{len(shown)} learning curves of up to {max(epochs)} epochs",
        x=axis("epoch", epochs, low=min(epochs), high=max(epochs), is_whole=True),
        y=axis(label, values), series=series,
    )  # fmt: skip


def finalists(facts: Overview) -> Chart | None:
    """Show each finalist's trainings, their mean and its 95 % interval over the seeds."""
    shown = facts.finalists
    if not shown:
        return None
    present = {network.trial for network in facts.networks}
    series: list[Series] = []
    for row, each in enumerate(shown):
        color = "best" if "winner" in each.standing else "ink"
        trial = each.trial if each.trial in present else None
        series += standing(row, f"trial {each.trial}", each.values, each.interval, color, trial)
    values = [value for each in shown for value in (*each.values, *(each.interval or ()))]
    labels = [f"trial {each.trial}, {short(each.macs)}" for each in shown]
    series += standing_legend()
    best = shown[0]
    return Chart(
        title="Finalists, trained in full",
        summary=f"{len(shown)} finalists; the winner, trial {best.trial}, reaches {best.mean:.4f}",
        x=axis(facts.trade_off.axis.partition(",")[0], values),
        y=names("", labels, down=True), series=series, height=_height(len(shown)),
    )  # fmt: skip


def standing(
    row: int,
    name: str,
    values: Sequence[float],
    interval: tuple[float, float] | None,
    color: str = "ink",
    trial: int | None = None,
) -> Iterator[Series]:
    """Yield a row of a chart: a network's trainings, their mean and its 95 % interval."""
    if interval:
        hint = "{}: {:.4f} to {:.4f}".format(name, *interval)
        ends = [Mark(end, row, hint) for end in interval]
        yield Series(marks=ends, shape="line", color=color, width=2.4)
    seeds = [Mark(value, row, f"{name}, a seed: {value:.4f}") for value in values]
    yield Series(marks=seeds, color=color, symbol="ring", size=3.6)
    mean = statistics.fmean(values)
    yield Series(
        marks=[Mark(mean, row, f"{name}: mean {mean:.4f}", trial)],
        color=color, symbol="bar", size=5,
    )  # fmt: skip


def standing_legend(one: str = "a seed") -> list[Series]:
    """Return the legend of such rows, where a ring is `one`."""
    ring = Series(label=one, marks=(), symbol="ring")
    return [ring, Series(label="mean, 95 % interval", marks=(), symbol="bar")]


def confusion(facts: Overview) -> Chart | None:
    """Show the winner's answers on the test split by label, as shares of the label's images."""
    return predictions.confusion(facts.tested.report, TESTED) if facts.tested else None


def roc(facts: Overview) -> Chart | None:
    """Show the ROC of each class against the rest on the test split; of two that of the second."""
    return predictions.roc(facts.tested.report, TESTED) if facts.tested else None


FIGURES: Mapping[str, Callable[[Overview], Chart | None]] = {
    "tradeoff": trade_off,
    "progress": progress,
    "time": progress_by_time,
    "importance": importance,
    "curves": curves,
    "finalists": finalists,
    "confusion": confusion,
    "roc": roc,
}
