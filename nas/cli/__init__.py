"""The command line: argv -> commands -> print or JSON. The only place that prints errors.

Help lists the commands in the order in which they are added.
"""

import typer

from nas.cli import dashboard, jobs, metrics, search, verbs

app = typer.Typer(
    help="Search for an efficient ConvNet on your own images; get it back as PyTorch code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (search, verbs, dashboard):
    app.add_typer(group.app)
app.add_typer(jobs.submitting)
app.add_typer(jobs.app, name="jobs")
app.add_typer(verbs.spaces, name="space")
app.add_typer(verbs.latency, name="latency")
app.add_typer(metrics.app, name="metrics")
app.add_typer(verbs.stores, name="store")


def main() -> None:
    """Run the command line."""
    app()
