"""nas dashboard."""

import os
import sys
from typing import Annotated

import typer

from nas.cli._shared import AllowedHosts, StoreUrl, verb

app = typer.Typer()


@app.command()
@verb
def dashboard(
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8080,
    artifacts: Annotated[
        str | None, typer.Option(help="Folder of the diagrams; else that beside the studies.")
    ] = None,
    allow_host: AllowedHosts = None,
    store: StoreUrl = None,
) -> None:
    """Serve Optuna's dashboard on the store, with the diagrams, until Ctrl-C."""
    from nas.service.dashboard import serve

    hide(store)
    serve(
        store, host=host, port=port, artifacts=artifacts, names=allow_host or (),
        say=lambda line: print(line, flush=True),
    )  # fmt: skip


def hide(store: str | None) -> None:
    """Begin anew without the store's password on the command line, where every user can read it."""
    from nas.store.engine import masked, parse

    if store is None:
        return
    url = parse(store)
    if masked(url) == url.render_as_string(hide_password=False):
        return
    words = [word for word in sys.argv[1:] if word not in (store, "--store", f"--store={store}")]
    os.environ["NAS_STORE"] = store
    os.execv(sys.executable, [sys.executable, "-m", "nas.cli", *words])
