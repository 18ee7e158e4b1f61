"""What a search has found so far: its progress, trials, front, networks, curves and logs.

Each route calls the verb of that name on the search's study.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from nas.commands import logs as logging_verbs
from nas.commands import search as searching
from nas.commands import studies as verbs
from nas.commands._values import Value
from nas.errors import NotFound, UserError
from nas.service.api.events import progress_of
from nas.service.api.exchange import Route, ValueAnswer, answer, problems
from nas.service.api.searches import (
    LARGEST_PAGE,
    PAGE,
    Limit,
    SearchId,
    page,
    page_of,
    told,
    told_value,
)
from nas.service.api.service import Reader, Server, Service, visible
from nas.store import queries
from nas.store.tokens import Token

router = APIRouter(prefix="/searches/{search_id}", tags=["results"], route_class=Route)
Number = Annotated[int, Path(ge=0, lt=2**31, description="The number of a trial.")]
Count = Annotated[int, Query(ge=1, le=1000, description="How many.")]
OBJECT, OBJECTS = {"type": "object"}, {"type": "array", "items": {"type": "object"}}
LONGEST_LOG = 10_000  # events


def _told(server: Service, token: Token, value: Value) -> Response:
    return ValueAnswer(value, visible(server, token, value.to_json()))


@router.get("/progress", name="progress", responses={200: told("How far it is.", OBJECT)})
def progress(server: Server, token: Reader, search_id: SearchId) -> Response:
    """Return how far a search and its finalists are, how fast it goes, who works on it."""
    study = server.study(token, search_id)

    def read() -> Any:
        with server.store.read() as connection:
            return progress_of(connection, study)

    return answer(visible(server, token, server.recent.of(study, read)))


@router.get("/trials", name="trials", responses={200: told("A page.", page_of(OBJECT))})
def trials(
    request: Request,
    server: Server,
    token: Reader,
    search_id: SearchId,
    limit: Limit = PAGE,
    after: Annotated[int | None, Query(ge=0, lt=2**31, description="A trial's number.")] = None,
) -> Response:
    """List the trials by number, each with its network's cost and its metrics."""
    study = server.study(token, search_id)
    with server.store.read() as connection:
        info = queries.study(connection, study)
        found = queries.trials(
            connection, info.id, after=-1 if after is None else after, limit=limit + 1
        )
    following = found[limit - 1].number if len(found) > limit else None
    items = visible(server, token, [each.to_json() for each in found[:limit]])
    return page(request, items, following)


@router.get("/trials/{number}", name="trial", responses={200: told_value("The trial.", OBJECT)})
def trial(server: Server, token: Reader, search_id: SearchId, number: Number) -> Response:
    """Return one trial: its network, its numbers, its learning curve, verdicts on its exports."""
    study = server.study(token, search_id)
    return _told(server, token, verbs.show(study, number, store=server.url))


@router.get(
    "/trials/{number}/architecture", name="architecture",
    responses={200: told("The architecture.", OBJECT)},
)  # fmt: skip
def architecture(server: Server, token: Reader, search_id: SearchId, number: Number) -> Response:
    """Return a trial's network as nas reads it: a file for nas cost, nas train and nas export."""
    study = server.study(token, search_id)
    return answer(dict(verbs.show(study, number, store=server.url).architecture))


@router.get(
    "/trials/{number}/diagram", name="diagram",
    responses={200: {"description": "A picture.", "content": {"image/svg+xml": {}}}},
)  # fmt: skip
def diagram(server: Server, token: Reader, search_id: SearchId, number: Number) -> Response:
    """Return a picture of a trial's network: layers, kernel groups, widths to scale, cost."""
    from nas.architecture import Architecture
    from nas.report.diagram import svg

    study = server.study(token, search_id)
    view = verbs.show(study, number, store=server.url)
    picture = svg(Architecture.from_json(view.architecture), title=f"trial {number}")
    return Response(str(picture), media_type="image/svg+xml")


@router.get("/trials/{number}/curve", name="curve", responses={200: told("Each epoch.", OBJECTS)})
def curve(server: Server, token: Reader, search_id: SearchId, number: Number) -> Response:
    """Return a trial's learning curve, epoch by epoch."""
    study = server.study(token, search_id)
    return answer(verbs.show(study, number, store=server.url).to_json()["curve"])


@router.get("/top", name="top", responses={200: told_value("The best first.", OBJECTS)})
def top(server: Server, token: Reader, search_id: SearchId, n: Count = 5) -> Response:
    """Return the best trials of different networks."""
    study = server.study(token, search_id)
    return _told(server, token, verbs.top(study, store=server.url, n=n))


@router.get("/front", name="front", responses={200: told_value("The front.", OBJECT)})
def front(
    server: Server,
    token: Reader,
    search_id: SearchId,
    cost: Annotated[str, Query(pattern="^(macs|params)$")] = "macs",
) -> Response:
    """Return the trials that no other beats in metric and cost."""
    study = server.study(token, search_id)
    return _told(server, token, verbs.front(study, cost=cost, store=server.url))


@router.get("/rescore", name="rescore", responses={200: told_value("The ranks.", OBJECT)})
def rescore(
    server: Server,
    token: Reader,
    search_id: SearchId,
    target_flops: Annotated[str, Query(max_length=40, description="Such as 50M.")],
    w: Annotated[float | None, Query(ge=-10, le=10)] = None,
    objective: Annotated[str | None, Query(pattern="^(soft|hard)$")] = None,
    n: Count = 10,
) -> Response:
    """Rank the trials by another target, weight or kind of objective; nothing is trained."""
    study = server.study(token, search_id)
    ranks = verbs.rescore(
        study, target_flops=target_flops, w=w, objective=objective, n=n, store=server.url
    )
    return _told(server, token, ranks)


@router.get("/winner", name="winner", responses={200: told_value("The winner.", OBJECT)})
def winner(server: Server, token: Reader, search_id: SearchId) -> Response:
    """Return the best network so far with its finalists, and its metrics on the test split."""
    study = server.study(token, search_id)
    return _told(server, token, searching.found(study, store=server.url))


@router.get(
    "/logs", name="logs",
    responses={200: told("The newest events.", OBJECTS), **problems(409)},
)  # fmt: skip
def logs(
    server: Server,
    token: Reader,
    search_id: SearchId,
    trial: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    n: Annotated[int, Query(ge=1, le=LONGEST_LOG, description="How many.")] = LARGEST_PAGE,
) -> Response:
    """Return what happened to trials, epoch by epoch and attempt by attempt."""
    study = server.study(token, search_id)
    return answer(_newest(study, trial, n, server.url))


def _newest(study: str, trial: int | None, n: int, store: str) -> Sequence[Any]:
    from collections import deque

    try:
        events = deque(logging_verbs.logs(study, trial, store=store), maxlen=n)
    except UserError as error:
        if isinstance(error, NotFound):
            raise
        raise NotFound(f"Search {study} has no log on this server.") from None
    return [dict(event) for event in events]
