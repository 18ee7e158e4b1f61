"""A MariaDB for tests: the one of this machine, or a server of a test's own that may be killed."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from nas.store.mariadb import how_to_create

LOCAL = "mariadb+pymysql://root@127.0.0.1:3306"
PROGRAMS = ("mariadbd", "mariadb-install-db")
FOUND = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in PROGRAMS]
WHY_NOT = "no MariaDB is installed and none answers root at 127.0.0.1:3306"


class Server:
    """A server in a folder, on a port of the loopback, which needs no password."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder / "data", port
        self.url = f"mariadb+pymysql://root@127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the server's files and start it."""
        own = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        words = [str(FOUND[1]), *own, f"--datadir={self.folder}", f"--user={_user()}"]
        subprocess.run(words, check=True, timeout=120, stdout=subprocess.DEVNULL)
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        own = [
            "--no-defaults", f"--datadir={self.folder}", f"--user={_user()}",
            "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/s",
            "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync", f"--log-error={self.folder}/log",
        ]  # fmt: skip
        self.process = subprocess.Popen([str(FOUND[0]), *own])
        deadline = time.monotonic() + 60
        while not _answers(self.port):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server as its administrator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, how: int) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(60)


def _user() -> str:
    return "root" if os.geteuid() == 0 else "mysql"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def own_server() -> Iterator[Server]:
    """Run a server of one's own."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = Server(Path(folder), port)
        made.make()
        try:
            yield made
        finally:
            made.kill()


@cache
def server() -> str | None:
    """Return the URL of a server without a database, None where there is none.

    One of the tests' own where it is installed: it needs not wait for the disk.
    """
    if None not in FOUND:
        context = own_server()
        made = context.__enter__()
        atexit.register(context.__exit__, None, None, None)
        return made.url
    try:
        administer(LOCAL, "DO 1")
        return LOCAL
    except sa.exc.DBAPIError:  # there is none, or it wants a password
        return None


@contextmanager
def scratch_database(of: str | None = None) -> Iterator[str]:
    """Create a database as the documents say and drop it afterwards."""
    at, name = of or server(), f"nas_test_{uuid.uuid4().hex[:12]}"
    assert at is not None, WHY_NOT
    administer(at, how_to_create(name))
    try:
        yield f"{at}/{name}"
    finally:
        _engine(f"{at}/{name}").dispose()
        administer(at, f"DROP DATABASE {name}")


_free: list[str] = []  # databases with the tables of a store and no rows


@contextmanager
def ready_database(make_tables: Callable[[str], None]) -> Iterator[str]:
    """Yield a database with a store's tables and no rows; used again, for making them is slow."""
    if not _free:
        context = scratch_database()
        _free.append(context.__enter__())
        atexit.register(context.__exit__, None, None, None)
        make_tables(_free[0])
    url = _free.pop()
    tables = _tables(url)
    yield url
    if _tables(url) == tables:
        _empty(url, [name for name, _ in tables if "version" not in name])
        _free.append(url)


def _tables(url: str) -> list[tuple[object, ...]]:
    """Return the names of a database's tables and the revision of ours."""
    revision = "(SELECT version_num FROM nas_alembic_version)"
    statement = (
        f"SELECT table_name, {revision} FROM information_schema.tables"
        " WHERE table_schema = database() ORDER BY 1"
    )
    return [tuple(row) for row in administer(url, statement)]


def _empty(url: str, tables: list[object]) -> None:
    counting = (
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = database() AND auto_increment > 1"
    )
    emptied = [f"DELETE FROM {name}" for name in tables]
    counted = [f"ALTER TABLE {name} AUTO_INCREMENT = 1" for (name,) in administer(url, counting)]
    off, on = "SET foreign_key_checks = 0", "SET foreign_key_checks = 1"
    administer(url, off, "BEGIN", *emptied, "COMMIT", *counted, on)


def administer(url: str, *statements: str) -> list[sa.Row[tuple[object, ...]]]:
    """Run statements; return the rows of the last."""
    rows: list[sa.Row[tuple[object, ...]]] = []
    with _engine(url).connect() as connection:
        for statement in statements:
            found = connection.exec_driver_sql(statement)
            rows = list(found.all()) if found.returns_rows else []
    return rows


@cache
def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
