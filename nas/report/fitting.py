"""How the columns of a table fit into the width of a terminal, without a number that is cut."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

NARROWEST = 20  # characters: a name or a text is not wrapped to shorter lines
GAP = 2  # characters between two columns


@dataclass(frozen=True)
class Column:
    """A column: its name and the cells below it; a number's line is never broken."""

    name: str
    cells: Sequence[Text]
    is_number: bool

    @cached_property
    def widest(self) -> int:
        """Characters of the widest line."""
        return max(map(_length, [self.name, *(cell.plain for cell in self.cells)]))

    @cached_property
    def narrowest(self) -> int:
        """Characters that the column needs: of a number, or of a text that is wrapped."""
        if not self.is_number:
            return min(self.widest, NARROWEST)
        word = max(map(_length, self.name.split()), default=0)
        return max([min(word, NARROWEST), *(_length(cell.plain) for cell in self.cells)])


def fitted(columns: Sequence[Column], width: int | None, title: str) -> Iterator[tuple[Table, int]]:
    """Yield the table and its width, or the tables that fit when they stand below each other.

    Each begins with the first column, and is wider than `width` only where it has one more; None is
    the width that the whole table needs.
    """
    if width is None:
        width = _total(each.widest for each in columns)
    for part in _parts(columns, width):
        least = _total(each.narrowest for each in part)
        room = max(0, width - least)
        table = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
        title = ""
        for column in part:
            more = min(room, column.widest - column.narrowest)
            room -= more
            table.add_column(
                Text(column.name),
                justify="right" if column.is_number else "left",
                width=column.narrowest + more,
                overflow="fold",
            )
        for cells in zip(*(column.cells for column in part), strict=True):
            table.add_row(*cells)
        yield table, max(width, least)


def _parts(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Yield the columns of each table; one without a name stays with the column before it."""
    first, *others = columns
    part = [first]
    while others:
        count = 1
        while others[count:] and not others[count].name.strip():
            count += 1
        together, others = others[:count], others[count:]
        if len(part) > 1 and _total(each.narrowest for each in [*part, *together]) > width:
            yield part
            part = [first]
        part += together
    yield part


def _length(text: str) -> int:
    """Return the characters of a text's longest line on a terminal."""
    return max(map(cell_len, text.expandtabs().split("\n")))


def _total(widths: Iterable[int]) -> int:
    """Return the characters of a line with columns of these widths."""
    return sum(width + GAP for width in widths) - GAP
