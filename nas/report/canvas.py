"""The sheets of a diagram, in inches from the lower left: vectors by matplotlib, or pixels.

Pixels, by Pillow, are for a picture beside every trial: they take a twentieth of matplotlib's time
and do not import it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from PIL import Image, ImageDraw, ImageFont

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


@cache
def font(size: float, bold: bool) -> "ImageFont.FreeTypeFont":
    """Return matplotlib's own font of a size in points: both kinds of sheet look alike."""
    matplotlib = find_spec("matplotlib")  # which is not imported
    folder = Path(str(matplotlib and matplotlib.origin)).parent / "mpl-data" / "fonts" / "ttf"
    path = folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    pixels = size * SHARP / POINTS
    return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)
