"""The command line: argv -> commands -> print or JSON. The only place that prints errors.

A file per group of commands; help lists them in the order in which they are added here.
"""

from typing import Annotated

import typer

from nas import __version__
from nas.cli import (
    dashboard,
    jobs,
    latency,
    logs,
    metrics,
    networks,
    search,
    space,
    store,
    studies,
    watching,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nas {__version__}")
        raise typer.Exit


@app.callback()
def nas(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Search for an efficient ConvNet on your own images; get it back as PyTorch code."""


for group in (search, watching, logs, studies, dashboard, networks):
    app.add_typer(group.app)
app.add_typer(jobs.submitting)
app.add_typer(jobs.app, name="jobs")
app.add_typer(space.app, name="space")
app.add_typer(latency.app, name="latency")
app.add_typer(metrics.app, name="metrics")
app.add_typer(store.app, name="store")


def main() -> None:
    """Run the command line."""
    app()
