"""Has a database the tables of the schema, and each column values of its type?

All is derived from the declared tables, Optuna's and ours: what is declared is looked after.
"""

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any

import sqlalchemy as sa

from nas.store import dialects, history, migrate, plain, schema

OF_VERSIONS = ("alembic_version", schema.VERSION_TABLE)
FIRST = datetime(2020, 1, 1)  # no store is older
MAY_LACK = ("datetime_start", "datetime_complete", "value", "intermediate_value")  # in Optuna's
SKEW = timedelta(days=1)  # between the clocks of machines
AHEAD = ("expires",)  # times that lie ahead
Broken = tuple[str, str]
"""The rule that is broken, in words, and where."""


@cache
def tables() -> dict[str, sa.Table]:
    """Return the tables of a store, Optuna's and ours, with all their indexes."""
    made = sa.MetaData(naming_convention=schema.METADATA.naming_convention)
    for table in (*history.TABLES.values(), *schema.METADATA.tables.values()):
        table.to_metadata(made)
    for version in OF_VERSIONS:
        sa.Table(version, made, sa.Column("version_num", sa.String(32), primary_key=True))
    for (of, name), columns in migrate.INDEXES.items():
        sa.Index(name, *(made.tables[of].c[each] for each in columns.split(", ")))
    return dict(made.tables)


def missing(connection: sa.Connection) -> list[str]:
    """Return the names of the tables that the database lacks."""
    stored = sa.inspect(connection).get_table_names()
    return [name for name in tables() if name not in stored]


def differences(connection: sa.Connection) -> Iterator[Broken]:
    """Yield each difference of the database's tables from the schema's, and foreign triggers."""
    stored = sa.MetaData()
    stored.reflect(connection, only=lambda name, _: name in tables(), resolve_fks=False)
    for name, table in tables().items():
        wanted, seen = set(_parts(table)), set(_parts(stored.tables[name]))
        yield from (("parts of tables that are missing", each) for each in sorted(wanted - seen))
        yield from (("parts of tables that are foreign", each) for each in sorted(seen - wanted))
    for name in connection.exec_driver_sql(dialects.of(connection).triggers).scalars():
        yield "triggers that are foreign", str(name)


def foreign(connection: sa.Connection) -> list[str]:
    """Return the names of tables and views that are neither Optuna's nor ours."""
    inspector = sa.inspect(connection)
    return sorted({*inspector.get_table_names(), *inspector.get_view_names()} - tables().keys())


def _parts(table: sa.Table) -> Iterator[str]:
    """Yield the columns, keys and indexes of a table, declared or as the database has it, alike."""
    for column in table.columns:
        kind = str if isinstance(column.type, sa.Enum) else column.type.python_type
        needed = "" if column.nullable or column.primary_key else ", not null"
        yield f"{column} ({kind.__name__}{needed})"
        for key in column.foreign_keys:
            yield f"{column} refers to {key.target_fullname}"
    yield f"primary key of {table.name}: {_names(table.primary_key)}"
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            yield f"{table.name} unique by {_names(constraint)}"
    for index in table.indexes:
        how = "unique by" if index.unique else "has an index on"
        yield f"{table.name} {how} {_names(index)}"


def _names(of: sa.Index | sa.PrimaryKeyConstraint | sa.UniqueConstraint) -> str:
    return ", ".join(column.name for column in of.columns)


def orphans(connection: sa.Connection) -> Iterator[Broken]:
    """Yield the rows that refer to rows that are gone: a program may write without foreign keys."""
    for table in tables().values():
        for key in (key for column in table.columns for key in column.foreign_keys):
            parent = key.column.table.alias("parent")
            there = sa.exists().where(parent.c[key.column.name] == key.parent)
            lost = sa.select(*table.primary_key).where(key.parent.is_not(None), ~there)
            for row in connection.execute(lost):
                what = f"{table.name} refers to {key.column.table.name}"
                yield "rows that refer to rows that are gone", f"{what}: {_place(table, row)}"


def unreadable(connection: sa.Connection) -> Iterator[Broken]:
    """Yield the values that are not of their column's type: SQLite holds anything anywhere."""
    is_text = dialects.of(connection).holds_types  # JSON travels as the text that it is stored as
    for table in tables().values():
        tests = {column.name: _test(column) for column in table.columns}
        rows = plain.select(table) if is_text else sa.select(*map(_untyped, table.columns))
        try:
            for row in (row for rows in plain.read(connection, rows) for row in rows):
                for name, value in row.items():
                    if not tests[name](value):
                        where = _place(table, [row[key.name] for key in table.primary_key])
                        yield f"values of {table.name}.{name} that can't be read", where
        except sa.exc.SQLAlchemyError as error:
            yield "tables that can't be read", f"{table.name}: {getattr(error, 'orig', error)}"


def _untyped(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)


def _place(table: sa.Table, key: Any) -> str:
    return f"{table.name} {'/'.join(map(str, key))}"


def _test(column: sa.Column[Any]) -> Callable[[Any], bool]:
    """Return the test of a column's values."""
    kind = column.type
    of_json = isinstance(kind, sa.JSON) or column.name.endswith("_json")
    if of_json:
        is_value: Callable[[Any], bool] = partial(_is_json, column.name)
    elif isinstance(kind, sa.Enum):
        is_value = {*kind.enums}.__contains__
    elif isinstance(kind, sa.String):
        is_value = partial(_is_text, kind.length or math.inf)
    elif isinstance(kind, sa.DateTime):
        is_ahead = column.name in AHEAD
        is_value = partial(_is_time, datetime.max if is_ahead else schema.utc_now() + SKEW)
    else:
        is_value = partial(_is_number, kind.python_type, 1 if column.primary_key else -math.inf)
    is_given = column.table.name in history.TABLES and column.name not in MAY_LACK
    may_lack = bool(column.nullable) and not is_given
    return lambda value: may_lack if value is None else is_value(value)


def _is_text(length: float, value: object) -> bool:
    return isinstance(value, str) and len(value) <= length


def _is_number(kind: type, lowest: float, value: object) -> bool:
    kinds = (int, float) if kind is float else int
    return isinstance(value, kinds) and max(lowest, -1e308) <= value < math.inf


def _is_time(latest: datetime, value: Any) -> bool:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return FIRST <= time <= latest
    except (TypeError, ValueError):
        return False


@lru_cache(100_000)
def _is_json(name: str, value: Any) -> bool:
    """Tell whether a text is JSON, and the kind of JSON that a column of this name holds."""
    try:
        data = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return False
    if name == "metrics":
        return isinstance(data, dict) and all(map(_is_measured, data.values()))
    kinds = {"config": dict, "json": dict, "words": list, "distribution_json": dict}
    return isinstance(data, kinds.get(name, object))


def _is_measured(value: object) -> bool:
    return value is None or _is_number(float, -math.inf, value)
