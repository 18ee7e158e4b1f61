"""A consistent copy of a store as one SQLite file, made while workers write."""

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from nas.errors import StoreError, UserError
from nas.store import engine as engines
from nas.store import queries
from nas.store.copying import Watch, copy
from nas.store.dialects import BUSY_TIMEOUT, SQLITE

_PAGES = 2_000  # copied at a time, 8 MB; between two the progress is shown


def backup(store: str, path: str | Path, *, force: bool = False, watch: Watch | None = None) -> str:
    """Write a store's content at one instant to a SQLite file, and return how it was made.

    A SQLite store is copied page by page, any other through a copy of its studies, which gives
    evaluations that run an expired lease. The file appears under its name when it is whole.
    Raises UserError where the file exists and `force` is not given, and for a URL.
    """
    if "://" in str(path):  # not to be made a file's name: it may have a password
        raise UserError("A backup is a file: give its path. nas store copy copies to a URL.")
    target = Path(path)
    if target.exists() and not force:
        raise UserError(f"{target} exists: name another file, or overwrite it with --force.")
    parsed = engines.parse(store)
    source = engines.sqlite_file(parsed)
    with queries.connect(store):  # before a file is made: is it a store?
        pass
    if source is not None and target.exists() and source.samefile(target):
        raise UserError(f"{target} is the store itself: name another file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with engines.translated(parsed, "back up"):
            if source is not None:
                _copy_pages(source, partial, watch)
            else:
                copy(store, f"sqlite:///{partial}", watch=watch)
            _finish(partial)
        for rest in engines.beside(target):  # a log of the old file would be applied to the new one
            rest.unlink(missing_ok=True)
        os.replace(partial, target)
    finally:
        for rest in (partial, *engines.beside(partial)):
            rest.unlink(missing_ok=True)
    return "page by page" if source is not None else "study by study"


def _copy_pages(source: Path, target: Path, watch: Watch | None) -> None:
    """Copy a SQLite database by its online backup, from one view of it."""

    def progress(_status: int, remaining: int, total: int) -> None:
        if watch is not None:
            watch("pages", total - remaining, total)

    try:
        with (
            closing(sqlite3.connect(SQLITE.uri(source), uri=True, timeout=BUSY_TIMEOUT)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.execute("BEGIN")
            old.execute("SELECT 1 FROM sqlite_master").fetchone()  # what comes later is not seen
            old.backup(new, pages=_PAGES, progress=progress)
    except sqlite3.Error as error:
        raise StoreError(f"Can't back up {source} to {target}: {error}.") from None


def _finish(path: Path) -> None:
    """Make the file whole by itself and its content durable."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # nothing left in a file beside it
        (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if damage != "ok":
        raise StoreError(f"The backup is damaged, and so may be the store: {damage}.")
    with open(path, "rb") as file:
        os.fsync(file.fileno())
