"""Tables as plain rows: read as a stream, written in bulk, the same on both databases.

JSON and enumerations travel as the text they are stored as, so that nothing of them changes on the
way; numbers and times as Python's.
"""

from collections.abc import Generator, Sequence
from typing import Any

import sqlalchemy as sa

from nas.store import dialects

Row = dict[str, Any]
BATCH = 5_000  # rows in memory at a time


def read(connection: sa.Connection, statement: sa.Select[Any]) -> Generator[list[Row], None, None]:
    """Yield a statement's rows in batches, without holding all of them."""
    with connection.execute(statement.execution_options(yield_per=BATCH)) as result:
        for part in result.mappings().partitions():
            yield [dict(row) for row in part]


def select(table: sa.Table) -> sa.Select[Any]:
    """Return the SELECT of all of a table's columns as plain values."""
    return sa.select(*(_read(column) for column in table.columns))


def insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Row],
    *,
    unless_known: bool = False,
) -> None:
    """Insert plain rows, which all have the same columns; with `unless_known` only new keys."""
    if rows:
        target = sa.table(table.name, *(_write(table.c[name]) for name in rows[0]))
        dialects.of(connection).insert_many(connection, target, rows, unless_known=unless_known)


def _is_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.JSON | sa.Enum)


def _read(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(column, sa.Text).label(column.name) if _is_text(column) else column


def _write(column: sa.Column[Any]) -> sa.ColumnClause[Any]:
    return sa.column(column.name, sa.Text() if _is_text(column) else column.type)
