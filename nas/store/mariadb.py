"""What MariaDB wants otherwise: its connections, its clock, its passing errors, Optuna's limits.

Optuna keeps a text in a TEXT column, which ends after 65,535 bytes there. Nothing of ours is
longer but an attribute of a trial; texts of the dashboard are cut into parts (`parts`).
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from nas.errors import StoreError

NAME = "mariadb"
DRIVER = "mariadb+pymysql"
OPTIONS = {
    "connect_timeout": 10,
    "read_timeout": 120,  # seconds that an answer may take; a wait for a lock ends after 50
    "write_timeout": 60,
}
# A clock without summer time; errors instead of cut values; an UPDATE reads the old values; a copy
# may be slow to read; a change of tables waits a minute for those that use them, not a day.
SESSION = (
    "SET time_zone = '+00:00', net_write_timeout = 600, lock_wait_timeout = 60, "
    "sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,"
    "SIMULTANEOUS_ASSIGNMENT'"
)
CLOCK = "CAST(unix_timestamp(sysdate(6)) AS DOUBLE)"  # sysdate: of this moment, not the statement's
LONGEST = 65_535  # bytes of a text of Optuna's
LETTERS = 5_000  # of a part: each takes up to 12 bytes as JSON
_SECONDS_ALONE = 120
DUPLICATE = 1062
NO_DATABASE = re.compile("Unknown database")
PASSING = frozenset(
    {
        *(2002, 2003, 2006, 2013, 2014, 2055),  # no connection, or one that was lost
        *(1040, 1203, 1226),  # too many connections
        *(1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1317, 1927),  # the server ended it
        *(1020, 1205, 1213, 1412),  # a lock was waited for too long, a deadlock, tables in change
        *(1021, 1114),  # a full disk
        *(1047, 1290, 1792, 1836),  # another node of a cluster is about to take over
    }
)
_IN_PARTS = re.compile(r"dashboard:(\d+:)?(note_str|plot_data:.*):0", re.DOTALL)
log = logging.getLogger("nas")
_told: set[str] = set()  # attributes whose limit was logged


def code(error: BaseException) -> int | None:
    """Return the server's number of a driver's error, None where it has none."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else None


def forbid_writing(connection: Any, _record: object = None) -> None:
    """Prepare one DB-API connection that only reads."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")


def how_to_create(database: str) -> str:
    """Return the statement that makes a database."""
    return f"CREATE DATABASE {_quoted(database)} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;"


def require_exact_texts(connection: sa.Connection) -> None:
    """Raise StoreError where a database confuses texts, such as names in another case."""
    asked = sa.text("SELECT database(), @@collation_database")
    name, collation = connection.execute(asked).one()
    if not (collation.startswith("utf8mb4") and collation.endswith("_bin")):
        raise StoreError(
            f"The database {name} has the collation {collation}, which confuses texts that differ, "
            f"or can't hold all: ALTER DATABASE {_quoted(name)} CHARACTER SET utf8mb4 "
            "COLLATE utf8mb4_nopad_bin; before its first tables are made."
        )


@contextmanager
def alone(connection: sa.Connection) -> Iterator[None]:
    """Exclude other processes that want to be alone with the same database."""
    lock = "concat('nas ', md5(database()))"  # a server's names of locks are shared by all
    if connection.execute(sa.text(f"SELECT get_lock({lock}, {_SECONDS_ALONE})")).scalar() != 1:
        raise StoreError(
            "Another process has been making or upgrading the store's tables for "
            f"{_SECONDS_ALONE} seconds: try again when it is done."
        )
    try:
        yield
    finally:
        with suppress(exc.SQLAlchemyError):  # a connection that was lost holds no lock
            connection.execute(sa.text(f"DO release_lock({lock})"))


def parts(text: str) -> list[str]:
    """Return a text in parts that Optuna's columns hold, at least one."""
    return [text[at : at + LETTERS] for at in range(0, len(text), LETTERS)] or [""]


def held(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's attributes as Optuna's columns hold them: cut, or else left out.

    Our own tables have the whole of a reason, a notation and the metrics.
    """
    kept = {}
    for key, value in attributes.items():
        if len(json.dumps(value)) <= LONGEST:
            kept[key] = value
            continue
        if isinstance(value, str):
            kept[key] = f"{value[:LETTERS]} ... (cut: Optuna keeps at most 64 kB of it on MariaDB)"
        if key not in _told:
            _told.add(key)
            done = "is cut" if isinstance(value, str) else "is left out"
            log.warning(
                "the attribute %r %s: Optuna keeps at most 64 kB of one on MariaDB", key, done
            )
    return kept


def fitting(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows of another database as Optuna's columns hold them: long attributes in parts."""
    for row in rows:
        text = row.get("value_json") or ""
        if len(text.encode()) <= LONGEST:
            yield dict(row)
            continue
        key, value = row["key"], json.loads(text)
        values = held({key: value})
        if isinstance(value, str) and _IN_PARTS.fullmatch(key):
            values = {f"{key[:-1]}{place}": part for place, part in enumerate(parts(value))}
        for name, one in values.items():
            yield {**row, "key": name, "value_json": json.dumps(one)}


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
