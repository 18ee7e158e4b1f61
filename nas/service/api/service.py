"""What the routes of one server share: its store, where it looks for data, where it keeps files."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, cast

import sqlalchemy as sa
from fastapi import Depends, Request, Security

from nas.data import archive, formats
from nas.errors import NasError, NotFound, StoreError
from nas.service.api.access import permitted
from nas.store import audit, queries, searches
from nas.store.searches import Search
from nas.store.store import Store
from nas.store.tokens import Token
from nas.store.uploads import Upload
from nas.study.options import SUFFIX

FRESH = 1.0  # seconds in which what many ask for is read once
ANOTHER = "another search"  # the origin of a trial that is not the asker's to know


def endings() -> list[str]:
    """Return how the names of files end that can be sent: archives of images, data files."""
    return [*archive.TYPES, *formats.endings()]


def ending(name: str) -> str:
    """Return how a file's name ends, which says how it is read; empty for no file of data."""
    return max((each for each in endings() if name.lower().endswith(each)), key=len, default="")


class Recent:
    """What was read of each search within a second, for all who ask."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[float, Any]] = {}
        self._lock = Lock()

    def of(self, search_id: str, read: Callable[[], Any]) -> Any:
        """Return what was read of a search, or read it and keep it."""
        with self._lock:  # the others wait for the one that reads
            at, found = self._read.get(search_id, (-math.inf, None))
            if time.monotonic() - at >= FRESH:
                found = read()
                self.keep(search_id, found)
            return found

    def keep(self, search_id: str, found: Any) -> None:
        """Keep what was just read of a search for those who ask next."""
        now = time.monotonic()
        fresh = {of: each for of, each in self._read.items() if now - each[0] < FRESH}
        self._read = fresh | {search_id: (now, found)}


@dataclass(frozen=True)
class Service:
    """One server: `url` is its store's, `roots` the folders below which data may be named.

    `folder` holds uploads and downloads that were built. Records of who did what are kept for
    `audit_seconds`. `recent` has the searches' progress, the dearest of what all their readers ask.
    """

    store: Store
    url: str
    folder: Path
    roots: tuple[Path, ...] = ()
    audit_seconds: float = audit.KEPT
    recent: Recent = field(default_factory=Recent)

    def search(self, token: Token, search_id: str) -> Search:
        """Return a search that a token sees; raises NotFound."""
        with self.store.read() as connection:
            return searches.get(connection, search_id, token.sees)

    def study(self, token: Token, search_id: str) -> str:
        """Return the name of a visible search's study; raises NotFound before a worker began it."""
        search = self.search(token, search_id)
        with self.store.read() as connection:
            if not queries.exists(connection, search.id):
                raise NotFound(f"Search {search.id} is {search.state} and has no study yet.")
        return search.id

    def upload_path(self, upload: Upload) -> Path:
        """Return where the content of an upload lies."""
        return self.folder / "uploads" / f"{upload.digest}{ending(upload.name)}"

    @contextmanager
    def change(self, token: Token, action: str, subject: str = "") -> Iterator[sa.Connection]:
        """Begin a transaction that records who does something, and how it ends."""
        try:
            with self.store.write() as connection:
                yield connection
                audit.record(connection, token.id, action, subject)
        except StoreError:
            raise
        except NasError as error:
            with self.store.write() as connection:
                audit.record(connection, token.id, action, subject, type(error).__name__)
            raise


def visible(server: Service, token: Token, plain: Any) -> Any:
    """Return plain data in which a trial is reused from a search only if the token sees that one.

    Whoever trained the same network before is nobody else's to know.
    """
    if plain is None or token.sees is None or not (names := {*_origins(plain)}):
        return plain
    ids = {name: name.partition("/")[0].removesuffix(SUFFIX) for name in names}
    with server.store.read() as connection:
        own = searches.owned(connection, ids.values(), token.owner)
    return _renamed(plain, {name for name, search_id in ids.items() if search_id in own})


def _origins(plain: Any) -> Iterator[str]:
    """Yield where trials in plain data were reused from."""
    for value in plain.values() if isinstance(plain, dict) else plain:
        if isinstance(value, dict | list):
            yield from _origins(value)
    if isinstance(plain, dict) and plain.get("reused_from"):
        yield plain["reused_from"]


def _renamed(plain: Any, known: Collection[str]) -> Any:
    if isinstance(plain, list):
        return [_renamed(each, known) for each in plain]
    if not isinstance(plain, dict):
        return plain
    hidden = plain.get("reused_from") not in (None, *known)
    renamed = {name: _renamed(value, known) for name, value in plain.items()}
    return renamed | {"reused_from": ANOTHER} if hidden else renamed


async def _service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


Server = Annotated[Service, Depends(_service_of)]
Reader = Annotated[Token, Security(permitted, scopes=["read"])]
Submitter = Annotated[Token, Security(permitted, scopes=["submit"])]
Admin = Annotated[Token, Security(permitted, scopes=["admin"])]
