"""The verbs on a whole store: init, check, upgrade, copy, backup.

Importing this module does not import the store.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from nas.commands._options import Help, Store, argument
from nas.commands._values import Answer
from nas.commands.studies import reading
from nas.errors import UNREADABLE, NasError, UserError
from nas.report.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from nas.store.checking import Finding
    from nas.store.copying import Watch
    from nas.store.shape import Broken


def init(store: Store = None) -> Answer:
    """Make a store's tables where they are missing."""
    from nas.store import engine
    from nas.store.store import Store as Writable

    url = engine.resolve(store)
    before = _tables(url)
    Writable.open(url).close()
    name, tables = engine.masked(url), sorted(_tables(url) - before)
    made = f"made {len(tables)} tables" if tables else "its tables were there already"
    lines = [f"{name}: {made}", *(f"  {table}" for table in tables)]
    return Answer({"store": name, "tables": tables}, lines)


def check(
    store: Store = None, *, repair: Annotated[bool, Help("Mend first what can be.")] = False
) -> Answer:
    """Look a store over: versions, tables, and whether its rows agree; exit code 1 if not."""
    from nas.store import checking
    from nas.store.engine import resolve

    def compare(connection: "Connection") -> "Iterator[Broken]":
        from nas.study import contents  # brings torch: a store that is missing is told before

        yield from contents.compare(connection)

    url = resolve(store)
    told, removed = _repair(url) if repair else (0, 0)
    health = checking.check(url, compare)
    journal = "" if health.journal is None else f", journal mode {health.journal}"
    lines: list[str | Table] = [
        f"{health.store}: {health.server}{journal}",
        f"nas's tables: revision {health.revision[0]}; Optuna's: {health.optuna[0]}",
        Table(["table", "#rows"], [[name, f"{n:,}"] for name, n in health.rows.items()]),
        *map(_line, sorted(health.findings, key=lambda finding: not finding.wrong)),
        "nothing is wrong" if health.is_well else "the store needs mending",
    ]
    if repair:
        lines.append(f"mended: {told} trials told, {removed} leftover files and folders removed")
    findings = [vars(finding) for finding in health.findings]
    data = {
        **vars(health),
        "findings": findings,
        "well": health.is_well,
        "mended": told,
        "removed": removed,
    }
    wrong = [finding.what for finding in health.findings if finding.wrong]
    failure = NasError(f"wrong in {health.store}: {'; '.join(wrong)}") if wrong else None
    return Answer(data, lines, failure)


def _line(finding: "Finding") -> str:
    some = f" ({', '.join(finding.examples)})" if finding.examples else ""
    sign = "wrong" if finding.wrong else "note"
    return f"{sign}: {finding.count:,} {finding.what}{some}; helps: {finding.cure}"


def upgrade(store: Store = None) -> Answer:
    """Bring the tables of an older store up to date, Optuna's too; rows are kept."""
    from nas.store import migrate
    from nas.store.engine import resolve

    ours, optuna = migrate.upgrade(resolve(store))
    lines = []
    for whose, (before, after) in {"nas": ours, "Optuna": optuna}.items():
        became = "is up to date" if before == after else f"upgraded from {before}"
        lines.append(f"{whose}: revision {after}, {became}")
    return Answer({"ours": ours, "optuna": optuna}, lines)


def copy(
    source: Annotated[str, argument("URL of the store to copy from.")],
    target: Annotated[str, argument("URL of the store to copy to; made if need be.")],
    *,
    studies: Annotated[
        list[str] | None, Help("Name, repeatable; all if left out.", ("--study",))
    ] = None,
    rename: Annotated[str | None, Help("The one study's name in the target.", ("--as",))] = None,
    watch: "Watch | None" = None,
) -> Answer:
    """Copy studies whole into another store, of any kind, all or nothing."""
    from nas.store import copying
    from nas.study.options import check_study

    names = studies or []
    if rename is not None and len(names) != 1:
        raise UserError(f"--as {rename} names one study: say which with one --study NAME.")
    renamed = {names[0]: check_study(rename, "--as")} if rename is not None else None
    copied = copying.copy(source, target, studies=names, rename=renamed, watch=watch)
    lines = [f"copied {', '.join(copied.studies) or 'no study'}"]
    lines += [f"  {count:>9,} {table}" for table, count in copied.rows.items() if count]
    if copied.known:
        lines.append(
            f"{copied.known:,} evaluations were there already; of {copied.improved:,} the copied"
            " end was better and is kept"
        )
    return Answer(vars(copied), lines)


def backup(
    path: Annotated[str, argument("SQLite file to write.")],
    store: Store = None,
    *,
    force: Annotated[bool, Help("Overwrite the file.")] = False,
    watch: "Watch | None" = None,
) -> Answer:
    """Write a store to a SQLite file, at one instant, while workers go on writing."""
    from nas.store import backup as backups
    from nas.store.engine import resolve

    how = backups.backup(resolve(store), Path(path), force=force, watch=watch)
    return Answer({"backup": path, "how": how}, [f"{path}: the whole store, copied {how}"])


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


def _repair(url: str) -> tuple[int, int]:
    """Mend a store; return how many trials were told, and how many leftovers were removed."""
    from nas.config import Config
    from nas.observers.showcase import remove_orphans
    from nas.store import queries
    from nas.store.store import Store as Writable
    from nas.store.trials import Trials
    from nas.training.checkpoint import remove_leftovers

    told = removed = 0
    with reading(url):  # raises where there is no store
        pass
    with closing(Writable.open(url)) as store:
        store.forget_deleted()
        with store.read() as connection:
            studies = queries.studies(connection)
        for info in studies:
            try:
                config = Config.from_json(info.config)
            except (*UNREADABLE, UserError):  # the check says so
                continue
            full = config.recipe.epochs
            mine = Trials(store, info.name, score=config.score, worker="nas store check", full=full)
            told += mine.repair()
            removed += remove_orphans(store, config, info.name)
            removed += remove_leftovers(config.checkpoint_root)
    return told, removed
