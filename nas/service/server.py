"""The HTTP server of whatever is served: a thread for each request, guarded, silent."""

import socket
from collections.abc import Collection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.service.guard import Application, guarded
from nas.service.sockets import listening


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each request in a thread: the browser asks for several things at once."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Answers requests without a line for each on the terminal."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


def bound(app: Application, host: str, port: int, names: Collection[str] = ()) -> WSGIServer:
    """Return a server at an address and a port, any free one for 0; `names` reach it too.

    Raises UserError for an address that can't be had.
    """

    class Bound(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with listening(host, port):
        safe: Any = guarded(app, host, names)
        return make_server(host, port, safe, server_class=Bound, handler_class=_Handler)
