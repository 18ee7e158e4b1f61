"""What a client is told when a request can't be answered: problem details (RFC 9457).

Whatever `nas` raises on purpose becomes one of them here, and nowhere else.
"""

import http
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from nas.credentials import hidden
from nas.errors import (
    Conflict,
    DiskFull,
    NasError,
    NotFound,
    QuotaSpent,
    StoreAway,
    StoreError,
    UserError,
    shortened,
)

log = logging.getLogger("nas")
MEDIA_TYPE = "application/problem+json"
RETRY = 5  # seconds until a store that is away may answer again
# The first that an error is an instance of gives the status.
STATUSES: tuple[tuple[type[NasError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (QuotaSpent, 429),
    (StoreAway, 503),
    (StoreError, 500),
    (DiskFull, 507),
    (UserError, 422),
    (NasError, 409),
)


@dataclass(frozen=True)
class Fault:
    """One mistake in a request: where, what, and the valid values where they can be listed.

    `pointer` is a JSON pointer (RFC 6901) into the body; `parameter` names a part of the URL or a
    header instead.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    options: Sequence[str] = ()


@dataclass(frozen=True)
class ProblemDetails:
    """A problem as it is sent: RFC 9457, with the single faults in `errors`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = field(default_factory=list)


class Problem(Exception):
    """Ends a request with a status, a message for people, and the faults where there are some."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, hidden(shortened(detail)), kind
        self.faults, self.headers = list(faults), dict(headers or {})

    def answer(self) -> JSONResponse:
        """Return the response."""
        phrase = http.HTTPStatus(self.status).phrase
        kind = f"urn:nas:problem:{self.kind}" if self.kind else "about:blank"
        details = ProblemDetails(kind, phrase, self.status, self.detail, self.faults)
        return JSONResponse(asdict(details), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: NasError) -> Problem:
    """Return the problem that an error of ours is."""
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    words = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    text = str(error)
    if status in (500, 503):  # where the store is, is for whoever runs the server
        log.error("%s", error)
        text = "The server's store does not answer."
    headers = {"Retry-After": str(RETRY)} if status in (429, 503) else {}
    return Problem(status, text, kind=words, headers=headers)


def pointer(*keys: object) -> str:
    """Return the JSON pointer of a place in the body."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def handle_all(
    app: FastAPI, answer: Callable[[Request, Problem], Response] = lambda _, error: error.answer()
) -> None:
    """Let an application answer every error with a problem, without a traceback."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(NasError)
    async def _ours(request: Request, error: NasError) -> Response:
        return answer(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [_fault(each) for each in error.errors()]
        problem = Problem(422, "The request has mistakes.", kind="invalid", faults=faults)
        return answer(request, problem)

    @app.exception_handler(HTTPException)
    async def _plain(request: Request, error: HTTPException) -> Response:
        headers = {"Allow": allowed(request)} if error.status_code == 405 else error.headers
        problem = Problem(error.status_code, str(error.detail), headers=headers)
        return answer(request, problem)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(request, Problem(500, "The server has failed; its log says how."))


def allowed(request: Request) -> str:
    """Return the methods of all routes of a request's path."""
    methods = ("GET", "POST", "DELETE")
    scopes = {method: {**request.scope, "method": method} for method in methods}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    )


def _fault(error: Mapping[str, Any]) -> Fault:
    """Translate one of pydantic's errors."""
    where, *path = error["loc"]
    place = pointer(*path) if where == "body" else None
    return Fault(
        str(error["msg"]), pointer=place, parameter=None if where == "body" else str(path[-1])
    )
