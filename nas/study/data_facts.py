"""The facts of a study's data that an exported network needs, stored at the study's end.

With them a network is exported where its data set is not.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from nas.data import DataSet
from nas.data.pixels import PixelReading
from nas.store import queries, schema
from nas.training.changes import Statistics
from nas.training.images import normalisation


@dataclass(frozen=True)
class DataFacts:
    """A data set's name, classes and task, how its pixels were read, mean and deviation by size."""

    name: str
    class_names: tuple[str, ...]
    task: str
    reading: PixelReading
    statistics: Mapping[int, tuple[Statistics, Statistics]]

    @classmethod
    def of(cls, data: DataSet, sizes: Collection[int]) -> "DataFacts":
        """Collect the facts of a data set for networks of these resolutions."""
        statistics = {size: normalisation(data, size) for size in sorted(set(sizes))}
        return cls(data.name, data.classes, data.task, data.reading, statistics)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DataFacts":
        """Read them back."""
        levels, background = data["reading"]["levels"], data["reading"]["background"]
        return cls(
            data["name"],
            tuple(data["class_names"]),
            data["task"],
            PixelReading(levels and (levels[0], levels[1]), background),
            {int(size): (tuple(m), tuple(s)) for size, (m, s) in data["statistics"].items()},
        )


def stored_or_loaded(
    connection: sa.Connection, study_id: int, size: int, load: Callable[[], DataSet]
) -> DataFacts:
    """Return the stored facts of a study's data, those of the data where they lack this size."""
    stored = queries.attribute(connection, study_id, schema.DATA)
    facts = None if stored is None else DataFacts.from_json(stored)
    return facts if facts and size in facts.statistics else DataFacts.of(load(), [size])
