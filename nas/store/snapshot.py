"""One consistent view of a store, read while others write: for copies, backups and checks."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nas.errors import StoreError
from nas.store import engine as engines
from nas.store import migrate, queries


@contextmanager
def snapshot(url: str) -> Iterator[sa.Connection]:
    """Open a store for reading at one instant; raise StoreError where there is none."""
    parsed = engines.parse(url)
    engine = engines.read_engine(parsed)
    if engines.sqlite_file(parsed) is None:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    try:
        with engines.translated(parsed, "read"), engine.connect() as connection:
            if engines.sqlite_file(parsed) is not None:
                connection.exec_driver_sql("BEGIN")  # without it each SELECT has its own view
            if not sa.inspect(connection).has_table("nas_studies"):
                raise queries.no_tables(parsed)
            yield connection
    finally:
        engine.dispose()


def require_current(connection: sa.Connection, url: str) -> None:
    """Raise StoreError unless our tables have this program's revision."""
    revision, head = migrate.revision(connection), migrate.head()
    if revision == head:
        return
    name = engines.masked(url)
    if revision in migrate.revisions():
        raise StoreError(
            f"The store {name} has the tables of revision {revision}, this nas those of {head}: "
            "nas store upgrade brings them up to date."
        )
    raise StoreError(
        f"The store was written by a newer nas (revision {revision}, this one knows {head}): "
        "update nas, or use another store."
    )
