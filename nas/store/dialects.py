"""SQLite and PostgreSQL: all in which the two databases differ, in two classes alike."""

import atexit
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.functions import FunctionElement

BUSY_TIMEOUT = 60.0  # seconds a SQLite writer waits for another's transaction
RECYCLE_SECONDS = 1800
CONNECT = {  # to a server: what a firewall has dropped is noticed, not waited for
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds that sent data may stay unanswered
    "application_name": "nas",
}
_ADVISORY_LOCK = 0x6E6173  # "nas": one process at a time migrates a PostgreSQL store
_QUEUE_LOCK = 0x6E6174  # one process at a time chooses from the queue of searches, or adds to it
_NO_DATABASE = re.compile(r'database ".*" does not exist')


def _nothing(*_: Any, **_options: Any) -> None:
    """Do nothing: the database needs nothing here."""


def _no_findings(*_: Any) -> list[str]:
    return []


_originals: dict[Path, Path] = {}  # by their copies


def original(path: Path) -> Path:
    """Return the file of a store, also of one that is read from a copy."""
    return _originals.get(path, path)


@cache
def _copied(*files: Path) -> Path:
    """Copy files of a read-only medium to a folder that lasts as long as the process."""
    folder = tempfile.mkdtemp(prefix="nas-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copies = [Path(shutil.copy(file, folder)).resolve() for file in files]
    _originals[copies[0]] = files[0]
    return copies[0]


class SQLite:
    """One file in WAL mode, with one writer at a time."""

    name, version = "SQLite", "SELECT sqlite_version()"
    clock = "((julianday('now') - 2440587.5) * 86400.0)"
    gap = "(julianday(ended) - julianday(begun)) * 86400.0"  # seconds between two columns
    insert = staticmethod(sqlite.insert)
    holds_types = False  # any value fits any column
    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    reading: Mapping[str, Any] = {"deferred": True}  # options of a connection that only reads
    reading_pool: Mapping[str, Any] = {"poolclass": NullPool}  # of an engine that is kept
    # a transaction is the only writer
    exclude_migrations = exclude_takers = lock = staticmethod(_nothing)
    how_to_create = staticmethod(_nothing)  # a file is made when it is opened

    def options(self, _url: sa.URL) -> dict[str, Any]:
        """Return the options of `create_engine`."""
        return {"connect_args": {"timeout": BUSY_TIMEOUT}}

    def prepare(self, engine: sa.Engine, *, begin: bool = True) -> None:
        """Prepare an engine for writing; with `begin` its transactions begin with the write lock.

        Those of connections with the execution option `deferred`, which only read, do not.
        """

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: object) -> None:
            if begin:
                connection.isolation_level = None  # BEGIN is ours to emit
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")  # commits need no fsync in WAL mode
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        if begin:

            @event.listens_for(engine, "begin")
            def lock(connection: sa.Connection) -> None:
                deferred = connection.get_execution_options().get("deferred", False)
                connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    def read_only(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Return the URL and the execution options of an engine that can't write."""
        path, _, query = self.uri(Path(str(url.database))).partition("?")
        options = dict(pair.split("=") for pair in query.split("&"))
        return url.set(database=path, query=options | {"uri": "true"}), {}

    def uri(self, path: Path) -> str:
        """Return the URI by which a file is read.

        In WAL mode a reader makes files beside it. On a read-only medium it can't: there nobody
        writes to the file, and one whose log was not emptied is copied to where both can be read.
        """
        path = path.resolve()
        log, index = (path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))
        if os.access(path.parent, os.W_OK):
            return f"{path.as_uri()}?mode=ro"
        if not (log.exists() and log.stat().st_size):
            return f"{path.as_uri()}?immutable=1"
        return f"{(path if index.exists() else _copied(path, log)).as_uri()}?mode=ro"

    def freeze(self, connection: sa.Connection) -> sa.Connection:
        """Begin a transaction that sees the database at one instant."""
        connection.exec_driver_sql("BEGIN")  # without it each SELECT has its own view
        return connection

    def journal(self, connection: sa.Connection) -> str | None:
        """Return how the file's changes are logged."""
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())

    def damage(self, connection: sa.Connection) -> list[str]:
        """Return SQLite's own findings about its file."""
        lines = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all()
        return [] if lines == ["ok"] else [str(line) for line in lines]

    def insert_many(
        self,
        connection: sa.Connection,
        target: sa.TableClause,
        rows: Sequence[Mapping[str, Any]],
        *,
        unless_known: bool,
    ) -> None:
        """Insert rows with equal columns; with `unless_known` only those whose key is new."""
        statement = sqlite.insert(target)
        connection.execute(statement.on_conflict_do_nothing() if unless_known else statement, rows)

    def reserve(
        self, _engine: sa.Engine, connection: sa.Connection, key: sa.Column[int], ids: range
    ) -> int:
        """Return how far up `ids` must move; `connection` has the only right to write."""
        return _distance(connection.execute(sa.select(sa.func.max(key))).scalar() or 0, ids)


class PostgreSQL:
    """A server for several machines."""

    name, version = "PostgreSQL", "SHOW server_version"
    clock = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    gap = "extract(epoch FROM ended - begun)"
    insert = staticmethod(postgresql.insert)
    holds_types = True
    triggers = (
        "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
    )
    # Each statement sees its own moment in a transaction too: reading without one is spared two of
    # three journeys to the server.
    reading: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    reading_pool: Mapping[str, Any] = {"pool_size": 2, "max_overflow": -1}
    prepare = journal = staticmethod(_nothing)  # a server looks after its files itself
    damage = staticmethod(_no_findings)

    def options(self, url: sa.URL) -> dict[str, Any]:
        """Return the options of `create_engine`; those of the URL win over ours."""
        return {
            "pool_pre_ping": True,  # a connection that broke while it was idle is made again
            "pool_recycle": RECYCLE_SECONDS,
            "connect_args": {key: value for key, value in CONNECT.items() if key not in url.query},
        }

    def read_only(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Return the URL and the execution options of an engine that can't write."""
        return url, {"postgresql_readonly": True}

    def freeze(self, connection: sa.Connection) -> sa.Connection:
        """Begin a transaction that sees the database at one instant."""
        return connection.execution_options(isolation_level="REPEATABLE READ")

    def exclude_migrations(self, connection: sa.Connection) -> None:
        """Wait until no other process changes tables, and keep others from it in a transaction."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))

    def exclude_takers(self, connection: sa.Connection) -> None:
        """Keep others from choosing from the queue of searches until the transaction ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_QUEUE_LOCK)))

    def lock(self, connection: sa.Connection, row: sa.Select[Any], key: int) -> None:
        """Lock the row that a statement selects by its `key`, until the transaction ends."""
        connection.execute(row.with_for_update(), {"key": key})

    def how_to_create(self, url: sa.URL, reason: str) -> str | None:
        """Return the command that creates a missing database; nas creates tables, not databases."""
        if not _NO_DATABASE.search(reason):
            return None
        quoted = '"' + str(url.database).replace('"', '""') + '"'
        return (
            f"Create it first, as a user who may: createdb --host={url.host or 'localhost'} "
            f"{shlex.quote(str(url.database))}, or in psql: CREATE DATABASE {quoted};"
        )

    def insert_many(
        self,
        connection: sa.Connection,
        target: sa.TableClause,
        rows: Sequence[Mapping[str, Any]],
        *,
        unless_known: bool,
    ) -> None:
        """Insert by COPY; with `unless_known`, by way of a temporary table, rows with new keys."""
        quote = connection.dialect.identifier_preparer.quote
        name, columns = quote(target.name), ", ".join(quote(key) for key in rows[0])
        into = quote(f"incoming_{target.name}") if unless_known else name
        if unless_known:
            connection.exec_driver_sql(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {into} (LIKE {name}) ON COMMIT DROP"
            )
        statement = f"COPY {into} ({columns}) FROM STDIN"
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row([row[key] for key in rows[0]])
        except connection.dialect.loaded_dbapi.Error as error:  # SQLAlchemy doesn't see it
            raise exc.DBAPIError(statement, None, error) from error
        if unless_known:
            connection.exec_driver_sql(
                f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {into}"
                " ON CONFLICT DO NOTHING"
            )
            connection.exec_driver_sql(f"TRUNCATE {into}")

    def reserve(
        self, engine: sa.Engine, _connection: sa.Connection, key: sa.Column[int], ids: range
    ) -> int:
        """Move a table's sequence beyond `ids`; return how far up they must move.

        This is a short transaction of its own: the ids stay unused where the copy fails.
        """
        table = key.table.name
        sequence = sa.func.pg_get_serial_sequence(table, key.name)
        with engine.begin() as short:
            short.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            owner = short.execute(sa.select(sequence)).scalar_one()
            last = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {owner}"
            given = short.exec_driver_sql(last).scalar_one()
            taken = max(given, short.execute(sa.select(sa.func.max(key))).scalar() or 0)
            move = _distance(taken, ids)
            highest = max(taken, ids[-1] + move)
            short.execute(sa.select(sa.func.setval(owner, highest)))
        return move


Dialect = SQLite | PostgreSQL
SQLITE = SQLite()
DIALECTS: dict[str, Dialect] = {"sqlite": SQLITE, "postgresql": PostgreSQL()}


def of(database: sa.URL | sa.Connection | sa.Engine) -> Dialect:
    """Return the dialect of a URL or of a connection."""
    if isinstance(database, sa.URL):
        return DIALECTS[database.get_backend_name()]
    return DIALECTS[database.dialect.name]


class DatabaseSeconds(FunctionElement[float]):
    """The database's own clock in Unix seconds: the clocks of workers may differ, it is one."""

    type = sa.Double()
    inherit_cache = True


@compiles(DatabaseSeconds)
def _clock(_element: Any, compiler: Any, **_options: Any) -> str:
    return DIALECTS[compiler.dialect.name].clock


def insert_new(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> Any:
    """Insert a row unless its key is known; return its key, None for a known one."""
    return connection.execute(_inserting(of(connection), table), dict(values)).scalar()


@cache
def _inserting(dialect: Dialect, table: sa.Table) -> Any:
    key = next(iter(table.primary_key))
    return dialect.insert(table).on_conflict_do_nothing().returning(key)


def upsert(
    connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: Sequence[Any]
) -> None:
    """Insert rows, or update those that have the same unique key."""
    if rows:
        connection.execute(_upserting(of(connection), table, key), rows)


@cache
def _upserting(dialect: Dialect, table: sa.Table, key: tuple[str, ...]) -> Any:
    statement = dialect.insert(table)
    names = [each.name for each in table.columns if not each.primary_key and each.name not in key]
    given = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=key, set_=given)


def finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: NaN and infinities become null."""
    return {name: finite_number(value) for name, value in metrics.items()}


def finite_number(value: float | None) -> float | None:
    """Return a number, or None for NaN and infinities, which JSON and SQL can't hold."""
    return value if value is not None and abs(value) < float("inf") else None


def _distance(highest_given: int, ids: range) -> int:
    """Return 0 where no id as high as the lowest was given out."""
    return 0 if ids[0] > highest_given else highest_given + 1 - ids[0]
