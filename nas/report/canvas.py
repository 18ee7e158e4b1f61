"""The sheets of a diagram, in inches from the lower left: vectors by matplotlib, pixels, or SVG.

Pixels, by Pillow, are for a picture beside every trial: they take a twentieth of matplotlib's time
and do not import it. SVG is for a page, whose style colours it; it is written without matplotlib.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from PIL import Image, ImageDraw, ImageFont

from nas.report.markup import Markup, element, joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 72  # to an inch
SHARP = 110  # pixels to an inch, of a picture beside a trial
BADGE = 0.03  # inches between a badge's text and its frame
ALIGNED = {"left": "l", "center": "m", "right": "r"}


class Style(NamedTuple):
    """How a text looks: `size` in points, lines `spacing` sizes apart; `badge` colours a frame."""

    size: float
    color: str
    ha: str = "center"
    va: str = "center"
    bold: bool = False
    spacing: float = 1.2
    badge: str | None = None
    zorder: float = 3


class Fill(NamedTuple):
    """How an area looks; without `edge` it has no outline."""

    color: str
    zorder: float = 1
    edge: str | None = None


class Stroke(NamedTuple):
    """How a line looks: `width` in points."""

    color: str
    width: float
    zorder: float = 2


Point = tuple[float, float]


class Canvas(Protocol):
    """A sheet; a mark with a higher `zorder` lies above the others."""

    def text(self, at: Point, text: str, style: Style) -> None:
        """Write a text of one or more lines; its alignment refers to the place."""

    def area(self, corners: Sequence[Point], fill: Fill) -> None:
        """Fill a polygon; two corners are the lower left and upper right of a rectangle."""

    def line(self, ends: tuple[Point, Point], stroke: Stroke) -> None:
        """Draw a straight line."""

    def arc(self, centre: Point, size: tuple[float, float], stroke: Stroke) -> None:
        """Draw the upper half of an ellipse of this width and height."""


@dataclass(frozen=True)
class Vectors:
    """A sheet that is matplotlib's axes."""

    axes: "Axes"

    def text(self, at: Point, text: str, style: Style) -> None:
        """Write a text; a file's name may have a dollar in it."""
        made: dict[str, Any] = {
            "fontsize": style.size, "color": style.color, "ha": style.ha, "va": style.va,
            "fontweight": "bold" if style.bold else "normal", "linespacing": style.spacing,
            "zorder": style.zorder, "parse_math": False,
        }  # fmt: skip
        if style.badge is not None:
            made["bbox"] = {
                "boxstyle": "round,pad=0.2", "fc": "white", "ec": style.badge, "lw": 0.6,
            }  # fmt: skip
        self.axes.text(*at, text, **made)

    def area(self, corners: Sequence[Point], fill: Fill) -> None:
        """Fill a polygon, or a rectangle."""
        from matplotlib.patches import Polygon

        if len(corners) == 2:
            (left, low), (right, high) = corners
            corners = [(left, low), (right, low), (right, high), (left, high)]
        edge = {"linewidth": 0.6, "edgecolor": fill.edge} if fill.edge else {"linewidth": 0}
        self.axes.add_patch(Polygon(corners, facecolor=fill.color, zorder=fill.zorder, **edge))

    def line(self, ends: tuple[Point, Point], stroke: Stroke) -> None:
        """Draw a straight line."""
        xs, ys = zip(*ends, strict=True)
        self.axes.plot(xs, ys, color=stroke.color, linewidth=stroke.width, zorder=stroke.zorder)

    def arc(self, centre: Point, size: tuple[float, float], stroke: Stroke) -> None:
        """Draw the upper half of an ellipse."""
        from matplotlib.patches import Arc

        style: dict[str, Any] = {
            "color": stroke.color, "linewidth": stroke.width, "zorder": stroke.zorder,
        }  # fmt: skip
        self.axes.add_patch(Arc(centre, *size, theta1=0, theta2=180, **style))


@dataclass(frozen=True)
class Pixels:
    """A sheet of pixels; it is painted when `png` is asked for."""

    width: float
    height: float
    _painting: list[tuple[float, Callable[[ImageDraw.ImageDraw], None]]] = field(
        default_factory=list
    )

    def text(self, at: Point, text: str, style: Style) -> None:
        """Write a text."""
        self._painting.append((style.zorder, lambda draw: self._write(draw, at, text, style)))

    def area(self, corners: Sequence[Point], fill: Fill) -> None:
        """Fill a polygon, or a rectangle."""
        places = [self._place(*corner) for corner in corners]

        def paint(draw: ImageDraw.ImageDraw) -> None:
            if len(places) > 2:
                draw.polygon(places, fill=fill.color, outline=fill.edge)
                return
            (left, low), (right, high) = ((round(x), round(y)) for x, y in places)
            if right > left and low > high:
                draw.rectangle((left, high, right - 1, low - 1), fill.color, fill.edge)

        self._painting.append((fill.zorder, paint))

    def line(self, ends: tuple[Point, Point], stroke: Stroke) -> None:
        """Draw a straight line."""
        places = [self._place(*end) for end in ends]
        width = max(1, round(stroke.width * SHARP / POINTS))
        self._painting.append((stroke.zorder, lambda draw: draw.line(places, stroke.color, width)))

    def arc(self, centre: Point, size: tuple[float, float], stroke: Stroke) -> None:
        """Draw the upper half of an ellipse."""
        (x, y), (width, height) = centre, size
        left, top = self._place(x - width / 2, y + height / 2)
        right, bottom = self._place(x + width / 2, y - height / 2)
        box = (left, top, max(left, right), bottom)
        self._painting.append(
            (stroke.zorder, lambda draw: draw.arc(box, 180, 360, stroke.color, 1))
        )

    def png(self) -> bytes:
        """Return the sheet as a PNG file."""
        size = (round(self.width * SHARP), round(self.height * SHARP))
        image = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(image)
        for _, paint in sorted(self._painting, key=lambda pair: pair[0]):
            paint(draw)
        file = BytesIO()
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _place(self, x: float, y: float) -> Point:
        return x * SHARP, (self.height - y) * SHARP

    def _write(self, draw: ImageDraw.ImageDraw, at: Point, text: str, style: Style) -> None:
        face = font(style.size, style.bold)
        x, y = self._place(*at)
        lines = text.split("\n")
        step = style.spacing * style.size * SHARP / POINTS
        start = {"top": 0.5, "center": -(len(lines) - 1) / 2, "bottom": 0.5 - len(lines)}[style.va]
        if style.badge is not None:
            box = draw.textbbox((x, y), text, face, ALIGNED[style.ha] + "m")
            room = BADGE * SHARP
            around = (box[0] - room, box[1] - room, box[2] + room, box[3] + room)
            draw.rounded_rectangle(around, room, "white", style.badge)
        for number, line in enumerate(lines):
            place = (x, y + (start + number) * step)
            draw.text(place, line, style.color, face, ALIGNED[style.ha] + "m")


@dataclass(frozen=True)
class Scalable:
    """A sheet that is SVG: its colours are attributes, which the style of a page may replace."""

    width: float
    height: float
    _painting: list[tuple[float, Markup]] = field(default_factory=list)

    def text(self, at: Point, text: str, style: Style) -> None:
        """Write a text; the frame of a badge is left out."""
        lines = text.split("\n")
        step = style.spacing * style.size
        start = {"top": 0.5, "center": -(len(lines) - 1) / 2, "bottom": 0.5 - len(lines)}[style.va]
        x, y = self._place(*at)
        anchor = {"left": None, "center": "middle", "right": "end"}[style.ha]
        looks: dict[str, object] = {
            "font_size": f"{style.size:g}", "fill": style.color, "text_anchor": anchor,
            "font_weight": "bold" if style.bold else None,
        }  # fmt: skip
        for number, line in enumerate(lines):
            middle = y + (start + number) * step + 0.35 * style.size
            self._add(style.zorder, element("text", line, x=_digits(x), y=_digits(middle), **looks))

    def area(self, corners: Sequence[Point], fill: Fill) -> None:
        """Fill a polygon, or a rectangle."""
        if len(corners) == 2:
            (left, low), (right, high) = corners
            corners = [(left, low), (right, low), (right, high), (left, high)]
        self._path(corners, fill.zorder, "Z", fill=fill.color, stroke=fill.edge, stroke_width=0.6)

    def line(self, ends: tuple[Point, Point], stroke: Stroke) -> None:
        """Draw a straight line."""
        self._path(ends, stroke.zorder, "", stroke=stroke.color, stroke_width=stroke.width)

    def arc(self, centre: Point, size: tuple[float, float], stroke: Stroke) -> None:
        """Draw the upper half of an ellipse."""
        (x, y), (across, up) = self._place(*centre), (size[0] * POINTS / 2, size[1] * POINTS / 2)
        d = f"M{_digits(x - across)} {_digits(y)}a{_digits(across)} {_digits(up)} 0 0 1 "
        d += f"{_digits(2 * across)} 0"
        looks = {"stroke": stroke.color, "stroke_width": stroke.width, "fill": "none"}
        self._add(stroke.zorder, element("path", d=d, **looks))

    def svg(self, label: str) -> Markup:
        """Return the sheet as an SVG element with a label for those who do not see it."""
        marks = [mark for _, mark in sorted(self._painting, key=lambda pair: pair[0])]
        size = f"0 0 {_digits(self.width * POINTS)} {_digits(self.height * POINTS)}"
        return element(
            "svg", joined(*marks), xmlns="http://www.w3.org/2000/svg", viewBox=size, role="img",
            aria_label=label, class_="diagram",
        )  # fmt: skip

    def _add(self, zorder: float, mark: Markup) -> None:
        self._painting.append((zorder, mark))

    def _place(self, x: float, y: float) -> Point:
        return x * POINTS, (self.height - y) * POINTS

    def _path(self, corners: Sequence[Point], zorder: float, end: str, **looks: object) -> None:
        places = (f"{_digits(x)} {_digits(y)}" for x, y in (self._place(*c) for c in corners))
        if looks.get("stroke") is None:
            looks = {"fill": looks["fill"]}
        self._add(zorder, element("path", d=f"M{'L'.join(places)}{end}", **looks))


def _digits(value: float) -> str:
    """Write a place on a sheet, to a tenth of a point."""
    return f"{value:.1f}".removesuffix(".0")


@cache
def font(size: float, bold: bool) -> "ImageFont.FreeTypeFont":
    """Return matplotlib's own font of a size in points: both kinds of sheet look alike."""
    matplotlib = find_spec("matplotlib")  # which is not imported
    folder = Path(str(matplotlib and matplotlib.origin)).parent / "mpl-data" / "fonts" / "ttf"
    path = folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    pixels = size * SHARP / POINTS
    return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)
