"""Around whatever is served: other web sites' pages can't use it through somebody's browser.

A page whose host's name suddenly means this machine (DNS rebinding) is told by the `Host` header, a
request that another site's page sends by `Origin`. Answers carry a content security policy; a file
that a trial or a person left is a download, and runs no script if a browser opens it all the same.
"""

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from nas.service.sockets import is_loopback

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]
AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]

FILES = "/artifacts/"  # paths below it are of files that anybody may have made
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::\d+)?", re.IGNORECASE)
_POLICY = (  # styles are written into the dashboard's elements, pictures made in the page
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_EVERYWHERE = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with none, a browser hides the Origin of our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OF_FILES = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Content-Disposition": "attachment",
}
_TEXT = "text/plain; charset=utf-8"
_NEVER = ("access-control-allow-origin",)  # Optuna's dashboard lets every site read its files


def guarded(app: Application, host: str, names: Collection[str] = ()) -> Application:
    """Return an application that answers requests to the address it is served at, `host`.

    `names` are other names that it is reached by, such as a proxy's.
    """
    known = _known(host, names)

    def call(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *error: Any) -> Any:
            return start_response(status, _safe(headers, environ.get("PATH_INFO", "")), *error)

        refusal = _refusal(
            environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"), host=host, known=known
        )
        if refusal is None:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", _TEXT)])
        return [f"{refusal}\n".encode()]

    return call


def guarded_asgi(app: AsgiApplication, host: str, names: Collection[str] = ()) -> AsgiApplication:
    """Return an ASGI application under the same rules as `guarded` has."""
    known = _known(host, names)

    async def call(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(scope.get("root_path", ""))

        async def safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]]
                safe = _safe(pairs, path)
                coded = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in safe]
                message = message | {"headers": coded}
            await send(message)

        refusal = _refusal(asked.get(b"host", ""), asked.get(b"origin"), host=host, known=known)
        if refusal is None:
            return await app(scope, receive, safely)
        headers = [(b"content-type", _TEXT.encode())]
        await safely({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": f"{refusal}\n".encode()})

    return call


def _known(host: str, names: Collection[str]) -> Collection[str]:
    """Return the names that a server at an address answers to."""
    known = {"localhost", host.lower(), *(name.lower() for name in names)}
    return known if is_loopback(host) else known | {socket.gethostname().lower()}


def _safe(headers: Headers, path: str) -> Headers:
    ours = _EVERYWHERE | (_OF_FILES if path.startswith(FILES) else {})
    dropped = {*_NEVER, *map(str.lower, ours)}
    return [pair for pair in headers if pair[0].lower() not in dropped] + [*ours.items()]


def _refusal(named: str, origin: str | None, *, host: str, known: Collection[str]) -> str | None:
    """Say why a request with this Host and Origin is refused, None if it is not."""
    asked = _name(named)
    if asked is None or not (asked in known or _is_address_of(asked, host)):
        return (
            f"The Host of this request is {ascii(named)[:80]}, which this "
            "server does not answer to; --allow-host NAME allows a name."
        )
    if origin is None:
        return None
    scheme, _, rest = origin.partition("://")
    sender = _name(rest) if scheme in ("http", "https") else None
    if sender is None or not (sender == asked or sender in known):
        return f"This request comes from a page of {ascii(origin)[:80]}, another site."
    return None


def _name(host: str) -> str | None:
    """Return the name or the address of HOST or HOST:PORT, None for anything else."""
    match = _HOST.fullmatch(host.strip())
    return None if match is None else match[1].strip("[]").rstrip(".").lower()


def _is_address_of(asked: str, host: str) -> bool:
    """Tell whether a request names an address by its numbers: no other site can have taken it."""
    try:
        address = ipaddress.ip_address(asked)
    except ValueError:
        return False
    return address.is_loopback or not is_loopback(host)
