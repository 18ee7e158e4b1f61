"""nas worker: works off the queue of the service."""

from typing import Annotated, Any

import typer

from nas.cli._shared import verb
from nas.cli.dashboard import hide
from nas.cli.search import takes
from nas.cli.serve import ON_RAY
from nas.study import options

app = typer.Typer()
# The options of a search that its worker decides, and where the queue is.
WHERE = ("store", "out", "checkpoints", "workers", *ON_RAY)


@app.command()
@verb
@takes({name: options.declared()[name] for name in WHERE})
def worker(
    *,
    once: Annotated[bool, typer.Option("--once", help="Run at most one search, then end.")] = False,
    **given: Any,
) -> None:
    """Run the searches of the service's queue, one after the other, until Ctrl-C or SIGTERM.

    --workers is how many processes train the trials of its search.
    """
    from nas.service import worker as service

    where = {name: value for name, value in given.items() if value is not None}
    hide(store := where.pop("store", None))
    service.command(store, where, once=once)
