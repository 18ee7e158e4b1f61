"""nas serve."""

from typing import Annotated

import typer

from nas.cli._shared import AllowedHosts, StoreUrl, verb
from nas.cli.dashboard import hide

app = typer.Typer()


@app.command()
@verb
def serve(
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
    no_auth_on_loopback: Annotated[
        bool,
        typer.Option("--no-auth-on-loopback", help="Whoever is on this machine needs no token."),
    ] = False,
    allow_host: AllowedHosts = None,
    store: StoreUrl = None,
) -> None:
    """Serve the HTTP API: searches are submitted, watched and downloaded with a token."""
    from nas.service.serve import Serve
    from nas.service.serve import serve as begin

    hide(store)
    how = Serve(
        host=host, port=port, names=allow_host or (), workers=workers, roots=data_root or (),
        folder=folder, root_path=root_path, open_to_loopback=no_auth_on_loopback,
    )  # fmt: skip
    begin(store, how, say=lambda line: print(line, flush=True))
