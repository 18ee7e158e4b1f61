"""Small things that every write to our tables shares."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite

from nas.store import mariadb
from nas.store.models import Base
from nas.store.records import Metrics


def insert_new(connection: sa.Connection, table: type[Base], values: Mapping[str, Any]) -> Any:
    """Insert a row unless one with its key is there; return its key, None if it was there."""
    statement = _inserting(connection.dialect.name, table)
    try:
        return connection.execute(statement, dict(values)).scalar()
    except exc.IntegrityError as error:  # of MariaDB: the transaction goes on
        if error.orig is None or mariadb.code(error.orig) != mariadb.DUPLICATE:
            raise
        return None


@cache
def _inserting(dialect: str, table: type[Base]) -> Any:
    key = next(iter(sa.inspect(table).primary_key))
    if dialect == mariadb.NAME:  # it has no ON CONFLICT DO NOTHING; IGNORE would ignore too much
        return sa.insert(table).returning(key)
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing().returning(key)


def finite(metrics: Metrics) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: NaN and infinities become null."""
    return {name: finite_number(value) for name, value in metrics.items()}


def finite_number(value: float | None) -> float | None:
    """Return a number, or None for what JSON and SQL can't hold: NaN and infinities."""
    return value if value is not None and abs(value) < float("inf") else None
