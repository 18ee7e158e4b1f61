"""The verbs on a whole store: init, check, upgrade, copy, backup.

Importing this module does not import the store.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from nas.commands._options import Help, Store, argument
from nas.commands.studies import reading
from nas.errors import NasError, UserError
from nas.report.tables import Lines, Table

if TYPE_CHECKING:
    from nas.store.checking import Finding, Health
    from nas.store.copying import Copied, Watch
    from nas.store.records import Score


class Made(NamedTuple):
    """A store that is ready: its name without credentials, and the tables that were made now."""

    store: str
    tables: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the store as plain data."""
        return self._asdict()

    def lines(self) -> Lines:
        """Say which tables were made."""
        made = f"made {len(self.tables)} tables" if self.tables else "its tables were there already"
        yield f"{self.store}: {made}"
        yield from (f"  {name}" for name in self.tables)


def init(store: Store = None) -> Made:
    """Make a store's tables where they are missing."""
    from nas.store import engine
    from nas.store.store import Store as Writable

    url = engine.resolve(store)
    before = _tables(url)
    Writable.open(url).close()
    return Made(engine.masked(url), tuple(sorted(_tables(url) - before)))


class Checked(NamedTuple):
    """A store's health, and how many trials were told when it was repaired first, if it was."""

    health: "Health"
    mended: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the health as plain data."""
        findings = [vars(finding) for finding in self.health.findings]
        well = {"well": self.health.is_well, "mended": self.mended or 0}
        return {**vars(self.health), "findings": findings, **well}

    def lines(self) -> Lines:
        """Say which versions the tables have, how many rows, and what was found."""
        health = self.health
        journal = "" if health.journal is None else f", journal mode {health.journal}"
        yield f"{health.store}: {health.server}{journal}"
        yield f"nas's tables: revision {health.revision[0]}; Optuna's: {health.optuna[0]}"
        yield Table(["table", "#rows"], [[name, f"{n:,}"] for name, n in health.rows.items()])
        for finding in sorted(health.findings, key=lambda each: not each.wrong):
            yield _line(finding)
        yield "nothing is wrong" if health.is_well else "the store needs mending"
        if self.mended is not None:
            yield f"mended: {self.mended} trials told"

    @property
    def failure(self) -> NasError | None:
        """Why the command fails: something is wrong."""
        wrong = [finding.what for finding in self.health.findings if finding.wrong]
        return NasError(f"wrong in {self.health.store}: {'; '.join(wrong)}") if wrong else None


def _line(finding: "Finding") -> str:
    some = f" ({', '.join(finding.examples)})" if finding.examples else ""
    sign = "wrong" if finding.wrong else "note"
    return f"{sign}: {finding.count:,} {finding.what}{some}; helps: {finding.cure}"


def check(
    store: Store = None, *, repair: Annotated[bool, Help("Mend first what can be.")] = False
) -> Checked:
    """Look a store over: versions, tables, and whether its rows agree; exit code 1 if not."""
    from nas.store import checking
    from nas.store.engine import resolve

    url = resolve(store)
    mended = _repair(url) if repair else None
    return Checked(checking.check(url, _score_of), mended)


class Upgrade(NamedTuple):
    """The revisions (before, after) of nas's tables and of Optuna's."""

    ours: tuple[str | None, str]
    optuna: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the revisions as plain data."""
        return self._asdict()

    def lines(self) -> Lines:
        """Say which revision each has now."""
        for whose, (before, after) in {"nas": self.ours, "Optuna": self.optuna}.items():
            became = "is up to date" if before == after else f"upgraded from {before}"
            yield f"{whose}: revision {after}, {became}"


def upgrade(store: Store = None) -> Upgrade:
    """Bring the tables of an older store up to date, Optuna's too; rows are kept."""
    from nas.store import migrate
    from nas.store.engine import resolve

    return Upgrade(*migrate.upgrade(resolve(store)))


class CopyReport(NamedTuple):
    """What was copied."""

    copied: "Copied"

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return vars(self.copied)

    def lines(self) -> Lines:
        """Say which studies were copied, and how many rows of each table."""
        copied = self.copied
        yield f"copied {', '.join(copied.studies) or 'no study'}"
        yield from (f"  {count:>9,} {table}" for table, count in copied.rows.items() if count)
        if copied.known:
            yield (
                f"{copied.known:,} evaluations were there already; of {copied.improved:,} the"
                " copied end was better and is kept"
            )


def copy(
    source: Annotated[str, argument("URL of the store to copy from.")],
    target: Annotated[str, argument("URL of the store to copy to; made if need be.")],
    *,
    studies: Annotated[
        list[str] | None, Help("Name, repeatable; all if left out.", ("--study",))
    ] = None,
    rename: Annotated[str | None, Help("The one study's name in the target.", ("--as",))] = None,
    watch: "Watch | None" = None,
) -> CopyReport:
    """Copy studies whole into another store, of any kind, all or nothing."""
    from nas.store import copying

    names = studies or []
    if rename is not None and len(names) != 1:
        raise UserError(f"--as {rename} names one study: say which with one --study NAME.")
    renamed = {names[0]: rename} if rename is not None else None
    return CopyReport(copying.copy(source, target, studies=names, rename=renamed, watch=watch))


class Backup(NamedTuple):
    """A copy of a whole store: its file, and how it was made."""

    backup: str
    how: str

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain data."""
        return self._asdict()

    def lines(self) -> Lines:
        """Say where the copy is."""
        return [f"{self.backup}: the whole store, copied {self.how}"]


def backup(
    path: Annotated[str, argument("SQLite file to write.")],
    store: Store = None,
    *,
    force: Annotated[bool, Help("Overwrite the file.")] = False,
    watch: "Watch | None" = None,
) -> Backup:
    """Write a store to a SQLite file, at one instant, while workers go on writing."""
    from nas.store import backup as backups
    from nas.store.engine import resolve

    return Backup(path, backups.backup(resolve(store), Path(path), force=force, watch=watch))


def _tables(url: str) -> set[str]:
    """Return the names of a database's tables; none where there is no database yet."""
    import sqlalchemy as sa

    from nas.store import engine

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
    from nas.store import queries
    from nas.store.store import Store as Writable
    from nas.store.trials import Trials

    with reading(url) as connection:
        studies = queries.studies(connection)
    store = Writable.open(url)
    told = 0
    try:
        store.forget_deleted()
        with store.read() as connection:
            existing = {info.name for info in queries.studies(connection)}
        for info in studies:
            if info.name in existing and _score_of(info.config) is not None:
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
