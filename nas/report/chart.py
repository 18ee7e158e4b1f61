"""A chart as data, and its layout: words, lines and dots on a sheet, the same for SVG and for PNG.

A chart of a page is SVG whose colours are the page's, so that it follows the reader's light or dark
theme and the printer; `nas.report.chart_files` writes a chart alone into a file.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from nas.quantities import short

WIDTH, HEIGHT = 480.0, 330.0  # the units of a sheet; on a desk about a pixel each
TOP, RIGHT, BELOW = 34.0, 20.0, 42.0  # margins; below there is the axis' name
TEXT, TITLE = 11.0, 13.0
LETTER = 0.56  # of a text's size: the width of a letter, rather too much
LEAST_LEFT, MOST_LEFT = 42.0, 180.0
ROW = 16.0  # of the legend, of bars and of cells at least
APART = 1.6 * TEXT, TEXT  # the texts of dots that are nearer would touch
SAMPLE = 14.0  # width of a sample in the legend
MARGIN = 0.05  # of an axis, on either side of its values
FINEST = 1e-9  # what an axis can tell apart
TICKS = 5
DEEPEST = 0.5  # opacity of the darkest cell: its text can still be read
NARROW = 3  # ratio of a logarithmic axis' ends under which evenly spaced ticks will do
STEPS = (1, 2, 2.5, 5, 10)

Shape = Literal["dots", "line", "steps", "bars", "cells"]
Symbol = Literal["disc", "ring", "cross", "up", "down", "star", "bar"]


class Mark(NamedTuple):
    """A place in a chart; `trial` can be opened, `hint` is shown where a reader points to it.

    A dot's `text` stands at its upper left, where it touches no earlier one. A cell has a `text`,
    and a `shade` from -1 (worst) over 0 (paper) to 1 (best).
    """

    x: float
    y: float
    hint: str = ""
    trial: int | None = None
    text: str = ""
    shade: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Series:
    """Marks that look alike; without a label they are not in the legend."""

    label: str = ""
    marks: Sequence[Mark]
    shape: Shape = "dots"
    color: str = "ink"
    symbol: Symbol = "disc"
    size: float = 3.2
    width: float = 1.6
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis from `low` to `high`; one of names has a tick for each, the first at 0."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a value stands, from 0 to 1."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure; `summary` says in a sentence what it shows, for those who do not see it."""

    title: str
    summary: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    height: float = HEIGHT

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the chart's numbers as a table, its head first."""
        yield ("series", self.x.label, self.y.label, "note", "trial")
        rows, columns = dict(self.y.ticks), dict(self.x.ticks)
        has_names = any(each.shape in ("bars", "cells") for each in self.series)
        for series in self.series:
            for mark in series.marks:
                x, y = (mark.x, mark.y)
                place = (columns.get(x, x), rows.get(y, y)) if has_names else (x, y)
                trial = "" if mark.trial is None else mark.trial
                yield (series.label, *place, mark.text or mark.hint, trial)


def axis(
    label: str,
    values: Iterable[float],
    *,
    is_log: bool = False,
    is_whole: bool = False,
    write: Callable[[float], str] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Axis:
    """Return an axis that shows all values with some room, or from `low` to `high`, with ticks.

    An axis of counts, `is_whole`, has ticks at whole numbers alone.
    """
    known = list(values) or [0.0, 1.0]
    if is_log:
        ratio = max((max(known) / min(known)) ** MARGIN, 1.03)
        ends = min(known) / ratio, max(known) * ratio
    else:
        rooms = (max(known) - min(known)) * MARGIN, abs(max(known)) * MARGIN, 0.5
        room = next(room for room in rooms if room > FINEST)
        ends = min(known) - room, max(known) + room
    begin, end = ends[0] if low is None else low, ends[1] if high is None else high
    ticks = list(_log_ticks(begin, end) if is_log else _even_ticks(begin, end))
    if is_whole:
        ticks = [round(tick) for tick in ticks if abs(tick - round(tick)) < 1e-9]
    write = write or _writer(ticks)
    return Axis(
        label=label, low=begin, high=end, is_log=is_log, ticks=[(t, write(t)) for t in ticks]
    )


def names(label: str, texts: Sequence[str], *, down: bool = False) -> Axis:
    """Return an axis of names, from left to right, or `down` from the top."""
    ends = (len(texts) - 0.5, -0.5) if down else (-0.5, len(texts) - 0.5)
    return Axis(label=label, low=ends[0], high=ends[1], ticks=list(enumerate(texts)))


def _even_ticks(low: float, high: float) -> Iterator[float]:
    """Yield about five round numbers between two."""
    raw = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = power * next(each for each in STEPS if each * power >= raw * 0.999)
    number = math.ceil(low / step - 1e-9)
    while number * step <= high + step * 1e-9:
        yield min(max(number * step, low), high)  # the last digit may lie outside
        number += 1


def _log_ticks(low: float, high: float) -> Iterator[float]:
    """Yield round numbers between two, about equally far apart on a logarithmic axis."""
    if high / low < NARROW:
        yield from _even_ticks(low, high)
        return
    steps = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    yield from (
        s * 10.0**power for power in powers for s in steps if low <= s * 10.0**power <= high
    )


def _writer(ticks: Sequence[float]) -> Callable[[float], str]:
    """Return what writes ticks: as many digits as tell them apart, thousands with their letter."""
    if not ticks or max(map(abs, ticks)) >= 10_000:
        return short
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += round(step * 10**digits, 6) % 1 > 0  # a step of 2.5
    return lambda value: f"{value:.{digits}f}"


class Words(NamedTuple):
    """A text on a sheet; `turn` is in degrees."""

    x: float
    y: float
    text: str
    kind: str = "tick"  # tick, name, title, cell
    anchor: Literal["start", "middle", "end"] = "middle"
    turn: float = 0.0


class Outline(NamedTuple):
    """A line through places, or an area."""

    places: Sequence[tuple[float, float]]
    color: str
    width: float = 1.0
    dashed: bool = False
    filled: bool = False
    hint: str = ""
    opacity: float = 1.0


class Dot(NamedTuple):
    """A symbol on a sheet."""

    x: float
    y: float
    symbol: Symbol
    color: str
    size: float
    hint: str = ""
    trial: int | None = None


Item = Words | Outline | Dot


@dataclass(frozen=True)
class ChartSheet:
    """The items of a chart, and the height that they take."""

    items: Sequence[Item]
    height: float


def layout(chart: Chart) -> ChartSheet:
    """Place a chart's items on a sheet."""
    legend = list(_legend(chart))
    rows = 1 + max((row for row, *_ in legend), default=-1)
    turned = _is_turned(chart.x)
    longest = max((len(text) for _, text in chart.x.ticks), default=0)
    below = BELOW + (min(longest, 16) * TEXT * LETTER * 0.7 if turned else 0)
    box = _Box(
        left=min(MOST_LEFT, max(LEAST_LEFT, _tick_width(chart.y) + 26)),
        top=TOP,
        right=WIDTH - RIGHT,
        bottom=chart.height - below,
        chart=chart,
    )
    items: list[Item] = [Words(8, 19, chart.title, "title", "start")]
    items += _frame(box, turned, below)
    for series in chart.series:
        items += _SHAPES[series.shape](box, series)
    items += _legend_items(legend, chart.height + 4)
    return ChartSheet(items, chart.height + (rows * ROW + 6 if rows else 0))


@dataclass(frozen=True)
class _Box:
    """The part of a sheet between the axes."""

    left: float
    top: float
    right: float
    bottom: float
    chart: Chart

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of two values; those beyond an axis' end stand on its end."""
        across, up = (
            min(1.0, max(0.0, axis.place(value)))
            for axis, value in ((self.chart.x, x), (self.chart.y, y))
        )
        return (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )


def _tick_width(of: Axis) -> float:
    return max((len(text) for _, text in of.ticks), default=0) * TEXT * LETTER


def _is_turned(of: Axis) -> bool:
    """Tell whether the names below do not fit side by side."""
    room = (WIDTH - LEAST_LEFT * 2 - RIGHT) / max(1, len(of.ticks))
    return len(of.ticks) > 1 and _tick_width(of) + 4 > room


def _frame(box: _Box, turned: bool, below: float) -> Iterator[Item]:
    """Yield grid, ticks and the axes' names."""
    chart = box.chart
    for value, text in chart.x.ticks:
        x, _ = box.at(value, chart.y.low)
        yield Outline([(x, box.top), (x, box.bottom)], "grid", 0.7)
        if turned:
            yield Words(x + 3, box.bottom + 12, _cut(text, 16), "tick", "end", -40)
        else:
            yield Words(x, box.bottom + 14, text)
    for value, text in chart.y.ticks:
        _, y = box.at(chart.x.low, value)
        yield Outline([(box.left, y), (box.right, y)], "grid", 0.7)
        most = int((box.left - 24) / (TEXT * LETTER))
        yield Words(box.left - 6, y + 0.35 * TEXT, _cut(text, most), "tick", "end")
    middle = (box.left + box.right) / 2
    yield Words(middle, box.bottom + below - 10, chart.x.label, "name")
    yield Words(12, (box.top + box.bottom) / 2, chart.y.label, "name", "middle", -90)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"


def _dots(box: _Box, series: Series) -> Iterator[Item]:
    named: list[tuple[float, float]] = []
    for mark in series.marks:
        x, y = box.at(mark.x, mark.y)
        below = box.chart.y.place(mark.y) < 0
        symbol: Symbol = "down" if below else series.symbol
        yield Dot(x, y, symbol, series.color, series.size, mark.hint, mark.trial)
        if mark.text and all(abs(x - a) > APART[0] or abs(y - b) > APART[1] for a, b in named):
            named.append((x, y))
            yield Words(x - 5, y - 5, mark.text, "tick", "end")


def _line(box: _Box, series: Series) -> Iterator[Item]:
    places = [box.at(mark.x, mark.y) for mark in series.marks]
    hint = next((mark.hint for mark in series.marks if mark.hint), "")
    if places:  # a line without any is in the legend alone
        yield Outline(places, series.color, series.width, series.dashed, hint=hint)


def _steps(box: _Box, series: Series) -> Iterator[Item]:
    """Yield a line that stays at a value until the next one."""
    marks: list[Mark] = []
    for mark in series.marks:
        if marks:
            marks.append(mark._replace(y=marks[-1].y))
        marks.append(mark)
    yield from _line(box, replace(series, marks=marks))


def _bars(box: _Box, series: Series) -> Iterator[Item]:
    """Yield bars from the left; y is the number of a name."""
    height = 0.34 * abs(box.at(0, 1)[1] - box.at(0, 0)[1]) if len(box.chart.y.ticks) > 1 else ROW
    for mark in series.marks:
        (end, y), (start, _) = box.at(mark.x, mark.y), box.at(max(0.0, box.chart.x.low), mark.y)
        corners = [(start, y - height), (end, y - height), (end, y + height), (start, y + height)]
        yield Outline(corners, series.color, filled=True, hint=mark.hint)


def _cells(box: _Box, series: Series) -> Iterator[Item]:
    """Yield shaded cells with their texts."""
    for mark in series.marks:
        (left, top), (right, bottom) = (
            box.at(mark.x - 0.48, mark.y - 0.46),
            box.at(mark.x + 0.48, mark.y + 0.46),
        )
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        color = "good" if mark.shade >= 0 else "bad"
        yield Outline(
            corners, color, filled=True, hint=mark.hint, opacity=DEEPEST * abs(mark.shade)
        )
        if mark.text:
            x, y = box.at(mark.x, mark.y)
            yield Words(x, y + 0.35 * TEXT, mark.text, "cell")


_SHAPES: dict[Shape, Callable[[_Box, Series], Iterator[Item]]] = {
    "dots": _dots,
    "line": _line,
    "steps": _steps,
    "bars": _bars,
    "cells": _cells,
}


def _legend(chart: Chart) -> Iterator[tuple[int, float, Series]]:
    """Yield the row and the place of each labelled series of the legend."""
    row, x = 0, LEAST_LEFT
    for series in chart.series:
        if not series.label:
            continue
        width = SAMPLE + 8 + len(series.label) * TEXT * LETTER + 12
        if x > LEAST_LEFT and x + width > WIDTH:
            row, x = row + 1, LEAST_LEFT
        yield row, x, series
        x += width


def _legend_items(legend: Sequence[tuple[int, float, Series]], top: float) -> Iterator[Item]:
    for row, x, series in legend:
        y = top + row * ROW + 4
        if series.shape == "dots":
            yield Dot(x + SAMPLE / 2, y, series.symbol, series.color, min(series.size, 5.0))
        else:
            ends = [(x, y), (x + SAMPLE, y)]
            width = 6.0 if series.shape in ("bars", "cells") else series.width
            yield Outline(ends, series.color, width, series.dashed)
        yield Words(x + SAMPLE + 5, y + 0.35 * TEXT, series.label, "tick", "start")
