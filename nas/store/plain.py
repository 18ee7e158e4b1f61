"""Tables as plain rows: read as a stream, written in bulk, the same on every kind of database.

JSON and enumerations travel as the text they are stored as, so that nothing of them changes on the
way; numbers and times as Python's.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import sqlite

from nas.store import mariadb

Row = dict[str, Any]
BATCH = 5_000  # rows in memory at a time


def read(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[list[Row]]:
    """Yield a statement's rows in batches, without holding all of them."""
    with connection.execute(statement.execution_options(yield_per=BATCH)) as found:
        for part in found.mappings().partitions():
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
    if not rows:
        return
    names = list(rows[0])
    if connection.dialect.name == "postgresql":
        _copy_in(connection, table, names, rows, unless_known)
        return
    target = sa.table(table.name, *(_write(table.c[name]) for name in names))
    if not unless_known:
        connection.execute(sa.insert(target), rows)
    elif connection.dialect.name == mariadb.NAME:
        _insert_unknown(connection, table, target, rows)
    else:
        connection.execute(sqlite.insert(target).on_conflict_do_nothing(), rows)


def changed(
    batches: Iterable[list[Row]], change: Callable[[Row], Row | None]
) -> Generator[list[Row], None, None]:
    """Yield the batches with each row changed; those that become None are left out."""
    for batch in batches:
        yield [row for row in map(change, batch) if row is not None]


def update(
    connection: sa.Connection,
    table: sa.Table,
    key: sa.ColumnElement[bool],
    values: Mapping[str, Any],
) -> int:
    """Set plain values in the rows that `key` chooses; return how many there were."""
    given = {name: _as_stored(connection, table.c[name], values[name]) for name in values}
    return connection.execute(sa.update(table).where(key).values(given)).rowcount


def _is_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.JSON | sa.Enum)


def _read(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(column, sa.Text).label(column.name) if _is_text(column) else column


def _write(column: sa.Column[Any]) -> sa.ColumnClause[Any]:
    return sa.column(column.name, sa.Text() if _is_text(column) else column.type)


def _as_stored(connection: sa.Connection, column: sa.Column[Any], value: Any) -> Any:
    if not _is_text(column):
        return value
    literal = sa.literal(value, sa.Text())
    if connection.dialect.name != "postgresql":
        return sa.type_coerce(literal, column.type)
    return sa.cast(literal, column.type)


def _insert_unknown(
    connection: sa.Connection, table: sa.Table, target: sa.TableClause, rows: Sequence[Row]
) -> None:
    """Insert the rows whose key MariaDB has not; its own ways lock the others, or ignore errors."""
    unique = (each for each in table.constraints if isinstance(each, sa.UniqueConstraint))
    key = next(unique, table.primary_key).columns
    names = [column.name for column in key]
    while rows:
        wanted = key[0].in_({row[names[0]] for row in rows})
        known = {tuple(found) for found in connection.execute(sa.select(*key).where(wanted))}
        rows = [row for row in rows if tuple(row[name] for name in names) not in known]
        if not rows:
            return
        try:
            connection.execute(sa.insert(target), rows)
            return
        except exc.IntegrityError as error:  # another was faster with one of them: look again
            if error.orig is None or mariadb.code(error.orig) != mariadb.DUPLICATE:
                raise


def _copy_in(
    connection: sa.Connection,
    table: sa.Table,
    names: Sequence[str],
    rows: Sequence[Row],
    unless_known: bool,
) -> None:
    """Insert by PostgreSQL's COPY; where some may be known, by way of a temporary table."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(map(quote, names))
    into = quote(table.name)
    if unless_known:
        into = quote(f"incoming_{table.name}")
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {into} (LIKE {quote(table.name)}) ON COMMIT DROP"
        )
    statement = f"COPY {into} ({columns}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([row[name] for name in names])
    except connection.dialect.loaded_dbapi.Error as error:  # SQLAlchemy doesn't see it
        raise exc.DBAPIError(statement, None, error) from error
    if unless_known:
        connection.exec_driver_sql(
            f"INSERT INTO {quote(table.name)} ({columns}) SELECT {columns} FROM {into}"
            " ON CONFLICT DO NOTHING"
        )
        connection.exec_driver_sql(f"TRUNCATE {into}")
