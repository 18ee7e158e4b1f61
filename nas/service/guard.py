"""Around whatever is served: other web sites' pages can't use it through somebody's browser.

A page whose host's name suddenly means this machine (DNS rebinding) is told by the `Host` header, a
request that another site's page sends by `Origin`. Answers carry a content security policy; a file
that a trial or a person left is a download, and runs no script if a browser opens it all the same.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any

from nas.service.sockets import is_loopback

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

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
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OF_FILES = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Content-Disposition": "attachment",
}
_NEVER = ("access-control-allow-origin",)  # Optuna's dashboard lets every site read its files


def guarded(app: Application, host: str, names: Collection[str] = ()) -> Application:
    """Return an application that answers requests to the address it is served at, `host`.

    `names` are other names that it is reached by, such as a proxy's.
    """
    known = {"localhost", host.lower(), *(name.lower() for name in names)}
    if not is_loopback(host):
        known.add(socket.gethostname().lower())

    def call(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *error: Any) -> Any:
            return start_response(status, _safe(headers, environ.get("PATH_INFO", "")), *error)

        refusal = _refusal(environ, host, known)
        if refusal is None:
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{refusal}\n".encode()]

    return call


def _safe(headers: Headers, path: str) -> Headers:
    ours = _EVERYWHERE | (_OF_FILES if path.startswith(FILES) else {})
    dropped = {*_NEVER, *map(str.lower, ours)}
    return [pair for pair in headers if pair[0].lower() not in dropped] + [*ours.items()]


def _refusal(environ: Environ, host: str, known: Collection[str]) -> str | None:
    """Say why a request is refused, None if it is not."""
    asked = _name(environ.get("HTTP_HOST", ""))
    if asked is None or not (asked in known or _is_address_of(asked, host)):
        return (
            f"The Host of this request is {ascii(environ.get('HTTP_HOST', ''))[:80]}, which this "
            "server does not answer to; --allow-host NAME allows a name."
        )
    origin = environ.get("HTTP_ORIGIN")
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
