"""What happened to each trial: nas logs."""

from typing import Annotated

import typer

from nas.cli._shared import Json, StoreUrl, StudyName, print_json, verb

app = typer.Typer()


@app.command()
@verb
def logs(
    trial: Annotated[int | None, typer.Argument(help="A trial's number; all if left out.")] = None,
    study: StudyName = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on, until Ctrl-C.")] = False,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show what happened to trials, epoch by epoch and attempt by attempt."""
    from nas.commands import logs as log_commands
    from nas.report.events import event_line

    events = log_commands.logs(study, trial, follow=follow, store=store)
    try:
        for event in events:
            print_json(event) if json_ else typer.echo(event_line(event))
    except KeyboardInterrupt:
        if not follow:
            raise
