"""Bring the `nas_` tables of a store to the newest revision; Optuna's tables are left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.errors import StoreError
from nas.store import mariadb
from nas.store.models import PREFIX, VERSION_TABLE

_ADVISORY_LOCK = 0x6E6173  # "nas": one process at a time migrates a PostgreSQL store


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Tell whether autogenerate may look at a table: only at ours."""
    return kind != "table" or (name is not None and name.startswith(PREFIX))


def config(connection: sa.Connection) -> Any:
    """Return Alembic's configuration, made in code: a wheel has no alembic.ini."""
    from alembic.config import Config

    folder = Path(__file__).parent
    made = Config()
    made.set_main_option("script_location", str(folder).replace("%", "%%"))
    made.set_main_option("path_separator", "newline")
    made.set_main_option("version_locations", str(folder / "versions").replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def revision(connection: sa.Connection) -> str | None:
    """Return the revision of a store's tables, None where there are none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    statement = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    found: str | None = connection.execute(statement).scalar()
    return found


def revisions() -> list[str]:
    """Return every revision that this program knows, the newest first."""
    from alembic.script import ScriptDirectory

    folder = Path(__file__).parent
    script = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
    return [each.revision for each in script.walk_revisions()]


def head() -> str:
    """Return the revision that this program's tables have."""
    return revisions()[0]


def upgrade(engine: sa.Engine) -> None:
    """Run the missing migrations in one transaction that excludes other migrating processes.

    MariaDB commits after each step; a migration that was interrupted is run again.
    """
    from alembic import command
    from alembic.util import CommandError

    with engine.begin() as connection, alone(connection):
        try:
            command.upgrade(config(connection), "head")
        except CommandError as error:
            raise StoreError(
                f"The store was written by a newer nas ({error}): update nas, or use another store."
            ) from None


@contextmanager
def alone(connection: sa.Connection) -> Iterator[None]:
    """Exclude other processes that change tables; SQLite has one writer anyway."""
    if connection.dialect.name == mariadb.NAME:
        mariadb.require_exact_texts(connection)
        with mariadb.alone(connection):
            yield
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    yield
