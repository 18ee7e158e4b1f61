"""Small things that every write to our tables shares."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from nas.store.models import Base
from nas.store.records import Metrics


def insert_new(connection: sa.Connection, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there; tell whether it was inserted."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(values).on_conflict_do_nothing()
    inserted = connection.execute(statement.returning(sa.literal_column("1")))
    return inserted.first() is not None  # a row count is not known on PostgreSQL


def finite(metrics: Metrics) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: NaN and infinities become null."""
    return {name: finite_number(value) for name, value in metrics.items()}


def finite_number(value: float | None) -> float | None:
    """Return a number, or None for what JSON and SQL can't hold: NaN and infinities."""
    return value if value is not None and abs(value) < float("inf") else None
