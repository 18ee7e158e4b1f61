"""How far studies are, once or again and again: nas status."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._shared import Json, StoreUrl, new_console, print_json, verb
from nas.cli.studies import trial_json
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.commands.studies import Status
    from nas.commands.watch import Look
    from nas.store.activity import Activity

app = typer.Typer()

EVERY = 2.0  # seconds between two looks


@app.command()
@verb
def status(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Studies' names; all if left out.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="One name, as elsewhere.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    every: Annotated[float | None, typer.Option(help="With --watch, seconds: 2.")] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="With --watch, end when the budget is spent.")
    ] = False,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show how far a study is, or all of them, who works on it and how fast; --watch goes on."""
    from nas.commands import studies as commands
    from nas.report.watching import status_lines

    names = [*(studies or ()), *([study] if study else ())]
    if watch:
        _watch(names, store, EVERY if every is None else every, until_done, as_json=json_)
        return
    for option, given in (("--every", every is not None), ("--until-done", until_done)):
        if given:
            raise UserError(f"{option} is for --watch; give --watch too.")
    found = [one for name in names or [None] for one in commands.status(name, store=store)]
    if json_:
        objects = [_status_json(one) for one in found]
        print_json(objects[0] if len(names) == 1 else objects)
        return
    for one in found:
        typer.echo("\n".join(status_lines(one)))


def _watch(
    names: list[str], store: str | None, every: float, until_done: bool, *, as_json: bool
) -> None:
    """Show looks until Ctrl-C, which is the way to end it and so no failure."""
    from nas.commands.watch import watch
    from nas.report.watching import LivePage

    looks = watch(names, store=store, every=every, until_done=until_done)
    try:
        if as_json:
            for look in looks:
                print_json(_look_json(look))
            return
        first = next(looks)  # a mistake is told before the page begins
        with LivePage(new_console()) as page:
            page.show(first)
            for look in looks:
                page.show(look)
    except KeyboardInterrupt:
        return


def _look_json(look: "Look") -> dict[str, Any]:
    return {
        "time": look.time.isoformat(),
        "error": look.error,
        "studies": [_status_json(one) for one in look.statuses],
    }


def _status_json(status: "Status") -> dict[str, Any]:
    return {
        "study": status.study,
        "trials": vars(status.counts),
        "fidelities": {str(epochs): count for epochs, count in status.fidelities.items()},
        "running": [{"trial": trial.number, "epoch": epoch} for trial, epoch in status.running],
        "best": trial_json(status.best) if status.best else None,
        "failures": status.failures,
        "disk": status.disk,
        **_activity_json(status.activity),
    }


def _activity_json(activity: "Activity") -> dict[str, Any]:
    """Return what goes on as plain data; times are UTC, all else is in seconds or per hour."""
    last = activity.last_progress
    workers = [
        dataclasses.asdict(one) | {"host": one.host, "lives": one.lives} for one in activity.holders
    ]
    paces = {
        name: dataclasses.asdict(pace)
        | {"trials_per_hour": pace.trials_per_hour, "epochs_per_hour": pace.epochs_per_hour}
        for name, pace in (("recent", activity.recent), ("overall", activity.overall))
    }
    pauses = [
        {"since": one.since.isoformat(), "until": one.until.isoformat(), "seconds": one.seconds}
        for one in activity.pauses
    ]
    return {
        "workers": workers,
        **paces,
        "pauses": pauses,
        "last_progress": None if last is None else last.isoformat(),
        "spent": activity.spent,
        "budget": activity.budget,
        "epoch_seconds": activity.epoch_seconds,
        "remaining": activity.remaining,
        "idle": activity.idle,
        "done": activity.is_done,
    }
