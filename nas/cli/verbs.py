"""The verbs of `nas.commands` that are commands as they stand: a line each."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from nas.cli._shared import add, live_progress
from nas.commands import (
    data,
    evaluate,
    export,
    family,
    logs,
    networks,
    predict,
    priors,
    proxies,
    publish,
    recipe,
    report,
    searches,
    space,
    store,
    studies,
    tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

    from nas.commands.watch import Reading

app = typer.Typer()
queued = typer.Typer(
    help="List, pause, resume, cancel and delete the searches that were sent to the service.",
    no_args_is_help=True,
)
spaces = typer.Typer(help="Look at, sample and check search spaces.", no_args_is_help=True)
recipes = typer.Typer(
    help="List recipes, the ways of training a network; look into one, compare two.",
    no_args_is_help=True,
)
lessons = typer.Typer(
    help="List priors, what earlier searches found, for --learn-from.", no_args_is_help=True
)
datasets = typer.Typer(help="Look at a data set before a search.", no_args_is_help=True)
latency = typer.Typer(help="Measure latency here; make tables of it.", no_args_is_help=True)
tokens_of_service = typer.Typer(
    help="Make, list and revoke the service's tokens.", no_args_is_help=True
)
stores = typer.Typer(help="Make, check, upgrade, copy and back up a store.", no_args_is_help=True)


@contextmanager
def _counting(console: "Console") -> "Iterator[Callable[[str, int, int], None]]":
    """Show on standard error how many rows of each table, or images, are done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def show(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = progress.add_task(table, total=total)
            progress.update(tasks[table], completed=done, total=total)

        yield show


def _live_page(console: "Console") -> "AbstractContextManager[Callable[[Reading], None]]":
    from nas.commands.watch import live_page

    return live_page(console)


add(app, "status", studies.status_or_watch, _live_page)
add(app, "logs", logs.logs)
add(app, "top", studies.top_or_front)
add(app, "rescore", studies.rescore)
add(app, "show", studies.show)
add(app, "report", report.report_study)
add(app, "plot", report.plot)
add(app, "compare", report.compare)
add(app, "proxies", proxies.compare_proxies)
add(app, "export", export.export_model)
add(app, "publish", publish.publish)
add(app, "evaluate", evaluate.evaluate, _counting)
add(app, "predict", predict.predict, _counting)
add(app, "cost", networks.cost)
add(app, "scale", family.scale, live_progress)
add(queued, "list", searches.listed)
add(queued, "pause", searches.pause)
add(queued, "resume", searches.resume)
add(queued, "cancel", searches.cancel)
add(queued, "delete", searches.delete)
add(spaces, "list", space.spaces)
add(spaces, "show", space.space_preflight)
add(spaces, "sample", space.space_sample)
add(spaces, "diagram", space.space_diagram)
add(spaces, "validate", space.space_validate)
add(recipes, "list", recipe.recipes)
add(recipes, "show", recipe.recipe_show)
add(recipes, "diff", recipe.recipe_diff)
add(lessons, "list", priors.priors)
add(datasets, "show", data.data_show)
add(latency, "measure", networks.latency_of)
add(latency, "table", networks.latency_table)
add(stores, "init", store.init)
add(stores, "check", store.check)
add(stores, "upgrade", store.upgrade)
add(stores, "copy", store.copy, _counting)
add(stores, "backup", store.backup, _counting)
add(tokens_of_service, "create", tokens.create)
add(tokens_of_service, "list", tokens.listed)
add(tokens_of_service, "revoke", tokens.revoke)
