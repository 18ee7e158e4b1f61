"""Hypothesis strategies: valid rows of any registered block, and architectures of such rows."""

import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from nas import blocks
from nas.architecture import Architecture, Row, Value
from nas.errors import SpaceError

# Values to try on any option; its rule decides which of them are candidates.
POOL: tuple[Value, ...] = (
    True, False, 0, 1, 2, 3, 4, 6, 8, 0.0, 0.04, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0,
    "3", "5", "03", "3.5", "7.3", "5.5", "3.5.7", "9.11.13.9",
)  # fmt: skip
EASY_WIDTH = 24  # allows the defaults of any block
CHANNELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 30)


@dataclass(frozen=True)
class Placed:
    """A row with the channels and the size of its input."""

    row: Row
    in_channels: int
    size: int


def candidates(option: blocks.Option) -> list[Value]:
    """Return the pool's values that the rule allows, and the names that the rule lists."""
    named = re.findall(r"\w+", option.rule)
    return [value for value in (*POOL, *named) if option.valid(value)]


@st.composite
def placed_rows(draw: Any, name: str) -> Placed:
    """Draw a row of this block, with widths that allow its options."""
    block = blocks.get(name)
    in_channels = draw(st.sampled_from(CHANNELS))
    out_channels = draw(st.just(in_channels) | st.sampled_from(CHANNELS))
    stride, size = draw(st.sampled_from((1, 1, 2, 3))), draw(st.integers(1, 12))
    options: dict[str, Value] = {}
    for option, spec in block.options.items():
        if draw(st.booleans()):
            options[option] = draw(st.sampled_from(candidates(spec)))
    while True:
        row = Row(name, out_channels, stride, tuple(sorted(options.items())))
        try:
            blocks.canonical_row(row, in_channels)
        except SpaceError:  # impossible at these widths: without its structural options it is not
            structural = [option for option in options if block.options[option].structural]
            if structural:
                del options[structural[0]]
            elif stride > 1:
                stride = 1
            else:
                in_channels = out_channels = EASY_WIDTH
            continue
        return Placed(row, in_channels, size)


def network_of(placed: Placed, *, resolution: int | None = None) -> Architecture:
    """Build a small network with this row between a stem and a classifier, or at its end."""
    row, stem = placed.row, (Row("conv", placed.in_channels),)
    size = resolution or placed.size
    if row.block == "classifier":
        return Architecture(3, size, row.out_channels, stem, (), (row,))
    return Architecture(3, size, 4, stem, (row,), (Row("classifier", 4),))


@st.composite
def architectures(draw: Any) -> Architecture:
    """Draw a network of one to five rows of blocks whose output is an image."""
    names = [name for name in blocks.names() if name != "classifier"]
    channels = in_channels = draw(st.sampled_from((1, 3)))
    rows: list[Row] = []
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=5)):
        row = draw(placed_rows(name)).row
        try:
            rows.append(blocks.canonical_row(row, channels))
        except SpaceError:  # drawn for another input
            rows.append(Row("conv", row.out_channels, row.stride))
        channels = row.out_channels
    classes, resolution = draw(st.integers(2, 12)), draw(st.integers(1, 20))
    stem, body = tuple(rows[:1]), tuple(rows[1:])
    head = draw(placed_rows("classifier")).row
    if channels == 1:  # of one channel a layer norm leaves nothing
        head = Row("classifier", classes)
    built = Architecture(in_channels, resolution, classes, stem, body, (head,)).at(classes=classes)
    return blocks.canonical(built)
