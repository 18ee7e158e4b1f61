"""nas serve."""

from typing import Annotated, Any

import typer

from nas import quantities
from nas.cli._shared import AllowedHosts, StoreUrl, verb
from nas.cli.dashboard import hide
from nas.cli.search import takes
from nas.study import options

app = typer.Typer()
# The options of a search that the worker processes beside the server get.
ON_RAY = ("executor", "address", "cpus_per_trial", "gpus_per_trial", "max_concurrent")


@app.command()
@verb
@takes({name: options.declared()[name] for name in ON_RAY})
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8080,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes beside it; nas worker starts others.")
    ] = 0,
    data_root: Annotated[
        list[str] | None,
        typer.Option(help="Folder below which searches may name data; repeatable."),
    ] = None,
    folder: Annotated[
        str, typer.Option(help="Folder of uploads and downloads, which workers see too.")
    ] = "studies/service",
    root_path: Annotated[str, typer.Option(help="Path that a proxy serves it at.")] = "",
    keep_audit: Annotated[
        str, typer.Option(metavar="<time>", help="Time that records of who did what are kept.")
    ] = "365d",
    no_auth_on_loopback: Annotated[
        bool,
        typer.Option("--no-auth-on-loopback", help="Whoever is on this machine needs no token."),
    ] = False,
    allow_host: AllowedHosts = None,
    store: StoreUrl = None,
    **given: Any,
) -> None:
    """Serve the HTTP API: searches are submitted, watched and downloaded with a token.

    --executor ray begins a worker beside it whose searches train on a Ray cluster.
    """
    from nas.service.serve import Serve
    from nas.service.serve import serve as begin

    hide(store)
    where = {name: value for name, value in given.items() if value is not None}
    how = Serve(
        host=host, port=port, names=allow_host or (), workers=workers, roots=data_root or (),
        folder=folder, root_path=root_path, open_to_loopback=no_auth_on_loopback,
        where=where, audit_seconds=quantities.seconds(keep_audit, "--keep-audit"),
    )  # fmt: skip
    begin(store, how, say=lambda line: print(line, flush=True))
