"""The picture of a data set: a few images of each class by split, and copies side by side."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nas.data.dataset import DataSet, members
from nas.data.duplicates import SIDE, ImagePlace, Tally
from nas.data.inspection import Inspection, colours, counts, sizes_in_words
from nas.files import write
from nas.report.canvas import font
from nas.report.tradeoff import INK, PALE

# All in pixels, but the sizes of text, which are in points.
TILE, GAP, MARGIN, NAMES, LINE = 64, 4, 16, 170, 18
SMALL, LARGE = 7.0, 9.0
COLUMNS = {"train": 8, "validation": 4, "test": 4}  # images of a class
CLASSES = 12  # the most frequent ones, where there are more
WIDTH = 2 * MARGIN + NAMES + sum(COLUMNS.values()) * (TILE + GAP) + (len(COLUMNS) - 1) * MARGIN
PAIR = 2 * TILE + GAP + MARGIN  # two copies and the space after them
PAIRS = (WIDTH - 2 * MARGIN) // PAIR  # copies of one kind that are shown


def draw_samples(found: Inspection, path: Path) -> Path:
    """Draw samples and copies into a .png file; return the path."""
    data = found.data
    order = members(data.splits["train"].labels, len(data.classes)).sum(0).argsort()[::-1]
    shown = sorted(order[:CLASSES].tolist())
    tallies = {"copies": found.copies.exact, "near copies": found.copies.near}
    tallies = {name: tally for name, tally in tallies.items() if tally.examples}
    top = MARGIN + 3 * LINE
    grid = len(shown) * (TILE + GAP) + LINE
    height = top + grid + len(tallies) * (4 * LINE + TILE) + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(sheet)
    images = sum(len(split) for split in data.splits.values())
    title = f"{data.name}: {images:,} images, {colours(data)}, {sizes_in_words(data)}"
    _write(draw, (MARGIN, MARGIN), title, LARGE, bold=True)
    _samples(sheet, draw, data, shown, top)
    at = top + grid
    for name, tally in tallies.items():
        _copies(sheet, draw, found, name, tally, at)
        at += 4 * LINE + TILE
    file = BytesIO()
    sheet.save(file, "PNG")
    write(path, file.getvalue())
    return path


def _samples(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, data: DataSet, shown: list[int], top: int
) -> None:
    """Draw a row for each class: its name, its counts, and images of each split at random."""
    random, by_split = np.random.RandomState(0), counts(data)
    left = MARGIN + NAMES
    for name, columns in COLUMNS.items():
        split = data.splits[name]
        has = members(split.labels, len(data.classes))
        _write(draw, (left, top - LINE - 4), f"{name} {len(split):,}", LARGE)
        for row, label in enumerate(shown):
            drawn = random.permutation(np.flatnonzero(has[:, label]))[:columns]
            for column, number in enumerate(drawn):
                place = (left + column * (TILE + GAP), top + row * (TILE + GAP))
                sheet.paste(_tile(data, ImagePlace(name, int(number))), place)
        left += columns * (TILE + GAP) + MARGIN
    for row, label in enumerate(shown):
        y, name = top + row * (TILE + GAP) + TILE // 2, data.classes[label]
        _write(draw, (MARGIN, y - LINE), _fitting(name, NAMES - MARGIN, LARGE), LARGE)
        images = " / ".join(f"{split[name]:,}" for split in by_split.values())
        _write(draw, (MARGIN, y), images, SMALL, PALE)
    if len(shown) < len(data.classes):
        more = f"and {len(data.classes) - len(shown)} more classes"
        _write(draw, (MARGIN, top + len(shown) * (TILE + GAP)), more, SMALL, PALE)


def _copies(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    found: Inspection,
    name: str,
    tally: Tally,
    top: int,
) -> None:
    """Draw pairs of copies side by side, the names of the two images below them."""
    _write(draw, (MARGIN, top), f"{name}: {', '.join(tally.words())}", LARGE)
    for column, pair in enumerate(tally.examples[:PAIRS]):
        left = MARGIN + column * PAIR
        for number, place in enumerate(pair):
            at = (left + number * (TILE + GAP), top + LINE + GAP)
            sheet.paste(_tile(found.data, place), at)
            words = _fitting(found.named(place), PAIR - GAP, SMALL)
            _write(draw, (left, at[1] + TILE + GAP + number * (LINE - 4)), words, SMALL, INK)


def _tile(data: DataSet, place: ImagePlace) -> Image.Image:
    """Return an image of the data set as it is shown; small ones have visible pixels."""
    images = data.splits[place.split].images(min(data.native_resolution, SIDE))
    pixels = np.asarray(images[place.number])
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    return image.resize((TILE, TILE), Image.Resampling.NEAREST)


def _fitting(text: str, width: int, size: float) -> str:
    """Cut a text at its beginning so that it is no wider: a file's name is at its end."""
    if font(size, bold=False).getlength(text) <= width:
        return text
    while text and font(size, bold=False).getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: float,
    color: str = INK,
    *,
    bold: bool = False,
) -> None:
    draw.text(at, text, color, font(size, bold=bold))
