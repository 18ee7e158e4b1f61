"""Bring a store's tables to what this program and this Optuna expect; rows are kept."""

from typing import NamedTuple

import sqlalchemy as sa
from optuna.storages import RDBStorage

from nas.errors import StoreError
from nas.store import engine as engines
from nas.store import migrate
from nas.store.optuna_storage import reported


class Upgraded(NamedTuple):
    """The revisions (before, after) of nas's tables and of Optuna's."""

    ours: tuple[str | None, str]
    optuna: tuple[str, str]


def upgrade(url: str) -> Upgraded:
    """Upgrade both sets of tables; raise StoreError where there is no store or a newer one."""
    parsed = engines.parse(url)
    path = engines.sqlite_file(parsed)
    if path is not None and not path.is_file():
        engines.read_engine(parsed)  # raises: there is no such file
    with reported(parsed, "upgrade"):
        engine = engines.write_engine(parsed)
        try:
            with engine.connect() as connection:
                before = migrate.revision(connection)
                if before is None:
                    raise StoreError(
                        f"No store at {engines.masked(parsed)}: the database has no nas tables. "
                        "nas store init makes them."
                    )
            migrate.upgrade(engine)
            return Upgraded((before, migrate.head()), _upgrade_optuna(parsed))
        finally:
            engine.dispose()


def _upgrade_optuna(url: sa.URL) -> tuple[str, str]:
    text = url.render_as_string(hide_password=False)
    escaped = text.replace("{", "{{").replace("}", "}}")  # RDBStorage formats its URL
    storage = RDBStorage(
        escaped, engine_kwargs=engines.engine_options(url), skip_compatibility_check=True
    )
    try:
        before, head = storage.get_current_version(), storage.get_head_version()
        if before not in storage.get_all_versions():
            raise StoreError(
                f"The store's Optuna tables have revision {before}, which this Optuna does not "
                f"know (it knows {head}): update optuna."
            )
        if before != head:
            storage.upgrade()
        return before, head
    finally:
        storage.remove_session()
        storage.engine.dispose()
