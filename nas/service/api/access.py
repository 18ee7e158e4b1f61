"""Who may ask: bearer tokens before a request is read, scopes, a rate for each."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.security import HTTPBearer, SecurityScopes

from nas.errors import NasError
from nas.service.api.problems import Problem, problem_of
from nas.store import tokens
from nas.store.store import Store
from nas.store.tokens import Token

PUBLIC = ("/api/v1/health", "/openapi.json")  # answered without a token
PER_SECOND, BURST = 50.0, 200.0  # requests of one token
_KNOWN = 10_000  # tokens whose rate is kept
LONGEST = 200  # characters of a token's text
LOOPBACK = "loopback"
SCHEME = HTTPBearer(
    auto_error=False, scheme_name="token", description="The text that `nas token create` shows."
)


class Rate:
    """A bucket for each token that fills again: so many requests a second, a burst at first."""

    def __init__(self, per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self.per_second, self.burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, and when
        self._lock = Lock()

    def wait(self, token_id: str) -> float:
        """Take one request from a token's bucket; return the seconds to wait if it is empty."""
        now = time.monotonic()
        with self._lock:
            left, then = self._buckets.pop(token_id, (self.burst, now))
            left = min(self.burst, left + (now - then) * self.per_second)
            spent = left - 1 if left >= 1 else left
            self._buckets[token_id] = spent, now
            if len(self._buckets) > _KNOWN:
                self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_second


@dataclass(frozen=True)
class Access:
    """Finds the token of a request; `anybody` is the one of a request without, by default none."""

    store: Store
    rate: Rate
    anybody: Token | None = None

    def token(self, authorization: str | None) -> Token:
        """Return the valid token of an Authorization header; raises Problem 401 and 429."""
        token = self.anybody if authorization is None else self._named(authorization)
        if token is None:
            raise Problem(
                401, "This needs a valid token: the header 'Authorization: Bearer TOKEN'; "
                "nas token create makes one.", headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        seconds = self.rate.wait(token.id)
        if seconds:
            raise Problem(
                429, f"At most {self.rate.per_second:g} requests a second.",
                headers={"Retry-After": str(int(seconds) + 1)},
            )  # fmt: skip
        return token

    def _named(self, authorization: str) -> Token | None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer" or len(text) > LONGEST or not text.isascii():
            return None
        with self.store.read() as connection:
            return tokens.find(connection, text.strip())


class Gate:
    """Lets requests with a valid token pass, before their body is read; others get a problem.

    A path that does not exist is no exception: nobody learns which paths do.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or hand it on with its token in the state."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and not (path in PUBLIC and scope["method"] in ("GET", "HEAD")):
            given = dict(scope["headers"]).get(b"authorization")
            text = None if given is None else given.decode("latin-1")
            try:
                token = await run_sync(self.access.token, text)
            except (Problem, NasError) as error:
                problem = error if isinstance(error, Problem) else problem_of(error)
                return await problem.answer()(scope, receive, send)
            scope.setdefault("state", {})["token"] = token
        await self.app(scope, receive, send)


async def permitted(
    request: Request, scopes: SecurityScopes, _: Annotated[Any, Depends(SCHEME)]
) -> Token:
    """Return the request's token; raises Problem 403 where it lacks a scope."""
    token: Token = request.state.token
    for scope in scopes.scopes:
        if not token.may(scope):
            raise Problem(
                403, f"This needs the scope {scope!r}; token {token.name!r} has: "
                f"{', '.join(token.scopes)}.",
            )  # fmt: skip
    return token


def nobody(store: Store) -> Token:
    """Return the token that stands for this machine's users where they need none; made once."""
    with store.write() as connection:
        for token in tokens.tokens(connection):
            if token.name == token.owner == LOOPBACK and token.state == "valid":
                return token
        return tokens.create(connection, LOOPBACK, ("read", "submit"), owner=LOOPBACK)[0]
