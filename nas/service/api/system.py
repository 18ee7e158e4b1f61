"""The server itself: whether it works, its version, its numbers, who did what."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nas import __version__
from nas.service.api.exchange import Route, answer
from nas.service.api.searches import LARGEST_PAGE, PAGE, told
from nas.service.api.service import Admin, Reader, Server
from nas.service.metrics import Collector
from nas.store import audit

router = APIRouter(tags=["server"], route_class=Route)
STATUS = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
RECORDS = {"type": "array", "items": {"type": "object"}}


@router.get("/health", name="health", responses={200: told("It works.", STATUS)})
def health(
    server: Server,
    ready: Annotated[bool, Query(description="Also ask the store; 503 while it is away.")] = False,
) -> Response:
    """Tell that the server works, or with `ready` that it can do its work."""
    if ready:
        with server.store.read() as connection:
            audit.entries(connection, limit=1)
    return answer({"status": "ok"})


@router.get("/version", name="version", responses={200: told("The version.", {"type": "object"})})
def version(_: Reader) -> Response:
    """Return the version of nas."""
    return answer({"version": __version__})


@router.get("/token", name="token", responses={200: told("The token.", {"type": "object"})})
def token(caller: Reader) -> Response:
    """Return the token that asks, without its secret: name, scopes, quotas, expiry."""
    return answer(caller.to_json())


@router.get(
    "/metrics", name="metrics",
    responses={200: {"description": "Numbers.", "content": {"text/plain": {"schema": {}}}}},
)  # fmt: skip
def metrics(server: Server, _: Admin) -> Response:
    """Return the store's numbers for Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(server.url))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/audit", name="audit", responses={200: told("The newest first.", RECORDS)})
def audited(
    server: Server,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = PAGE,
    before: Annotated[int | None, Query(ge=0, lt=2**31, description="A record's id.")] = None,
) -> Response:
    """Return who did what, and how it ended."""
    with server.store.read() as connection:
        records: list[Any] = audit.entries(connection, limit=limit, before=before)
    return answer(records)
