"""The command line: argv -> commands -> print or JSON. The only place that prints errors.

Help lists the commands in the order in which they are added.
"""

import atexit
import gc
from typing import TYPE_CHECKING, Annotated

import typer

from nas import __version__
from nas.cli import dashboard, jobs, metrics, search, serve, verbs, worker
from nas.cli._shared import told_errors

if TYPE_CHECKING:
    from nas.service.remote import RemotePlace

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


Server = Annotated[
    str | None, typer.Option(metavar="<URL>", help="Run the command on a server of nas serve.")
]
TokenFile = Annotated[
    str | None, typer.Option(metavar="<file>", help="Its token, for --server; else NAS_TOKEN.")
]


@app.callback()
def nas(
    context: typer.Context,
    server: Server = None,
    token_file: TokenFile = None,
    _: Version = False,
) -> None:
    """Search for an efficient ConvNet on your own images; get it back as PyTorch code."""
    if server is not None:
        context.obj = _place(server, token_file)


@told_errors()
def _place(server: str, token_file: str | None) -> "RemotePlace":
    from nas.service.remote import RemotePlace

    return RemotePlace(server, token_file)


for group in (search, verbs, dashboard, serve, worker):
    app.add_typer(group.app)
app.add_typer(jobs.submitting)
app.add_typer(jobs.app, name="jobs")
app.add_typer(verbs.queued, name="searches")
app.add_typer(verbs.spaces, name="space")
app.add_typer(verbs.recipes, name="recipe")
app.add_typer(verbs.lessons, name="priors")
app.add_typer(verbs.datasets, name="data")
app.add_typer(verbs.latency, name="latency")
app.add_typer(metrics.app, name="metrics")
app.add_typer(verbs.stores, name="store")
app.add_typer(verbs.tokens_of_service, name="token")


def main() -> None:
    """Run the command line."""
    atexit.register(gc.freeze)  # else the collector visits every imported object
    app()
