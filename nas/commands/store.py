"""The verbs on a whole store: init, check, upgrade, copy, backup."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import UserError
from nas.store import engine, queries
from nas.store.engine import resolve

if TYPE_CHECKING:
    from nas.store.checking import Health
    from nas.store.copying import Copied, Watch
    from nas.store.migrate import Upgraded
    from nas.store.records import Score


class Made(NamedTuple):
    """A store that is ready: its name without credentials, and the tables that were made now."""

    store: str
    tables: tuple[str, ...]


def init(store: str | None = None) -> Made:
    """Make a store's tables where they are missing, Optuna's and nas's."""
    from nas.store.store import Store

    url = resolve(store)
    before = _tables(url)
    opened = Store.open(url)
    opened.close()
    return Made(engine.masked(url), tuple(sorted(_tables(url) - before)))


def check(store: str | None = None, *, repair: bool = False) -> "tuple[Health, int]":
    """Look a store over, after mending it where that is asked for; return how much was mended."""
    from nas.store import checking

    url = resolve(store)
    mended = _repair(url) if repair else 0
    return checking.check(url, _score_of), mended


def upgrade(store: str | None = None) -> "Upgraded":
    """Bring a store's tables up to date."""
    from nas.store import migrate

    return migrate.upgrade(resolve(store))


def copy(
    source: str,
    target: str,
    *,
    studies: Sequence[str] = (),
    rename: str | None = None,
    watch: "Watch | None" = None,
) -> "Copied":
    """Copy studies, or all, into another store; `rename` is the one study's name there."""
    from nas.store import copying

    if rename is not None and len(studies) != 1:
        raise UserError(f"--as {rename} names one study: say which with one --study NAME.")
    renamed = {studies[0]: rename} if rename is not None else None
    return copying.copy(source, target, studies=studies, rename=renamed, watch=watch)


def backup(
    path: str | Path,
    store: str | None = None,
    *,
    force: bool = False,
    watch: "Watch | None" = None,
) -> str:
    """Write a store to a SQLite file while it is in use; return how it was made."""
    from nas.store import backup as backups

    return backups.backup(resolve(store), path, force=force, watch=watch)


def _tables(url: str) -> set[str]:
    """Return the names of a database's tables; none where there is no database yet."""
    import sqlalchemy as sa

    parsed = engine.parse(url)
    path = engine.sqlite_file(parsed)
    if path is not None and not path.is_file():
        return set()
    reader = engine.read_engine(parsed)
    try:
        with engine.translated(parsed, "open"):
            return set(sa.inspect(reader).get_table_names())
    finally:
        reader.dispose()


def _repair(url: str) -> int:
    from nas.config import Config
    from nas.store.store import Store
    from nas.store.trials import Trials

    with queries.connect(url) as connection:
        studies = queries.studies(connection)
    store = Store.open(url)
    told = 0
    try:
        store.forget_deleted()
        with store.read() as connection:
            kept = {info.name for info in queries.studies(connection)}
        for info in studies:
            if info.name in kept and _score_of(info.config) is not None:
                config = Config.from_json(info.config)
                mine = Trials(
                    store, info.name, score=config.score, worker="nas store check",
                    full=config.recipe.epochs,
                )  # fmt: skip
                told += mine.repair()
    finally:
        store.close()
    return told


def _score_of(config: Mapping[str, Any]) -> "Score | None":
    """Return the objective of a study, None where its configuration can't be read."""
    from nas.config import Config

    try:
        return Config.from_json(config).score
    except (KeyError, TypeError, ValueError, UserError):
        return None
