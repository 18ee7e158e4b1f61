"""The command line: argv -> commands -> print or JSON. The only place that prints errors.

Help lists the commands in the order in which they are added.
"""

from typing import Annotated

import typer

from nas import __version__
from nas.cli import dashboard, jobs, metrics, search, serve, verbs, worker

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nas {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def nas(_: Version = False) -> None:
    """Search for an efficient ConvNet on your own images; get it back as PyTorch code."""


for group in (search, verbs, dashboard, serve, worker):
    app.add_typer(group.app)
app.add_typer(jobs.submitting)
app.add_typer(jobs.app, name="jobs")
app.add_typer(verbs.spaces, name="space")
app.add_typer(verbs.recipes, name="recipe")
app.add_typer(verbs.datasets, name="data")
app.add_typer(verbs.latency, name="latency")
app.add_typer(metrics.app, name="metrics")
app.add_typer(verbs.stores, name="store")
app.add_typer(verbs.tokens_of_service, name="token")


def main() -> None:
    """Run the command line."""
    app()
