"""One concrete network as frozen rows of data: hashable, comparable, JSON, never an `nn.Module`.

What the rows mean is the blocks' business (`nas.blocks`); `nas.blocks.canonical` removes the
options that have no effect, so that the same network always has the same rows and the same id.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nas.cost import Cost
from nas.errors import SpaceError
from nas.quantities import MAX_RESOLUTION

FORMAT = "nas.architecture/1"
MAX_WIDTH = 1_000_000  # channels or classes
MAX_DEPTH = 1_000  # layers of a stage
MAX_ROWS = 100_000
Value = str | int | float | bool
CandidateKey = tuple[str, tuple[tuple[str, Value], ...]]
"""An architecture's id, and the recipe's values that its search space chooses, by their keys."""

_INTERNED: dict[tuple[object, ...], "Row"] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """One block: its name, its width and stride, and its options that differ from the default.

    `counted` remembers the block's cost for each (input channels, input size) it was counted at.
    """

    block: str
    out_channels: int
    stride: int = 1
    options: tuple[tuple[str, Value], ...] = ()
    counted: dict[tuple[int, int], Cost] = field(
        default_factory=dict, compare=False, repr=False, hash=False
    )

    def to_json(self) -> dict[str, Any]:
        """Return the row as one flat object."""
        row = {"block": self.block, "out_channels": self.out_channels, "stride": self.stride}
        return row | dict(self.options)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Row":
        """Read a row back; raises SpaceError where a field is missing or of the wrong type."""
        if not isinstance(data, Mapping):
            raise SpaceError(f"A row is an object, not {data!r}.")
        options = dict(data)
        try:
            block, width = options.pop("block"), options.pop("out_channels")
        except KeyError as missing:
            raise SpaceError(f"A row needs block and out_channels; {missing} is missing.") from None
        if not isinstance(block, str):
            raise SpaceError(f"A row's block is a name, not {block!r}.")
        stride = options.pop("stride", 1)
        for name, number in (("out_channels", width), ("stride", stride)):
            _check_count(f"{block}: {name}", number, MAX_WIDTH)
        for name, value in options.items():
            if not isinstance(value, Value):
                raise SpaceError(f"{block}: option {name} is text, a number or true/false.")
        return cls(block, width, stride, tuple(sorted(options.items())))


@dataclass(frozen=True)
class Architecture:
    """A network: what goes in, the rows in order, what comes out.

    Images are (in_channels, resolution, resolution); the last row of the head gives `classes`
    logits.
    """

    in_channels: int
    resolution: int
    classes: int
    stem: tuple[Row, ...]
    body: tuple[Row, ...]
    head: tuple[Row, ...]

    def __post_init__(self) -> None:
        # Rows that are equal become one object, so that what was counted once is counted for all.
        if len(_INTERNED) > 100_000:
            _INTERNED.clear()
        for part in ("stem", "body", "head"):
            shared = tuple(_INTERNED.setdefault(_key(row), row) for row in getattr(self, part))
            object.__setattr__(self, part, shared)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """All rows from the image to the logits."""
        return self.stem + self.body + self.head

    @cached_property
    def stages(self) -> tuple[tuple[Row, ...], ...]:
        """The body in stages: a new one begins where the stride is not 1 or the width changes."""
        stages: list[list[Row]] = []
        for row in self.body:
            begins = not stages or row.stride > 1 or row.out_channels != stages[-1][-1].out_channels
            stages.append([row]) if begins else stages[-1].append(row)
        return tuple(tuple(stage) for stage in stages)

    @cached_property
    def id(self) -> str:
        """Content hash of the rows, input channels, resolution and classes: 16 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def at(
        self,
        *,
        resolution: int | None = None,
        classes: int | None = None,
        in_channels: int | None = None,
    ) -> "Architecture":
        """Return this network for other images or another number of classes."""
        classes = self.classes if classes is None else classes
        return replace(
            self,
            resolution=self.resolution if resolution is None else resolution,
            in_channels=self.in_channels if in_channels is None else in_channels,
            classes=classes,
            head=(*self.head[:-1], replace(self.head[-1], out_channels=classes, counted={})),
        )

    def parts(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Yield (name, rows) of the stem, each stage and the head, in order."""
        yield "stem", self.stem
        for number, stage in enumerate(self.stages, start=1):
            yield f"stage{number}", stage
        yield "head", self.head

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as plain data."""
        return {
            "format": FORMAT,
            "in_channels": self.in_channels,
            "resolution": self.resolution,
            "classes": self.classes,
            "stem": [row.to_json() for row in self.stem],
            "stages": [[row.to_json() for row in stage] for stage in self.stages],
            "head": [row.to_json() for row in self.head],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Architecture":
        """Read an architecture back as it was written (`nas.blocks.canonical` checks the rows)."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise SpaceError(f'An architecture is an object with "format": "{FORMAT}".')
        try:
            sizes = {name: data[name] for name in ("in_channels", "resolution", "classes")}
            stem, stages, head = data["stem"], data["stages"], data["head"]
        except KeyError as missing:
            raise SpaceError(f"An architecture needs {missing}, which is missing.") from None
        for name, number in sizes.items():
            _check_count(name, number, MAX_RESOLUTION if name == "resolution" else MAX_WIDTH)
        for name, rows in (("stem", stem), ("stages", stages), ("head", head)):
            if not isinstance(rows, list):
                raise SpaceError(f"An architecture's {name} is a list, not {rows!r}.")
        body = []
        for number, stage in enumerate(stages, start=1):
            if not isinstance(stage, list):
                raise SpaceError(f"Stage {number} is a list of rows, not {stage!r}.")
            body += stage
        if len(stem) + len(body) + len(head) > MAX_ROWS:
            raise SpaceError(f"An architecture has at most {MAX_ROWS:,} rows, this one more.")
        parts = (tuple(Row.from_json(row) for row in rows) for rows in (stem, body, head))
        return cls(sizes["in_channels"], sizes["resolution"], sizes["classes"], *parts)


def _check_count(name: str, number: Any, most: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise SpaceError(f"{name} is a whole number from 1 to {most:,}, not {number!r}.")


def candidate_key(architecture_id: str, recipe: Mapping[str, Value]) -> CandidateKey:
    """Return the key of a network that is trained with these values of the recipe."""
    return architecture_id, tuple(sorted(recipe.items()))


def _key(row: Row) -> tuple[object, ...]:
    """Tell rows apart that are equal but are not the same JSON, as 6 and 6.0 are, or 1 and true."""
    return (row, *(type(value) for _, value in row.options))
