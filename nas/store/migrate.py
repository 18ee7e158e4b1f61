"""Bring a store's tables to the revisions of this program and this Optuna; rows are kept."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.errors import StoreError
from nas.store import dialects
from nas.store import engine as engines
from nas.store.schema import METADATA, VERSION_TABLE

# Our indexes on Optuna's tables: its own serve a trial's id, ours a study's states and values. An
# index changes nothing that Optuna reads or writes.
INDEXES = {
    ("trials", "ix_nas_optuna_trials_state"): "study_id, state",
    ("trial_values", "ix_nas_optuna_trial_values_value"): "value",
}


def revision(connection: sa.Connection, table: str = VERSION_TABLE) -> str | None:
    """Return the revision of a store's tables, None where there are none."""
    inspector = sa.inspect(connection)
    columns = inspector.get_columns(table) if inspector.has_table(table) else []
    if not any(column["name"] == "version_num" for column in columns):
        return None
    version = sa.table(table, sa.column("version_num", sa.String()))
    return connection.execute(sa.select(version.c.version_num)).scalar()


def revisions() -> list[str]:
    """Return every revision that this program knows, the newest first."""
    files = (Path(__file__).parent / "versions").glob("v*.py")
    return sorted((path.name[1:5] for path in files), reverse=True)


def head() -> str:
    """Return the revision that this program's tables have."""
    return revisions()[0]


def make_or_upgrade(engine: sa.Engine) -> None:
    """Make our tables, or run the missing migrations, in one transaction without other processes.

    Raise StoreError where a newer nas wrote the tables.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    scripts = _scripts()
    with (
        engine.begin() as connection,
        EnvironmentContext(
            Config(), scripts, fn=lambda at, _: scripts._upgrade_revs("head", at)
        ) as environment,
    ):
        dialects.of(connection).exclude_migrations(connection)
        environment.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            render_as_batch=True,  # SQLite can't alter most things in place
        )
        if refuse_newer(connection, engine.url) is None:
            METADATA.create_all(connection)
            environment.get_context().stamp(scripts, "head")
        environment.run_migrations()


def index_optunas(engine: sa.Engine) -> None:
    """Make our indexes on Optuna's tables where they are missing."""
    with engine.begin() as connection:
        dialects.of(connection).exclude_migrations(connection)
        inspector = sa.inspect(connection)
        for (table, name), columns in INDEXES.items():
            if name not in {index["name"] for index in inspector.get_indexes(table)}:
                connection.exec_driver_sql(
                    f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})"
                )


def upgrade(url: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Upgrade nas's and Optuna's tables; return the revisions before and after of each.

    Raise StoreError for no store or a newer one.
    """
    from nas.store.optuna_storage import reported, upgrade_optuna

    parsed = engines.parse(url)
    engines.read_engine(parsed).dispose()  # raises where there is no such file
    with reported(parsed, "upgrade"):
        engine = engines.write_engine(parsed)
        try:
            with engine.connect() as connection:
                before = revision(connection)
            if before is None:
                raise StoreError(
                    f"No store at {engines.masked(parsed)}: the database has no nas tables. "
                    "nas store init makes them."
                )
            make_or_upgrade(engine)
            optuna = upgrade_optuna(parsed)
            index_optunas(engine)
            return (before, head()), optuna
        finally:
            engine.dispose()


def refuse_newer(connection: sa.Connection, url: str | sa.URL) -> str | None:
    """Raise StoreError where a newer nas wrote the tables; return their revision."""
    stored, newest = revision(connection), head()
    if stored is None or stored in revisions():
        return stored
    raise StoreError(
        f"The store {engines.masked(url)} was written by a newer nas (revision {stored}, this one "
        f"knows {newest}): update nas, or use another store."
    )


def require_current(connection: sa.Connection, url: str) -> None:
    """Raise StoreError unless our tables have this program's revision."""
    stored, newest = refuse_newer(connection, url), head()
    if stored != newest:
        raise StoreError(
            f"The store {engines.masked(url)} has the tables of revision {stored}, this nas those "
            f"of {newest}: nas store upgrade brings them up to date."
        )


def _scripts() -> Any:
    from alembic.script import ScriptDirectory

    folder = Path(__file__).parent / "versions"
    return ScriptDirectory(str(folder), version_locations=[str(folder)])
