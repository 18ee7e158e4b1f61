"""Requests and answers: bodies are read within limits, answers have an ETag, nothing is ignored."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from nas.commands._values import Value
from nas.errors import UserError, unknown
from nas.files.reading import parse_json
from nas.report.tables import LINES, lines_to_json
from nas.service.api.problems import MEDIA_TYPE, Fault, Problem, ProblemDetails, pointer

LONGEST_BODY = 2**20  # bytes of a body of text
PATIENCE = 60.0  # seconds in which a body of text has come
JSON = "application/json"


class Route(APIRoute):
    """A route that refuses parameters it does not have, and gives what it answers an ETag."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handle = super().get_route_handler()
        known = [each.alias for each in self.dependant.query_params]

        async def answer(request: Request) -> Response:
            wrong = [name for name in request.query_params if name not in known]
            if wrong:
                faults = [Fault(_unknown(name, known), parameter=name) for name in wrong]
                raise Problem(422, faults[0].detail, kind="unknown-option", faults=faults)
            given = await handle(request)
            if isinstance(given, ValueAnswer) and LINES in request.headers.get("Accept", ""):
                given = given.with_lines()
            return _tagged(request, given)

        return answer


def _unknown(name: str, known: list[str]) -> str:
    return unknown("parameter", name, known) if known else f"There is no parameter {name!r} here."


def _tagged(request: Request, response: Response) -> Response:
    """Return 304 where the client has this very answer already."""
    body = getattr(response, "body", None)
    if request.method != "GET" or response.status_code != 200 or not isinstance(body, bytes):
        return response
    tag = response.headers.setdefault("ETag", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return unchanged(request, tag) or response


def unchanged(request: Request, tag: str) -> Response | None:
    """Return the answer to a client that has what this tag is of, None if it has not."""
    given = request.headers.get("If-None-Match", "")
    has = {each.strip().removeprefix("W/") for each in given.split(",")}
    return Response(status_code=304, headers={"ETag": tag}) if {tag, "*"} & has else None


async def text_body(request: Request, kind: str) -> str:
    """Read a body of text of a type; raises Problem for another, a long, slow or malformed one."""
    sent = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sent != kind:
        raise Problem(415, f"The body is {kind}, not {sent or 'of no type'}.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > LONGEST_BODY:
                    raise Problem(413, f"The body has at most {LONGEST_BODY:,} bytes.")
                parts.append(part)
    except TimeoutError:
        raise Problem(408, f"The body has not come within {PATIENCE:.0f} seconds.") from None
    except ClientDisconnect:
        raise Problem(400, "The body has not come to its end.") from None
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise malformed("The body: not text in UTF-8.") from None


def malformed(text: str) -> Problem:
    """Return the problem of a body that can't be read."""
    return Problem(400, text, kind="malformed", faults=[Fault(text, pointer())])


async def json_body(request: Request) -> Any:
    """Read a body of JSON; raises Problem for a long, slow or malformed one."""
    text = await text_body(request, JSON)
    try:
        return parse_json(text, "The body")
    except UserError as error:
        raise malformed(str(error)) from None


Body = Annotated[Any, Depends(json_body)]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return plain data as an answer."""
    return JSONResponse(value, status, dict(headers or {}))


class ValueAnswer(JSONResponse):
    """The plain data of a verb's value; a client that asks for it gets the lines too.

    `plain` is what the client may see of the data; all of it if left out.
    """

    def __init__(self, value: Value, plain: Any = None) -> None:
        self.value, self.plain = value, value.to_json() if plain is None else plain
        super().__init__(self.plain, headers={"Vary": "Accept"})

    def with_lines(self) -> JSONResponse:
        """Return the answer that has what people read beside the plain data."""
        both = {"value": self.plain, "lines": lines_to_json(self.value.lines())}
        return JSONResponse(both, headers={"Vary": "Accept"}, media_type=LINES)


def takes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a route says of its body in the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": dict(schema)}}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of its problems in the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    content = {MEDIA_TYPE: {"schema": schema}}
    return {status: {"description": "A problem.", "content": content} for status in statuses}
