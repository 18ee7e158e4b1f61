"""Database URLs and engines: SQLite in WAL mode by default, a server's for several machines."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from nas import credentials
from nas.errors import StoreAway, StoreError
from nas.store import mariadb

DEFAULT_URL = "sqlite:///studies/nas.db"
BUSY_TIMEOUT = 60.0  # seconds a SQLite writer waits for another's transaction
# A server's connections: what a firewall has dropped is noticed, not waited for.
RECYCLE_SECONDS = 1800
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds that sent data may stay unanswered
    "application_name": "nas",
}
_ENCODED = "postgresql://user:pass%40word@host:5432/database"
# SQLSTATE: connection, transaction rollback, resources (a full disk too), operator's intervention.
_PASSING_STATES = ("08", "40", "53", "57")
_PASSING_SIGNS = (
    *("locked", "database or disk is full", "disk i/o error"),  # SQLite's words
    *("connection refused", "could not connect", "failed to resolve", "timeout"),  # psycopg's
    *("timed out", "starting up", "shutting down", "server closed", "connection is lost"),
    *("too many", "no route to host"),
)
_EXAMPLES = "sqlite:///studies/nas.db or postgresql+psycopg://user@host/database"
_NO_DATABASE = re.compile(r'database ".*" does not exist')


def parse(url: str) -> sa.URL:
    """Return `url` with its driver filled in; raise StoreError for what is no store.

    No message shows any part of what may be a password.
    """
    if not url.startswith("sqlite") and url.count("@") > 1:  # where does the password end?
        raise StoreError(
            "A store's URL has one '@', before its host: percent-encode the password and the "
            f"user's name ('@' is %40), as in {_ENCODED}."
        )
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        raise StoreError(f"A store is named by a database URL, such as {_EXAMPLES}.") from None
    except ValueError:
        raise StoreError(
            "The store's URL can't be read: a port is a number, an IPv6 host is in brackets, and "
            f"a password is percent-encoded, as in {_ENCODED}."
        ) from None
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend in ("mysql", "mariadb"):
        if not parsed.database:
            raise StoreError("MariaDB's URL names a database: mariadb://user@host/database.")
        return parsed.set(drivername=mariadb.DRIVER)
    if backend != "sqlite":
        raise StoreError(
            f"A store is SQLite, PostgreSQL or MariaDB, not {backend!r}: write {_EXAMPLES}."
        )
    if parsed.database in (None, "", ":memory:") or "uri" in parsed.query:
        raise StoreError("A store outlives its process, so it needs a file: sqlite:///PATH.")
    return parsed


def resolve(url: str | None) -> str:
    """Return the store's URL: the one given, else NAS_STORE, else the default."""
    return url or os.environ.get("NAS_STORE") or DEFAULT_URL


def masked(url: str | sa.URL) -> str:
    """Return the URL as it may be shown: without password and without query."""
    parsed = parse(url) if isinstance(url, str) else url
    return parsed.set(query={}).render_as_string(hide_password=True)


def sqlite_file(url: sa.URL) -> Path | None:
    """Return the file of a SQLite store, None for a server's."""
    is_file = url.get_backend_name() == "sqlite" and url.database is not None
    return Path(str(url.database)) if is_file else None


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Return the options of `create_engine` that every engine on this store shares."""
    if sqlite_file(url) is not None:
        return {"connect_args": {"timeout": BUSY_TIMEOUT}}
    is_mariadb = url.get_backend_name() == mariadb.NAME
    ours: dict[str, Any] = mariadb.OPTIONS if is_mariadb else _POSTGRESQL
    options: dict[str, Any] = {
        "pool_pre_ping": True,  # a connection that broke while it was idle is made again
        "pool_recycle": RECYCLE_SECONDS,
        "connect_args": {name: value for name, value in ours.items() if name not in url.query},
    }
    if is_mariadb:
        options["connect_args"]["init_command"] = mariadb.SESSION
        options["isolation_level"] = "READ COMMITTED"  # as PostgreSQL's: what others wrote is seen
    return options


def set_pragmas(connection: Any, _record: object = None) -> None:
    """Prepare one SQLite DB-API connection: commits need no fsync in WAL mode (synchronous 1)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def write_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose transactions take SQLite's write lock when they begin.

    Not those of connections with the execution option `deferred`, which are for reading.
    """
    engine = _create_engine(url)
    if sqlite_file(url) is not None:

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # BEGIN is ours to emit
            set_pragmas(connection)

        @event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            deferred = connection.get_execution_options().get("deferred", False)
            connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return engine


def read_engine(url: sa.URL) -> sa.Engine:
    """Return an engine that can't write and creates nothing."""
    path = sqlite_file(url)
    if path is None:
        engine = _create_engine(url).execution_options(postgresql_readonly=True)
        if url.get_backend_name() == mariadb.NAME:
            event.listen(engine, "connect", mariadb.forbid_writing)
        return engine
    if not path.is_file():
        raise StoreError(
            f"No store at {masked(url)}: there is no such file. "
            "Name another with --store or NAS_STORE, or run a search first."
        )
    uri = url.set(database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})
    return _create_engine(uri)


def _create_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, **engine_options(url))
    except ImportError:
        is_mariadb = url.get_backend_name() == mariadb.NAME
        driver, extra = ("PyMySQL", "mariadb") if is_mariadb else ("psycopg 3", "postgresql")
        raise StoreError(
            f"The store {masked(url)} needs {driver}: pip install 'nas[{extra}]'."
        ) from None


@contextmanager
def translated(url: sa.URL, doing: str) -> Iterator[None]:
    """Turn the database's errors into StoreError, naming the store without its credentials."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError) as error:
        reason = _reason(error)
        kind = StoreAway if _is_passing(error) else StoreError
        raise kind(
            f"Can't {doing} the store {masked(url)}: {hidden(url, reason).rstrip('.')}. "
            + (
                _how_to_create(url, reason)
                or f"Name another with --store or NAS_STORE: {_EXAMPLES}."
            )
        ) from None


def _reason(error: BaseException) -> str:
    """Return the first line of what a database or its driver says."""
    said = getattr(error, "orig", None) or error
    text = str(said.args[-1] if mariadb.code(said) is not None else said).strip()
    return text.splitlines()[0] if text else type(said).__name__


def _is_passing(error: BaseException) -> bool:
    """Tell whether a database's error may be over soon: nothing is wrong with what was asked."""
    if not isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
        return False
    if isinstance(error, exc.TimeoutError) or error.connection_invalidated:
        return True
    number = None if error.orig is None else mariadb.code(error.orig)
    if number is not None:
        return number in mariadb.PASSING
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    text = str(error.orig).lower()
    return any(sign in text for sign in _PASSING_SIGNS)


def _how_to_create(url: sa.URL, reason: str) -> str | None:
    """Return what to do where a server has no such database; nas creates tables, not databases."""
    if url.get_backend_name() == mariadb.NAME and mariadb.NO_DATABASE.search(reason):
        return f"Create it first, as a user who may: {mariadb.how_to_create(str(url.database))}"
    if url.get_backend_name() != "postgresql" or not _NO_DATABASE.search(reason):
        return None
    quoted = '"' + str(url.database).replace('"', '""') + '"'
    return (
        f"Create it first, as a user who may: createdb --host={url.host or 'localhost'} "
        f"{shlex.quote(str(url.database))}, or in psql: CREATE DATABASE {quoted};"
    )


def secrets(url: sa.URL) -> list[str]:
    """Return all that a URL must not show, decoded: its password and its secret options."""
    values = [url.password]
    for name, value in url.query.items():
        if credentials.SECRET_NAME.search(name):
            values += [value] if isinstance(value, str) else list(value)
    return [str(value) for value in values if value]


def hidden(url: sa.URL, text: str) -> str:
    """Return a text without what the URL must not show."""
    return credentials.hidden(text, secrets(url))


def database_seconds(connection: sa.Connection) -> sa.ColumnElement[float]:
    """Return the database's own clock in Unix seconds: workers' clocks may differ, it is one."""
    return seconds_on(connection.dialect.name)


def seconds_on(dialect: str) -> sa.ColumnElement[float]:
    """Return the clock of a kind of database, in Unix seconds."""
    now = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    if dialect == "sqlite":
        now = "((julianday('now') - 2440587.5) * 86400.0)"
    elif dialect == mariadb.NAME:
        now = mariadb.CLOCK
    return sa.literal_column(now, sa.Double())
