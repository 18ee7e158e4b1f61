"""nas metrics: numbers for a monitor."""

import threading
from typing import Annotated

import typer

from nas.cli._shared import AllowedHosts, StoreUrl, verb

app = typer.Typer(help="Numbers for a monitor such as Prometheus.", no_args_is_help=True)


@app.callback()
def metrics() -> None:
    """Keep `serve` a command of its own, though it is the only one."""


@app.command("serve")
@verb
def serve(
    store: StoreUrl = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0: any.")] = 9108,
    allow_host: AllowedHosts = None,
) -> None:
    """Answer scrapes of a store's numbers, until Ctrl-C."""
    from nas.service import metrics as monitoring

    server = monitoring.serve(store, host=host, port=port, names=allow_host or ())
    try:
        typer.echo(f"numbers at {server.address}; Ctrl-C ends it")
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()
