"""nas store: make, check, upgrade, copy and back up a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._shared import Json, StoreUrl, new_console, print_json, print_table, verb

if TYPE_CHECKING:
    from nas.store.checking import Finding, Health
    from nas.store.copying import Watch

app = typer.Typer(help="Make, check, upgrade, copy and back up a store.", no_args_is_help=True)


@app.command("init")
@verb
def store_init(store: StoreUrl = None, json_: Json = False) -> None:
    """Make a store's tables where they are missing."""
    from nas.commands import store as stores

    made = stores.init(store)
    if json_:
        print_json(made._asdict())
        return
    tables = f"made {len(made.tables)} tables" if made.tables else "its tables were there already"
    typer.echo(f"{made.store}: {tables}")
    for name in made.tables:
        typer.echo(f"  {name}")


@app.command("check")
@verb
def store_check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend first what can be.")] = False,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Look a store over: versions, tables, and whether its rows agree; exit code 1 if not."""
    from nas.commands import store as stores

    health, mended = stores.check(store, repair=repair)
    if json_:
        print_json(_health_json(health) | {"mended": mended})
    else:
        _print_health(health)
        if repair:
            typer.echo(f"mended: {mended} trials told")
    if not health.is_well:
        raise typer.Exit(1)


@app.command("upgrade")
@verb
def store_upgrade(store: StoreUrl = None, json_: Json = False) -> None:
    """Bring the tables of an older store up to date, Optuna's too; rows are kept."""
    from nas.commands import store as stores

    done = stores.upgrade(store)
    if json_:
        print_json(done._asdict())
        return
    for whose, (before, after) in {"nas": done.ours, "Optuna": done.optuna}.items():
        became = "is up to date" if before == after else f"upgraded from {before}"
        typer.echo(f"{whose}: revision {after}, {became}")


@app.command("copy")
@verb
def store_copy(
    source: Annotated[str, typer.Argument(help="URL of the store to copy from.")],
    target: Annotated[str, typer.Argument(help="URL of the store to copy to; made if need be.")],
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Name, repeatable; all if left out.")
    ] = None,
    rename: Annotated[
        str | None, typer.Option("--as", help="The one study's name in the target.")
    ] = None,
    json_: Json = False,
) -> None:
    """Copy studies whole into another store, of any kind, all or nothing."""
    from nas.commands import store as stores

    with _progress() as watch:
        done = stores.copy(source, target, studies=study or (), rename=rename, watch=watch)
    if json_:
        print_json(vars(done))
        return
    typer.echo(f"copied {', '.join(done.studies) or 'no study'}")
    for table, count in done.rows.items():
        if count:
            typer.echo(f"  {count:>9,} {table}")
    if done.known:
        typer.echo(
            f"{done.known:,} evaluations were there already; of {done.improved:,} the copied end"
            " was better and is kept"
        )


@app.command("backup")
@verb
def store_backup(
    path: Annotated[str, typer.Argument(help="SQLite file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Write a store to a SQLite file, at one instant, while workers go on writing."""
    from nas.commands import store as stores

    with _progress() as watch:
        how = stores.backup(path, store, force=force, watch=watch)
    if json_:
        print_json({"backup": path, "how": how})
        return
    typer.echo(f"{path}: the whole store, copied {how}")


@contextmanager
def _progress() -> "Iterator[Watch]":
    """Show the rows of each table on standard error while they are copied."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=new_console(stderr=True), transient=True) as shown:
        tasks: dict[str, Any] = {}

        def watch(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = shown.add_task(table, total=total)
            shown.update(tasks[table], completed=done, total=total)

        yield watch


def _print_health(health: "Health") -> None:
    from rich.table import Table

    journal = "" if health.journal is None else f", journal mode {health.journal}"
    typer.echo(f"{health.store}: {health.server}{journal}")
    typer.echo(f"nas's tables: revision {health.revision[0]}; Optuna's: {health.optuna[0]}")
    table = Table("table", "rows")
    for name, count in health.rows.items():
        table.add_row(name, f"{count:,}")
    print_table(table)
    for finding in sorted(health.findings, key=lambda each: not each.wrong):
        typer.echo(_line(finding))
    typer.echo("nothing is wrong" if health.is_well else "the store needs mending")


def _line(finding: "Finding") -> str:
    some = f" ({', '.join(finding.examples)})" if finding.examples else ""
    sign = "wrong" if finding.wrong else "note"
    return f"{sign}: {finding.count:,} {finding.what}{some}; helps: {finding.cure}"


def _health_json(health: "Health") -> dict[str, Any]:
    findings = [vars(finding) for finding in health.findings]
    return {**vars(health), "findings": findings, "well": health.is_well}
