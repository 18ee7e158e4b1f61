"""One architecture at a glance: a slice per layer, kernel groups as coloured bars, widths to scale.

Equal layers in a row are one box, boxes stand under their stage, and a table below lists their
options. Only a block's arguments and options are drawn, so that a new block needs no edit here.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas import blocks, network
from nas.architecture import Architecture, Row, Value
from nas.cost import Cost
from nas.quantities import short
from nas.report.canvas import Canvas, Fill, Pixels, Scalable, Stroke, Style, Vectors
from nas.report.markup import Markup
from nas.report.stages import Group, kernel_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, PALE, RULE, BAND = "#1e293b", "#64748b", "#94a3b8", "#dbe3ec", "#f1f5f9"
ACCENT, NO_KERNEL, MACS, PARAMS = "#be123c", "#ffffff", "#334155", "#8aa0bb"
# Light to dark with the kernel's size up to 13, so that a colour-blind reader has the order; what
# is larger is blue, which no colour-blindness mixes up with orange.
COLOURS = {
    1: "#cbd5e1", 3: "#fcd667", 5: "#f5934a", 7: "#d64a5b", 9: "#93307f", 11: "#56289a",
    13: "#1f1147", 15: "#0c4a7a", 17: "#1f7fb5", 19: "#63b3dc", 21: "#b9e0f2",
}  # fmt: skip
DARK_TEXT_ON = {1, 3, 5, 19, 21}
# Inches, and points for text.
TALLEST, SLICE, THINNEST, SLICES, GAP, NARROWEST, MARGIN = 2.2, 0.3, 0.06, 7.5, 0.14, 0.36, 0.12
LINE, BARS, GUTTER, WIDEST_MIN, CUT = 0.19, 0.42, 1.0, 7.4, 1.12
SMALL, NORMAL, LARGE = 7.0, 8.0, 13.0
TRAINING = ("drop_path", "dropout")  # they change a training and leave the network as it is
DRAWN = ("kernels", "partition", *TRAINING)  # the bars show them, so the table does not


@dataclass(frozen=True)
class Layer:
    """One row with its kernel groups, its skip, its output's size in pixels, and its cost."""

    row: Row
    in_channels: int
    size: int
    groups: tuple[Group, ...]
    skip: bool
    cost: Cost


@dataclass(frozen=True)
class Box:
    """A run of equal layers: `height` and `slice` (the width of one layer) to scale, in inches.

    The box stands in the middle of a column that begins at `x` and is `pitch` wide. A box of
    the head that is wider than all the body is `cut`: the scale is the body's.
    """

    part: str
    layers: tuple[Layer, ...]
    height: float
    slice: float
    cut: bool = False
    x: float = 0.0
    pitch: float = 0.0

    @property
    def left(self) -> float:
        """Where the first slice begins."""
        return self.x + (self.pitch - len(self.layers) * self.slice) / 2

    @property
    def centre(self) -> float:
        """The middle of the column."""
        return self.x + self.pitch / 2


class Line(NamedTuple):
    """One line of the table below the boxes: a cell for each box; `strong` ones stand out.

    In a line that `joins`, equal neighbours share one cell.
    """

    label: str
    cells: tuple[str, ...]
    strong: tuple[bool, ...]
    joins: bool = False


class Span(NamedTuple):
    """Neighbouring boxes, first to last, under one text."""

    first: int
    last: int
    text: str


def layers(architecture: Architecture) -> list[tuple[str, Layer]]:
    """Return every row as a layer, with the name of its part."""
    parts = [part for part, rows in architecture.parts() for _ in rows]
    drawn = []
    for row, channels, size, cost in network.block_costs(architecture):
        groups = kernel_groups(row, channels)
        out = blocks.out_size(row, size)
        skip = blocks.transcript(row, channels, size).skip
        drawn.append(Layer(row, channels, out, groups, skip, cost))
    return list(zip(parts, drawn, strict=True))


def layout(architecture: Architecture) -> tuple[Box, ...]:
    """Return the boxes from the image to the logits; heights go with the square root of widths."""
    runs: list[tuple[str, list[Layer]]] = []
    for part, layer in layers(architecture):
        if runs and runs[-1][0] == part and _continues(runs[-1][1][0].row, layer.row):
            runs[-1][1].append(layer)
        else:
            runs.append((part, [layer]))
    widest = scale(architecture)
    width = max(THINNEST, min(SLICE, SLICES / len(architecture.rows)))
    boxes = []
    for part, run in runs:
        channels = run[0].row.out_channels
        height = TALLEST * min(CUT, math.sqrt(channels / widest))
        pitch = max(NARROWEST, width * len(run) + GAP)
        boxes.append(Box(part, tuple(run), height, width, channels > widest, pitch=pitch))
    return _placed(boxes)


def scale(architecture: Architecture) -> int:
    """Return the number of channels at full height: the body's widest."""
    rows = architecture.stem + architecture.body
    return max(row.out_channels for row in rows or architecture.head)


def _continues(first: Row, row: Row) -> bool:
    """Tell whether a row belongs to a run; only a run's first row has a stride."""

    def plain(row: Row) -> Row:
        options = tuple(pair for pair in row.options if pair[0] not in TRAINING)
        return replace(row, stride=1, options=options)

    return row.stride == 1 and plain(first) == plain(row)


def _placed(boxes: list[Box]) -> tuple[Box, ...]:
    """Widen columns until every text fits, then put them side by side."""
    pitches = [box.pitch for box in boxes]
    spans = [(span, NORMAL) for span in stages(boxes)]
    spans += [(span, SMALL) for line in table(boxes) for span in joined(line)]
    for span, points in spans:
        inside = slice(span.first, span.last + 1)
        lack = _text_width(span.text, points) + 0.12 - sum(pitches[inside])
        if lack > 0:
            each = lack / len(pitches[inside])
            pitches[inside] = [pitch + each for pitch in pitches[inside]]
    labels = [_text_width(line.label, NORMAL) for line in table(boxes)]
    x, placed = max(GUTTER, *labels) + 2 * MARGIN, []  # the labels stand left of the boxes
    for box, pitch in zip(boxes, pitches, strict=True):
        placed.append(replace(box, x=x, pitch=pitch))
        x += pitch
    return tuple(placed)


def _text_width(text: str, points: float) -> float:
    """Estimate the width of a text in inches, rather too wide than too narrow."""
    return max(map(len, text.split("\n"))) * points * 0.0098


def spans_of(keys: Iterable[object], texts: Sequence[str]) -> list[Span]:
    """Join neighbours with equal keys; the text is the first one's."""
    spans: list[Span] = []
    for _, run in groupby(enumerate(keys), key=lambda pair: pair[1]):
        indices = [index for index, _ in run]
        spans.append(Span(indices[0], indices[-1], texts[indices[0]]))
    return spans


def stages(boxes: Sequence[Box]) -> list[Span]:
    """Return each part's boxes under its name and the size of its output."""
    parts = [box.part for box in boxes]
    spans = []
    for span in spans_of(parts, parts):
        size = boxes[span.last].layers[-1].size
        name = span.text.replace("stage", "stage ")
        spans.append(span._replace(text=f"{name}\n{size} × {size}"))
    return spans


def joined(line: Line) -> list[Span]:
    """Return a line's cells as spans: equal neighbours share one where the line joins."""
    keys: Iterable[object] = line.cells if line.joins else range(len(line.cells))
    return [span for span in spans_of(keys, line.cells) if span.text]


def table(boxes: Sequence[Box]) -> list[Line]:
    """Return the lines below the boxes: repeats, blocks, strides, and the options that differ."""
    repeats = [len(box.layers) for box in boxes]
    rows = [box.layers[0].row for box in boxes]
    strides = [row.stride for row in rows]
    lines = [
        Line("layers", tuple(f"×{n}" for n in repeats), tuple(n > 1 for n in repeats)),
        Line("block", tuple(_wrapped(row.block) for row in rows), (True,) * len(rows), joins=True),
    ]
    if max(strides) > 1:
        cells = tuple(str(stride) if stride > 1 else "" for stride in strides)
        lines.append(Line("stride", cells, (True,) * len(rows)))
    return lines + [line for name in _shown(rows) if (line := _option_line(name, rows))]


def _shown(rows: Sequence[Row]) -> list[str]:
    """Return the options that the table shows, expansion and SE before the others."""
    names = {name for row in rows for name, _ in row.options}
    names |= {"expansion"} if any("expansion" in _values(row) for row in rows) else set()
    names -= {*DRAWN, *(name for name, _ in throughout(rows))}
    first = ("expansion", "se_ratio")
    return sorted(names, key=lambda name: (first.index(name) if name in first else 9, name))


def throughout(rows: Sequence[Row]) -> list[tuple[str, Value]]:
    """Return the options, other than expansion and SE, that are the same wherever they exist."""
    names = {name for row in rows for name, _ in row.options}
    common = []
    for name in sorted(names - {"expansion", "se_ratio", *DRAWN}):
        values = [_values(row)[name] for row in rows[:-1] if name in _values(row)]
        values += [value for other, value in rows[-1].options if other == name]
        if len(values) > 1 and len(set(values)) == 1:
            common.append((name, values[0]))
    return common


def _option_line(name: str, rows: Sequence[Row]) -> Line:
    values = [_values(row).get(name) for row in rows]
    cells = tuple("" if value is None else _worded(value) for value in values)
    if rows[-1].block == "classifier" and name not in dict(rows[-1].options):
        cells = (*cells[:-1], "")  # a classifier's defaults are left out
    strong = tuple(name in dict(row.options) or name == "expansion" for row in rows)
    joins = any(isinstance(v, str) for v in values) and max(map(len, cells)) > 4
    return Line(_label(name), cells, strong, joins)


def _label(name: str) -> str:
    words = name.replace("_", " ")
    return f"SE{words[2:]}" if words.startswith("se ") else words


def _values(row: Row) -> dict[str, Value]:
    """Return a row's options with defaults; squeeze and excite's only where it is used."""
    values = blocks.get(row.block).complete(dict(row.options))
    if values.get("se_ratio"):
        return values
    return {k: v for k, v in values.items() if k == "se_ratio" or not k.startswith("se_")}


def _worded(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "–"
    if isinstance(value, str):
        return "–" if value == "none" else _wrapped(value)
    return f"{value:.4g}" if value else "–"


def _wrapped(name: str) -> str:
    """Break a name at its underscores where a line would have more than ten letters."""
    lines = [""]
    for word in name.split("_"):
        fits = len(lines[-1]) + len(word) < 10
        lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if fits else [*lines, word]
    return "\n".join(line for line in lines if line)


def draw(architecture: Architecture, *paths: Path, title: str = "") -> None:
    """Draw an architecture once and save the picture at each path, as its suffix says."""
    import matplotlib

    # Text stays text, and the same network gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "nas", "svg.fonttype": "none"}):
        picture = figure(architecture, title=title)
        for path in paths:
            is_svg = path.suffix.lower() == ".svg"
            picture.savefig(path, metadata={"Date": None, "Creator": None} if is_svg else None)


def figure(architecture: Architecture, *, title: str = "") -> "Figure":
    """Return the picture of an architecture as matplotlib's figure."""
    from matplotlib.figure import Figure  # a second of import, and no window is ever opened

    plan = _plan(architecture)
    width, height = plan.size
    made = Figure(figsize=plan.size, dpi=150, facecolor="white")
    axes = made.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _compose(Sheet(Vectors(axes), plan), architecture, title or architecture.id)
    return made


def png(architecture: Architecture, *, title: str = "") -> bytes:
    """Return the picture of an architecture as a PNG file; it takes a few milliseconds."""
    plan = _plan(architecture)
    canvas = Pixels(*plan.size)
    _compose(Sheet(canvas, plan), architecture, title or architecture.id)
    return canvas.png()


def svg(architecture: Architecture, *, title: str = "") -> Markup:
    """Return the picture of an architecture as an SVG element for a page, in a few milliseconds."""
    plan = _plan(architecture)
    canvas = Scalable(*plan.size)
    _compose(Sheet(canvas, plan), architecture, title or architecture.id)
    cost = network.cost(architecture)
    parts = ", ".join(span.text.replace("\n", " at ") for span in stages(plan.boxes))
    return canvas.svg(
        f"Diagram of {architecture.id[:8]}: {short(cost.macs)} macs, {short(cost.params)} params;"
        f" {parts}"
    )


@dataclass(frozen=True)
class Plan:
    """The places in a picture, in inches: boxes stand on `floor`, bands end above the notes.

    `size` is the sheet's width and height; `page_end` is the upper edge of the notes.
    """

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    size: tuple[float, float]
    floor: float
    page_end: float


def _plan(architecture: Architecture) -> Plan:
    boxes = layout(architecture)
    lines = table(boxes)
    width = max(WIDEST_MIN, boxes[-1].x + boxes[-1].pitch + MARGIN)
    notes = _notes(boxes, width)
    page_end = 0.12 + 0.13 * len(notes)
    floor = page_end + sum(map(_line_height, lines)) + 2 * (BARS + 0.14) + 0.16
    height = floor + TALLEST * CUT + 1.95
    return Plan(boxes, tuple(lines), tuple(notes), (width, height), floor, page_end)


def _compose(sheet: "Sheet", architecture: Architecture, title: str) -> None:
    """Draw a picture."""
    plan = sheet.plan
    _heading(sheet, architecture, title, plan.size[1])
    _bands(sheet, plan.page_end, architecture.resolution)
    _ruler(sheet, scale(architecture))
    for box in plan.boxes:
        _box(sheet, box)
    y = plan.floor - 0.08
    for line in plan.lines:
        _table_line(sheet, line, y)
        y -= _line_height(line)
    for label, colour, of in (
        ("share of macs", MACS, lambda cost: cost.macs),
        ("share of params", PARAMS, lambda cost: cost.params),
    ):
        y -= BARS + 0.14
        _shares(sheet, y, (label, colour), of)
    sheet.text(MARGIN, 0.08, "\n".join(plan.notes), ha="left", va="bottom", color=GREY)


def _notes(boxes: Sequence[Box], width: float) -> list[str]:
    """List the options that are the same throughout, in lines that fit into the width."""
    common = throughout([box.layers[0].row for box in boxes])
    words = ", ".join(f"{_label(name)} {_worded(value)}" for name, value in common)
    letters = int((width - 2 * MARGIN) / _text_width("x", SMALL))
    return textwrap.wrap(f"throughout: {words}", letters) if words else []


@dataclass(frozen=True)
class Sheet:
    """A canvas and the plan of the picture on it."""

    canvas: Canvas
    plan: Plan

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The runs of layers."""
        return self.plan.boxes

    @property
    def floor(self) -> float:
        """What the boxes stand on."""
        return self.plan.floor

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write a text, by default small and centred."""
        usual: dict[str, Any] = {"size": SMALL, "color": INK}
        self.canvas.text((x, y), text, Style(**usual | style))

    def bar(self, x: float, y: float, size: tuple[float, float], fill: Fill) -> None:
        """Fill a rectangle of (width, height)."""
        self.canvas.area([(x, y), (x + size[0], y + size[1])], fill)

    def line(self, xs: Sequence[float], ys: Sequence[float], stroke: Stroke) -> None:
        """Draw a line between two places."""
        self.canvas.line(((xs[0], ys[0]), (xs[1], ys[1])), stroke)

    def range(self, span: Span) -> tuple[float, float]:
        """Return where a span begins and ends; a negative one is the gutter."""
        if span.first < 0:
            return MARGIN, self.boxes[0].x
        last = self.boxes[span.last]
        return self.boxes[span.first].x, last.x + last.pitch


def _heading(sheet: Sheet, architecture: Architecture, title: str, height: float) -> None:
    """Write the title, the network's numbers, and what the colours and heights mean."""
    cost = network.cost(architecture)
    size = f"{architecture.resolution} × {architecture.resolution} × {architecture.in_channels}"
    facts = (
        f"{size} image,  {short(cost.macs)} macs,  {short(cost.params)} params,  "
        f"{len(architecture.rows)} layers,  {architecture.classes} classes"
    )
    left = partial(sheet.text, MARGIN, ha="left", va="top")
    left(height - 0.12, title, size=LARGE, bold=True)
    left(height - 0.40, facts, size=NORMAL + 1)
    groups = [group for box in sheet.boxes for layer in box.layers for group in layer.groups]
    kernels = sorted({group.kernel for group in groups if group.kernel is not None})
    x, y = MARGIN, height - 0.76
    names: list[tuple[int | None, str]] = [(kernel, f"{kernel} × {kernel}") for kernel in kernels]
    if any(group.kernel is None for group in groups):
        names.append((None, "no kernel"))
    for kernel, name in names:
        fill = Fill(colour(kernel), edge=GREY if kernel is None else None)
        sheet.bar(x, y - 0.06, (0.2, 0.12), fill)
        sheet.text(x + 0.26, y, name, ha="left", size=NORMAL)
        x += 0.42 + _text_width(name, NORMAL)
    key = "one slice per layer,  height by √channels,  colours by share of channels,  arc: skip"
    if any(box.cut for box in sheet.boxes):
        key += ",  broken: beyond the scale"
    left(height - 0.90, key, size=NORMAL, color=GREY)


def _bands(sheet: Sheet, end_y: float, resolution: int) -> None:
    """Write each part's name and resolution over it, and shade every second one."""
    top = sheet.floor + TALLEST * CUT + 0.32
    image = Span(-1, -1, f"image\n{resolution} × {resolution}")
    for number, span in enumerate([image, *stages(sheet.boxes)]):
        begin, end = sheet.range(span)
        if number % 2:
            sheet.bar(begin, end_y, (end - begin, top + 0.42 - end_y), Fill(BAND, zorder=0))
        sheet.line((begin + 0.05, end - 0.05), (top, top), Stroke(INK, 1.1))
        name, size = span.text.split("\n")
        middle = (begin + end) / 2
        sheet.text(middle, top + 0.29, name, size=NORMAL, bold=True)
        sheet.text(middle, top + 0.11, size, size=NORMAL)


def _ruler(sheet: Sheet, widest: int) -> None:
    """Draw the scale of the heights: a line at 16, 64, 256, ... channels."""
    right = sheet.boxes[-1].x + sheet.boxes[-1].pitch
    edge = sheet.boxes[0].x
    sheet.text(edge - 0.08, sheet.floor + TALLEST * CUT + 0.1, "channels", ha="right", color=GREY)
    for power in range(12):
        y = TALLEST * math.sqrt(4**power / widest)
        if 0.2 < y <= TALLEST:
            sheet.line((edge, right), (sheet.floor + y,) * 2, Stroke(RULE, 0.6, zorder=0.5))
            sheet.text(edge - 0.08, sheet.floor + y, str(4**power), ha="right", color=GREY)
    sheet.line((edge, right), (sheet.floor,) * 2, Stroke(INK, 0.8))


def _box(sheet: Sheet, box: Box) -> None:
    """Draw a run: its layers side by side, a bar per kernel group, an arc over each skip."""
    for number, layer in enumerate(box.layers):
        x, y = box.left + number * box.slice, sheet.floor
        for group in layer.groups:
            height = group.share * box.height
            edge = GREY if group.kernel is None else "white"
            sheet.bar(x, y, (box.slice, height), Fill(colour(group.kernel), 2, edge))
            digits = str(group.kernel or "")
            if number == 0 and box.slice > _text_width(digits, SMALL) + 0.02 and height > 0.1:
                dark = INK if group.kernel in DARK_TEXT_ON else "white"
                sheet.text(x + box.slice / 2, y + height / 2, digits, color=dark, zorder=4)
            y += height
        if layer.skip:
            size = (box.slice * 0.8, 0.12)
            centre = (x + box.slice / 2, sheet.floor + box.height + 0.015)
            sheet.canvas.arc(centre, size, Stroke(INK, 0.8, zorder=3))
    if box.cut:
        _cut(sheet, box)
    top = sheet.floor + box.height + (0.15 if any(layer.skip for layer in box.layers) else 0.08)
    sheet.text(box.centre, top, str(box.layers[0].row.out_channels), size=NORMAL)


def _cut(sheet: Sheet, box: Box) -> None:
    """Break a box that is wider than the scale: two slanted lines with nothing between."""
    left, right = box.left - 0.03, box.left + len(box.layers) * box.slice + 0.03
    y = sheet.floor + 0.8 * box.height
    corners = [(left, y), (right, y + 0.1), (right, y + 0.17), (left, y + 0.07)]
    sheet.canvas.area(corners, Fill(BAND, zorder=5))
    for low in (0, 2):
        xs, ys = zip(*corners[low : low + 2], strict=True)
        sheet.line(xs, ys, Stroke(GREY, 0.8, zorder=6))


def colour(kernel: int | None) -> str:
    """Return a kernel size's colour; sizes beyond the palette begin anew at 3."""
    if kernel is None:
        return NO_KERNEL
    return COLOURS.get(kernel) or list(COLOURS.values())[1 + (kernel // 2) % (len(COLOURS) - 1)]


def _line_height(line: Line) -> float:
    rows = max(cell.count("\n") + 1 for cell in line.cells)
    return LINE if rows == 1 else 0.07 + 0.125 * rows


def _table_line(sheet: Sheet, line: Line, top: float) -> None:
    """Write one line of the table, its name in the gutter."""
    y = top - _line_height(line) / 2
    sheet.text(sheet.boxes[0].x - 0.08, y, line.label, ha="right", size=NORMAL, color=GREY)
    for span in joined(line):
        begin, end = sheet.range(span)
        strong = line.strong[span.first] and span.text != "–"
        style: dict[str, Any] = {"color": INK if strong else PALE}
        if line.label == "stride":
            style = {"color": ACCENT, "bold": True}
        elif line.label == "SE ratio" and strong:  # the badge
            style["badge"] = GREY
        sheet.text((begin + end) / 2, y, span.text, spacing=1.05, **style)
        half, middle = _text_width(span.text, SMALL) / 2 + 0.04, (begin + end) / 2
        if span.last > span.first and end - begin > 2 * half + 0.2:
            for ends in ([begin + 0.06, middle - half], [middle + half, end - 0.06]):
                sheet.line(ends, (y, y), Stroke(PALE, 0.6))


def _shares(sheet: Sheet, y: float, name: tuple[str, str], count: "Callable[[Cost], int]") -> None:
    """Draw one bar per part for its share of macs or params."""
    label, colour = name
    spans = stages(sheet.boxes)
    counts = [
        sum(count(layer.cost) for box in sheet.boxes[s.first : s.last + 1] for layer in box.layers)
        for s in spans
    ]
    total, tallest = max(1, sum(counts)), max(1, *counts)
    sheet.text(sheet.boxes[0].x - 0.08, y + 0.1, label, ha="right", size=NORMAL, color=GREY)
    for span, number in zip(spans, counts, strict=True):
        begin, end = sheet.range(span)
        height = (BARS - 0.16) * number / tallest
        sheet.bar(begin + 0.06, y, (end - begin - 0.12, height), Fill(colour, zorder=2))
        share = number / total
        text = f"{share:.0%}" if share >= 0.01 else "<1%" if number else "0"
        sheet.text((begin + end) / 2, y + height + 0.075, text)
