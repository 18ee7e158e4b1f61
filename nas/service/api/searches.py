"""Searches: submit one, list them, look at one, pause, resume, cancel and delete it."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response

from nas.report.tables import LINES
from nas.service.api import submission
from nas.service.api.exchange import Body, Route, answer, problems, takes
from nas.service.api.service import Reader, Server, Service, Submitter
from nas.store import searches, uploads
from nas.store.searches import Search, Wanted
from nas.store.tokens import Token

router = APIRouter(prefix="/searches", tags=["searches"], route_class=Route)
PAGE, LARGEST_PAGE = 50, 200
SearchId = Annotated[str, Path(description="The id of a search.", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="The most items of a page.")]
ClientKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$",
        description="A search that is sent again with the same key is the same search.",
    ),
]  # fmt: skip
Title = Annotated[
    str | None, Query(max_length=255, pattern=r"^[^\x00]+$", description="Those of this title.")
]
SEARCH = {
    "type": "object",
    "required": ["id", "title", "state", "message", "options", "created", "links"],
    "properties": {
        "id": {"type": "string", "description": "Its id, and the name of its study."},
        "title": {"type": "string"},
        "state": {"type": "string", "enum": list(searches.STATES)},
        "message": {"type": ["string", "null"], "description": "Why it is in this state."},
        "options": {"type": "object", "description": "The options as they were sent."},
        "created": {"type": "string", "description": "Time in UTC."},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The search's address."}}


def told(description: str, schema: Any, **more: Any) -> dict[str, Any]:
    """Return what a route says of an answer of JSON in the OpenAPI document."""
    return {"description": description, "content": {"application/json": {"schema": schema}}, **more}


def told_value(description: str, schema: Any) -> dict[str, Any]:
    """Return what a route says of a verb's value: plain data, or with the lines people read."""
    both = {
        "type": "object",
        "properties": {"value": schema, "lines": {"type": "array"}},
        "required": ["value", "lines"],
    }
    made = told(description, schema)
    made["content"][LINES] = {"schema": both}
    return made


def page_of(items: Any) -> dict[str, Any]:
    """Return the schema of a page of items."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": items},
            "next": {"type": ["string", "null"], "description": "The next page's address."},
        },
    }


def page(request: Request, items: list[Any], following: object | None) -> Response:
    """Return a page of items; `following` is what the next one comes after."""
    if following is None:
        return answer({"items": items, "next": None})
    given = [pair for pair in request.query_params.multi_items() if pair[0] != "after"]
    query = [*given, ("after", str(following))]
    url = f"{address(request)}?{urlencode(query)}"
    return answer({"items": items, "next": url}, headers={"Link": f'<{url}>; rel="next"'})


def address(request: Request) -> str:
    """Return a request's path as the client knows it, behind a proxy too."""
    root, path = request.scope.get("root_path", ""), request.scope["path"]
    return str(path if path.startswith(root) else root + path)


def shown(request: Request, search: Search) -> dict[str, Any]:
    """Return a search as its owner sees it, with the addresses of what belongs to it."""
    base = str(request.app.url_path_for("search", search_id=search.id))
    here = f"{request.scope.get('root_path', '')}{base}"
    names = ("events", "progress", "trials", "top", "front", "report", "winner")
    return search.to_json() | {"links": {"self": here, **{n: f"{here}/{n}" for n in names}}}


@router.post(
    "", status_code=201, name="submit",
    openapi_extra=takes({"$ref": "#/components/schemas/Submission"}),
    responses={
        200: told("The search that was sent before with this key.", SEARCH, headers=LOCATION),
        201: told("The search is in the queue.", SEARCH, headers=LOCATION),
        **problems(400, 408, 409, 413, 415),
    },
)  # fmt: skip
def submit(
    request: Request, server: Server, token: Submitter, body: Body, client_key: ClientKey = None
) -> Response:
    """Submit a search: the options of nas search as JSON."""
    search, is_new = add(server, token, body, client_key)
    data = shown(request, search)
    return answer(data, 201 if is_new else 200, {"Location": data["links"]["self"]})


def add(server: Service, token: Token, body: Any, client_key: str | None) -> tuple[Search, bool]:
    """Check a submission and queue it; return the search, and whether it is a new one."""
    asked = submission.read(body, server.roots, lambda name: upload_file(server, token, name))
    wanted = Wanted(asked.title, body, asked.options, asked.priority, client_key)
    with server.change(token, "submit") as connection:
        return searches.add(connection, token, wanted)


def upload_file(server: Service, token: Token, upload_id: str) -> Any:
    """Return the file of an upload that a token sees; raises NotFound."""
    with server.store.read() as connection:
        upload = uploads.get(connection, upload_id, token.sees)
    return server.upload_path(upload)


@router.get("", name="searches", responses={200: told("A page.", page_of(SEARCH))})
def listed(
    request: Request,
    server: Server,
    token: Reader,
    limit: Limit = PAGE,
    after: Annotated[str | None, Query(max_length=64, description="An id.")] = None,
    state: Annotated[list[str] | None, Query(max_length=len(searches.STATES))] = None,
    title: Title = None,
) -> Response:
    """List the searches that the token sees, the newest first."""
    searches.check_states(state or ())
    with server.store.read() as connection:
        found = searches.searches(
            connection, token.sees, states=state or (), title=title, limit=limit + 1, after=after
        )
    following = found[limit - 1].id if len(found) > limit else None
    return page(request, [shown(request, each) for each in found[:limit]], following)


@router.get("/{search_id}", name="search", responses={200: told("The search.", SEARCH)})
def search(request: Request, server: Server, token: Reader, search_id: SearchId) -> Response:
    """Return a search and its state."""
    return answer(shown(request, server.search(token, search_id)))


@router.delete(
    "/{search_id}",
    name="delete_search",
    status_code=204,
    responses={204: {"description": "It is gone."}, **problems(409)},
)
def delete(server: Server, token: Submitter, search_id: SearchId) -> Response:
    """Delete a search that nobody runs, with its study and its files."""
    with server.change(token, "delete", search_id) as connection:
        searches.begin_to_delete(connection, search_id, token.sees)
    return Response(status_code=204)


CHANGES = {wish: change for wish, change in searches.CHANGES.items() if wish != "delete"}


def changed(server: Service, token: Token, search_id: str, wish: str) -> Search:
    """Change a search's state by one of `CHANGES`; return it."""
    with server.change(token, wish, search_id) as connection:
        return CHANGES[wish](connection, search_id, token.sees)


def _add(wish: str, text: str) -> None:
    """Add a route that changes a search's state."""

    def route(request: Request, server: Server, token: Submitter, search_id: SearchId) -> Response:
        return answer(shown(request, changed(server, token, search_id, wish)))

    router.add_api_route(
        f"/{{search_id}}/{wish}", route, methods=["POST"], name=wish, description=text,
        summary=wish.capitalize(), responses={200: told("The search.", SEARCH), **problems(409)},
    )  # fmt: skip


_add("pause", "Stop a search so that it can go on; its worker lets go soon.")
_add("resume", "Let a paused or failed search go on where it stopped.")
_add("cancel", "End a search for good; its trials stay.")
