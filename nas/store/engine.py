"""Database URLs, engines, and errors of databases: in words that hide credentials, or waited out.

A server that restarts, a connection that drops, a lock that is held too long, a full disk: a
training that took minutes is not to be lost by it, so the worker waits.
"""

import atexit
import errno
import logging
import os
import random
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy import exc

from nas import credentials
from nas.errors import UNREADABLE, StoreAway, StoreError
from nas.store import dialects

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("nas")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries, twice as long each time
PATIENCE = 120.0  # seconds that a worker waits for its database
READERS = 8  # stores that a process reads by engines that are kept
DEFAULT_URL = "sqlite:///studies/nas.db"
_ENCODED = "postgresql://user:pass%40word@host:5432/database"
# SQLSTATE: connection, transaction rollback, resources (a full disk too), operator's intervention.
_PASSING_STATES = ("08", "40", "53", "57")
# What the system says of a network that breaks and of resources that are short for a while.
_BROKEN = (
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT),
    *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
    *(errno.ENOSPC, errno.EAGAIN, errno.ENOBUFS),
)
_PASSING_SIGNS = (
    *(os.strerror(number).lower() for number in _BROKEN),
    *("locked", "database or disk is full", "disk i/o error"),  # SQLite's words
    *("could not connect", "failed to resolve", "timeout", "timed out"),  # psycopg's
    *("server closed", "connection is lost", "eof detected", "unexpected eof"),
    *("starting up", "shutting down", "recovery mode", "not yet accepting", "too many"),
    "could not write init file",  # a full disk's first connection
)
WAITING, BACK = "waiting for", "the database answers again"  # logged by those that wait
_EXAMPLES = "sqlite:///studies/nas.db or postgresql+psycopg://user@host/database"


def parse(url: str) -> sa.URL:
    """Return `url` with its driver filled in; raise StoreError for a URL that names no store.

    No message shows any part of a text that may be a password.
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
    if backend != "sqlite":
        raise StoreError(f"A store is SQLite or PostgreSQL, not {backend!r}: write {_EXAMPLES}.")
    if parsed.database in (None, "", ":memory:") or "uri" in parsed.query:
        raise StoreError("A store outlives its process, so it needs a file: sqlite:///PATH.")
    return parsed.set(database=os.path.expanduser(str(parsed.database)))


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
    name = str(url.database)
    if name.startswith("file:"):  # the URI of an engine that reads
        name = unquote(urlsplit(name).path)
    return dialects.original(Path(name)) if is_file else None


def beside(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside one that is open."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Return the options of `create_engine` that every engine on this store shares."""
    return dialects.of(url).options(url)


def write_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose transactions take SQLite's write lock when they begin.

    Not those of connections with the execution option `deferred`, which are for reading.
    """
    engine = _create_engine(url)
    dialects.of(url).prepare(engine)
    return engine


def read_engine(url: sa.URL) -> sa.Engine:
    """Return a new engine that can't write and creates nothing."""
    readable, options = _readable(url)
    return _create_engine(readable).execution_options(**options)


class _Readers:
    """The engines by which this process reads stores, one for each URL.

    An engine knows its database and the SQL that it has compiled; making one anew costs more than
    most reads. A SQLite file is opened for each read, so that another file of its name is seen; of
    a server a few connections are kept. A process that was forked makes its own.
    """

    def __init__(self) -> None:
        self._engines: OrderedDict[sa.URL, sa.Engine] = OrderedDict()
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def get(self, url: sa.URL) -> sa.Engine:
        """Return the engine of a URL; raises StoreError where a file is not there."""
        readable, options = _readable(url)
        pool = dialects.of(url).reading_pool
        with self._lock:
            engine = self._engines.pop(readable, None)
            if engine is None:
                engine = _create_engine(readable, **pool).execution_options(**options)
            self._engines[readable] = engine
            old = self._engines.popitem(last=False)[1] if len(self._engines) > READERS else None
        if old is not None:
            old.dispose()
        return engine

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

    def _forget(self) -> None:
        """Leave a parent's connections alone."""
        for engine in self._engines.values():
            engine.dispose(close=False)
        self._engines.clear()
        self._lock = threading.Lock()


def _readable(url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
    """Return the URL and the options of an engine that reads; raises StoreError without a file."""
    path = sqlite_file(url)
    if path is not None and not path.is_file():
        raise StoreError(
            f"No store at {masked(url)}: there is no such file. "
            "Name another with --store or NAS_STORE, or run a search first."
        )
    return dialects.of(url).read_only(url)


readers = _Readers()


def _create_engine(url: sa.URL, **pool: Any) -> sa.Engine:
    try:
        return sa.create_engine(url, **engine_options(url), **pool)
    except ImportError:
        raise StoreError(
            f"The store {masked(url)} needs psycopg 3: pip install 'nas[postgresql]'."
        ) from None


@contextmanager
def translated(url: sa.URL, doing: str) -> Iterator[None]:
    """Turn the database's errors into StoreError, naming the store without its credentials."""
    try:
        yield
    except UNREADABLE as error:  # a row that is not what it should be
        raise StoreError(
            f"Can't {doing} the store {masked(url)}: rows are damaged ({type(error).__name__}). "
            "nas store check says which."
        ) from error
    except (exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = _reason(error)
        said = f"Can't {doing} the store {masked(url)}: {hidden(url, reason).rstrip('.')}."
        hint = dialects.of(url).how_to_create(url, reason)
        if _is_passing(error) and not hint:
            raise StoreAway(said) from None
        another = f"Name another with --store or NAS_STORE: {_EXAMPLES}."
        raise StoreError(f"{said} {hint or another}") from None


def _reason(error: BaseException) -> str:
    """Return the first line of a database's or its driver's message."""
    cause = getattr(error, "orig", None) or error
    text = str(cause.strerror if isinstance(cause, OSError) else cause).strip()
    return text.splitlines()[0] if text else type(cause).__name__


def _is_passing(error: BaseException) -> bool:
    """Tell whether a database's error may be over soon, so that the same step can succeed."""
    if not isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
        return False
    if isinstance(error, exc.TimeoutError) or error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    text = str(error.orig).lower()
    return any(sign in text for sign in _PASSING_SIGNS)


def patient(step: Callable[P, T]) -> Callable[P, T]:
    """Make a step repeat itself, ever more slowly, while the database is away.

    An earlier try may have been committed although its answer was lost. Raises StoreAway when the
    database stays away for `PATIENCE` seconds.
    """

    @wraps(step)
    def patiently(*arguments: P.args, **named: P.kwargs) -> T:
        pause, ends = FIRST_PAUSE, time.monotonic() + PATIENCE
        while True:
            try:
                result = step(*arguments, **named)
            except StoreAway as error:
                left = ends - time.monotonic()
                if left <= 0:
                    raise
                log.warning("%s the database: %s", WAITING, error)
                time.sleep(min(left, pause * random.uniform(0.5, 1.5)))
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if pause > FIRST_PAUSE:
                    log.warning(BACK)
                return result

    return patiently


def secrets(url: sa.URL) -> list[str]:
    """Return all that a URL must not show, decoded: its password and its secret options."""
    values = [url.password]
    for name, value in url.query.items():
        if credentials.SECRET_NAME.search(name):
            values += [value] if isinstance(value, str) else list(value)
    return [str(value) for value in values if value]


def hidden(url: sa.URL, text: str) -> str:
    """Return a text without the secrets of the URL."""
    return credentials.hidden(text, secrets(url))
