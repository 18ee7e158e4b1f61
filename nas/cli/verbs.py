"""The verbs of `nas.commands` that are commands as they stand: a line each."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from nas.cli._shared import add, live_progress
from nas.commands import export, family, logs, networks, proxies, recipe, space, store, studies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from nas.commands.watch import LivePage

app = typer.Typer()
spaces = typer.Typer(help="Look at, sample and check search spaces.", no_args_is_help=True)
recipes = typer.Typer(
    help="List recipes, the ways of training a network; look into one, compare two.",
    no_args_is_help=True,
)
latency = typer.Typer(help="Measure latency here; make tables of it.", no_args_is_help=True)
stores = typer.Typer(help="Make, check, upgrade, copy and back up a store.", no_args_is_help=True)


class _Copying:
    """Shows on standard error how many rows of each table are copied."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, console=console, transient=True)
        self.tasks: dict[str, Any] = {}

    def show(self, table: str, done: int, total: int) -> None:
        if table not in self.tasks:
            self.tasks[table] = self.progress.add_task(table, total=total)
        self.progress.update(self.tasks[table], completed=done, total=total)


@contextmanager
def _copying(console: "Console") -> "Iterator[_Copying]":
    shown = _Copying(console)
    with shown.progress:
        yield shown


def _live_page(console: "Console") -> "LivePage":
    from nas.commands.watch import LivePage

    return LivePage(console)


add(app, "status", studies.status_or_watch, _live_page)
add(app, "logs", logs.logs)
add(app, "top", studies.top_or_front)
add(app, "rescore", studies.rescore)
add(app, "show", studies.show)
add(app, "proxies", proxies.compare_proxies)
add(app, "export", export.export_model)
add(app, "cost", networks.cost)
add(app, "scale", family.scale, live_progress)
add(spaces, "list", space.spaces)
add(spaces, "show", space.space_preflight)
add(spaces, "sample", space.space_sample)
add(spaces, "diagram", space.space_diagram)
add(spaces, "validate", space.space_validate)
add(recipes, "list", recipe.recipes)
add(recipes, "show", recipe.recipe_show)
add(recipes, "diff", recipe.recipe_diff)
add(latency, "measure", networks.latency_of)
add(latency, "table", networks.latency_table)
add(stores, "init", store.init)
add(stores, "check", store.check)
add(stores, "upgrade", store.upgrade)
add(stores, "copy", store.copy, _copying)
add(stores, "backup", store.backup, _copying)
