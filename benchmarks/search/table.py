"""A table of trained architectures: all that a search on it can find.

A CSV file: a column per categorical choice (prefix `choice_`), `search_score` (all a sampler may
see), `test_score` (what regret is measured in) and `macs`; each row one architecture. Scores are
better when they are higher. Rows with the same choices are one architecture: its numbers are the
rows' means. Other columns are ignored. Where the rows are fewer than the choices allow, the table
is a pool: its rows are all there is to choose from.
"""

import csv
import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from nas.errors import UserError

PREFIX = "choice_"
SEARCH, TEST, MACS = "search_score", "test_score", "macs"
Floats = NDArray[np.float64]
Value = int | float | str


@dataclass(frozen=True)
class Table:
    """The architectures of a file, each once.

    `codes` (architectures, choices) numbers the value of each choice; `rows_read` counts the
    file's rows.
    """

    name: str
    choices: dict[str, tuple[Value, ...]]
    codes: NDArray[np.int16]
    search: Floats
    test: Floats
    macs: Floats
    rows_read: int

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def hash(self) -> str:
        """Return what names this content in a cache."""
        content = hashlib.sha256(repr(self.choices).encode())
        for array in (self.codes, self.search, self.test, self.macs):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:16]

    @property
    def is_pool(self) -> bool:
        """Tell whether the table lacks some of the assignments that its choices allow."""
        return len(self) < math.prod(len(values) for values in self.choices.values())

    @cached_property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        """Return the choices as Optuna knows them."""
        return {name: CategoricalDistribution(values) for name, values in self.choices.items()}

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        return {codes.tobytes(): row for row, codes in enumerate(self.codes)}

    def assignment(self, row: int) -> dict[str, Value]:
        """Return an architecture's choices."""
        codes = zip(self.choices.items(), self.codes[row], strict=True)
        return {name: values[code] for (name, values), code in codes}

    def encode(self, assignment: Mapping[str, Any]) -> NDArray[np.int16]:
        """Return the numbers of an assignment's values."""
        pairs = self.choices.items()
        return np.array([values.index(assignment[name]) for name, values in pairs], np.int16)

    def find(self, codes: NDArray[np.int16]) -> int | None:
        """Return the row of an assignment; None where the table lacks it."""
        return self._rows.get(codes.tobytes())

    def nearest(
        self, codes: NDArray[np.int16], taken: NDArray[np.bool_], rng: random.Random
    ) -> int:
        """Return the row, none of those taken, that differs in the fewest choices.

        Of several as near, one is drawn.
        """
        distance = (self.codes != codes).sum(axis=1)
        distance[taken] = len(self.choices) + 1
        return int(rng.choice(np.flatnonzero(distance == distance.min()).tolist()))


def read(path: str | Path) -> Table:
    """Read a table; raises UserError where a column or a number is missing."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"No table can be read from {path}: {error}.") from None
    if not rows:
        raise UserError(f"{path} is empty; a table begins with the names of its columns.")
    columns, lines = rows[0], [row for row in rows[1:] if row]
    names = [column for column in columns if column.startswith(PREFIX)]
    missing = [column for column in (SEARCH, TEST, MACS) if column not in columns]
    if missing or not names:
        wanted = [*missing, *([] if names else [f"{PREFIX}..."])]
        raise UserError(f"{path} has no column {', '.join(wanted)}; it has: {', '.join(columns)}.")
    if not lines:
        raise UserError(f"{path} has no architecture: no row under the names of its columns.")
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            raise UserError(f"{path}, row {number}: {len(line)} cells under {len(columns)} names.")
    cells = dict(zip(columns, zip(*lines, strict=True), strict=True))
    choices = {name.removeprefix(PREFIX): _values(cells[name]) for name in names}
    codes = np.array(
        [_codes(cells[PREFIX + name], values) for name, values in choices.items()], np.int16
    ).T
    numbers = [_numbers(path, name, cells[name]) for name in (SEARCH, TEST, MACS)]
    if (numbers[2] <= 0).any():
        raise UserError(f"{path}: macs are above 0, not {numbers[2].min():g}.")
    name = path.parent.name if path.stem == "table" else path.stem  # a study's has its name
    return _merged(name, choices, codes, numbers)


def _merged(
    name: str,
    choices: dict[str, tuple[Value, ...]],
    codes: NDArray[np.int16],
    numbers: Sequence[Floats],
) -> Table:
    """Return the table with each architecture once, in the order of their first rows."""
    _, first, inverse = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    counts = np.bincount(inverse.ravel())
    order = np.argsort(first)
    search, test, macs = (
        np.bincount(inverse.ravel(), weights=each)[order] / counts[order] for each in numbers
    )
    kept = np.ascontiguousarray(codes[first[order]])
    return Table(name, choices, kept, search, test, macs, rows_read=len(codes))


def _values(cells: Sequence[str]) -> tuple[Value, ...]:
    """Return a column's different values, as numbers where all of them are."""
    texts = sorted(set(cells))
    for kind in (int, float):
        try:
            numbers = sorted({kind(text) for text in texts})
        except ValueError:
            continue
        if all(math.isfinite(number) for number in numbers):
            return tuple(numbers)
    return tuple(texts)


def _codes(cells: Sequence[str], values: tuple[Value, ...]) -> list[int]:
    kind = type(values[0])
    number = {value: code for code, value in enumerate(values)}
    return [number[kind(cell)] for cell in cells]


def _numbers(path: Path, name: str, cells: Sequence[str]) -> Floats:
    for number, cell in enumerate(cells, 2):
        try:
            finite = math.isfinite(float(cell))
        except ValueError:
            finite = False
        if not finite:
            raise UserError(f"{path}, row {number}: {name} is a finite number, not {cell!r}.")
    return np.array([float(cell) for cell in cells])
