"""The command line: argv -> commands -> print or JSON. The only place that prints errors.

A file per group of commands; help lists them in the order in which they are added here.
"""

import typer

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
    help="Search for an efficient ConvNet on your own images; get it back as PyTorch code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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
