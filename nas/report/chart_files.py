"""A chart as SVG for a page, and as a file of its own: .svg, .png, .html or .csv."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.files import write
from nas.report.chart import (
    HEIGHT,
    TEXT,
    TITLE,
    WIDTH,
    Chart,
    ChartSheet,
    Dot,
    Item,
    Outline,
    Symbol,
    Words,
    layout,
)
from nas.report.markup import Markup, element, joined, own

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png", ".html", ".csv")
HEAD = 30.0  # height of the title above several charts
SHARP = 180.0  # pixels to 72 units of a sheet, of a .png
# By name: in the light theme and in print, in the dark theme. Text on paper has a contrast of at
# least 4.5 (WCAG 2.2 AA).
PALETTE: Mapping[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#0f172a"),
    "card": ("#f8fafc", "#1b2540"),
    "text": ("#1e293b", "#e2e8f0"),
    "muted": ("#526075", "#a3b1c6"),
    "grid": ("#e2e8f0", "#2b3852"),
    "ink": ("#334155", "#cbd5e1"),
    "best": ("#be123c", "#fb7185"),
    "pale": ("#94a3b8", "#64748b"),
    "good": ("#2f7fc1", "#3b82c4"),
    "bad": ("#e08a2c", "#b4690e"),
    "c1": ("#0072b2", "#56b4e9"),
    "c2": ("#b45309", "#f59e0b"),
    "c3": ("#00785a", "#34d399"),
    "c4": ("#a21caf", "#e879f9"),
    "c5": ("#57534e", "#d6d3d1"),
    "c6": ("#b91c1c", "#fca5a5"),
}
CATEGORIES = ("c1", "c2", "c3", "c4", "c5", "c6")
WEIGHTS = {"title": (TITLE, "bold"), "name": (TEXT, "normal"), "cell": (TEXT - 0.5, "normal")}
CORNERS: Mapping[Symbol, Sequence[tuple[float, float]]] = {
    "up": [(0, -1.1), (1, 0.8), (-1, 0.8)],
    "down": [(0, 1.1), (1, -0.8), (-1, -0.8)],
    "bar": [(-0.3, -1.6), (0.3, -1.6), (0.3, 1.6), (-0.3, 1.6)],
    "star": [
        (math.sin(turn * math.pi / 5) * r, -math.cos(turn * math.pi / 5) * r)
        for turn, r in zip(range(10), (1.3, 0.55) * 5, strict=True)
    ],
}
# The style of charts, on a page and alone; the colours are custom properties of the page.
STYLE = (
    ".chart text{font:11px system-ui,sans-serif;fill:var(--muted)}"
    ".chart .title{font-size:13px;font-weight:600;fill:var(--text)}"
    ".chart .cell{fill:var(--text);font-size:10.5px}"
    ".chart path{fill:none}.chart .area,.chart .m{fill:var(--c);stroke:none}"
    ".chart .ring{fill:var(--paper);stroke:var(--c);stroke-width:1.3}"
    ".chart .cross{fill:none;stroke:var(--c);stroke-width:1.3}"
    + "".join(f".chart .{name}{{--c:var(--{name})}}" for name in PALETTE)
    + ".chart .l{stroke:var(--c)}"
)


def colours() -> str:
    """Return the palette as custom properties: light, and dark where the reader's screen is so."""
    light, dark = (
        ";".join(f"--{name}:{pair[theme]}" for name, pair in PALETTE.items()) for theme in (0, 1)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def svg(chart: Chart, *, alone: bool = False) -> Markup:
    """Return a chart as an SVG element; `alone` it has its style with it.

    Where its marks are trials, it can be entered by the keyboard; the page's script does the rest.
    """
    sheet = layout(chart)
    opens = any(mark.trial is not None for each in chart.series for mark in each.marks)
    role = {"role": "group", "tabindex": 0} if opens and not alone else {"role": "img"}
    style = element("style", own(colours() + STYLE)) if alone else None
    return element(
        "svg", style, joined(*map(_element, sheet.items)), xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {sheet.height:g}", class_="chart", aria_label=chart.summary, **role,
    )  # fmt: skip


def _element(item: Item) -> Markup:
    if isinstance(item, Words):
        turn = f"rotate({item.turn:g} {_place(item.x)} {_place(item.y)})" if item.turn else None
        anchor = None if item.anchor == "start" else item.anchor
        kind = None if item.kind == "tick" else item.kind
        return element("text", item.text, x=_place(item.x), y=_place(item.y), class_=kind,
                       text_anchor=anchor, transform=turn)  # fmt: skip
    if isinstance(item, Outline):
        d = "M" + "L".join(f"{_place(x)} {_place(y)}" for x, y in item.places)
        kind, hint = ("area" if item.filled else "l"), item.hint or None
        shade = {"fill_opacity": f"{item.opacity:.2f}"} if item.opacity < 1 else {}
        line = {} if item.filled else {"stroke_width": f"{item.width:g}"}
        dash = "5 4" if item.dashed else None
        end = "Z" if item.filled else ""
        return element("path", d=d + end, class_=f"{kind} {item.color}", stroke_dasharray=dash,
                       data_t=hint, **shade, **line)  # fmt: skip
    facts: dict[str, object] = {
        "class_": f"m {item.color} {item.symbol}", "data_n": item.trial,
        "data_t": item.hint or None,
    }  # fmt: skip
    if item.symbol in ("disc", "ring"):
        at = {"cx": _place(item.x), "cy": _place(item.y), "r": f"{item.size:g}"}
        return element("circle", **at, **facts)
    return element("path", d=_outline(item), **facts)


def _outline(dot: Dot) -> str:
    """Return the path of a symbol that is no circle."""
    if dot.symbol == "cross":
        half, whole = dot.size * 0.8, _place(dot.size * 1.6)
        x, y = _place(dot.x - half), _place(dot.y - half)
        return f"M{x} {y}l{whole} {whole}m0 -{whole}l-{whole} {whole}"
    places = ((dot.x + dot.size * x, dot.y + dot.size * y) for x, y in CORNERS[dot.symbol])
    return f"M{'L'.join(f'{_place(x)} {_place(y)}' for x, y in places)}Z"


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def save(chart: Chart, path: Path, page: Callable[[Chart], str]) -> Path:
    """Write a chart into a file by its suffix; `page` makes the text of an .html file."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        write(path, png(chart))
    elif suffix == ".svg":
        write(path, svg(chart, alone=True).encode())
    elif suffix == ".csv":
        text = io.StringIO()
        csv.writer(text).writerows(chart.rows())
        write(path, text.getvalue().encode())
    else:
        write(path, page(chart).encode())
    return path


def png(*charts: Chart, title: str = "", sharp: float = SHARP, columns: int = 0) -> bytes:
    """Return charts as a PNG file, in the light theme: side by side, or in rows of `columns`."""
    from matplotlib.figure import Figure

    top = HEAD if title else 0.0
    sheets, width, height = _placed(charts, columns, top)
    figure = Figure((width / 72, height / 72), dpi=sharp, facecolor=PALETTE["paper"][0])
    figure.text(0.5, 1 - 0.6 * top / height, title, ha="center", va="center", parse_math=False,
                fontsize=TITLE, color=PALETTE["text"][0])  # fmt: skip
    for x, y, sheet in sheets:
        place = x / width, 1 - (y + sheet.height) / height
        axes = figure.add_axes((*place, WIDTH / width, sheet.height / height))
        axes.set(xlim=(0, WIDTH), ylim=(sheet.height, 0))
        axes.set_axis_off()
        for zorder, item in enumerate(sheet.items):
            _paint(axes, item, zorder)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def save_together(
    charts: Sequence[Chart | None], title: str, path: Path, *, columns: int = 0
) -> Path:
    """Write charts below a title, as .png or .svg: side by side, or in rows of `columns`."""
    shown = [chart for chart in charts if chart is not None]
    if path.suffix.lower() == ".png":
        write(path, png(*shown, title=title, sharp=SHARP * 2 / 3, columns=columns))
        return path
    sheets, width, height = _placed(shown, columns, HEAD)
    parts = [
        element("g", *map(_element, sheet.items), transform=f"translate({x:g} {y:g})")
        for x, y, sheet in sheets
    ]
    above = element("text", title, x=_place(width / 2), y=_place(HEAD * 0.75), class_="title",
                    text_anchor="middle")  # fmt: skip
    picture = element(
        "svg", element("style", own(colours() + STYLE)), above, *parts, role="img",
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {height:g}", class_="chart",
        aria_label="; ".join(chart.summary for chart in shown),
    )  # fmt: skip
    write(path, picture.encode())
    return path


def _placed(
    charts: Sequence[Chart], columns: int, top: float
) -> tuple[list[tuple[float, float, ChartSheet]], float, float]:
    """Return each chart's sheet with its place, and the width and the height of all."""
    sheets, columns = [layout(chart) for chart in charts], columns or max(1, len(charts))
    placed, y = [], top
    for row in (sheets[at : at + columns] for at in range(0, len(sheets), columns)):
        placed += [(number * WIDTH, y, sheet) for number, sheet in enumerate(row)]
        y += max(sheet.height for sheet in row)
    return placed, WIDTH * columns, y if sheets else top + HEIGHT


def _paint(axes: "Axes", item: Item, zorder: int) -> None:
    """Put an item on matplotlib's axes; those that come later lie above."""
    if isinstance(item, Words):
        size, weight = WEIGHTS.get(item.kind, (TEXT, "normal"))
        color = PALETTE["text" if item.kind in ("title", "cell") else "muted"][0]
        at = {"start": "left", "middle": "center", "end": "right"}[item.anchor]
        axes.text(item.x, item.y, item.text, fontsize=size * 0.88, fontweight=weight, color=color,
                  ha=at, va="baseline", rotation=-item.turn, rotation_mode="anchor",
                  parse_math=False, zorder=zorder)  # fmt: skip
        return
    color = PALETTE[item.color][0]
    if isinstance(item, Outline):
        xs, ys = zip(*item.places, strict=True)
        if item.filled:
            axes.fill(xs, ys, color=color, alpha=item.opacity, linewidth=0, zorder=zorder)
        else:
            dash = (0, (5, 4)) if item.dashed else "solid"
            axes.plot(xs, ys, color=color, linewidth=item.width, linestyle=dash, zorder=zorder)
        return
    symbols: dict[Symbol, Any] = {
        "disc": "o", "ring": "o", "cross": "x", "up": "^", "down": "v", "star": "*", "bar": "|",
    }  # fmt: skip
    face = PALETTE["paper"][0] if item.symbol == "ring" else color
    size = item.size * (2.6 if item.symbol == "star" else 2)
    axes.plot([item.x], [item.y], marker=symbols[item.symbol], markersize=size, color=color,
              markeredgewidth=1.2, markerfacecolor=face, zorder=zorder)  # fmt: skip
