"""The HTTP application: its routes, its gate, its problems, its OpenAPI document."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from nas import __version__
from nas.service.api import (
    downloads,
    events,
    interactive,
    results,
    searches,
    submission,
    system,
    uploads,
)
from nas.service.api.access import Access, Gate, Rate
from nas.service.api.events import Feeds
from nas.service.api.exchange import problems
from nas.service.api.problems import ProblemDetails, handle_all
from nas.service.api.service import Service
from nas.service.guard import AsgiApplication, guarded_asgi
from nas.service.pages.app import pages
from nas.service.pages.session import Door
from nas.store.tokens import Token

ROOT = "/api/v1"
ABOUT = "Submit architecture searches, watch them, compare them, download the winner."
EVERYWHERE = problems(401, 403, 404, 422, 429, 500, 503)


@dataclass(frozen=True)
class Serving:
    """How an application is reached: its address, other names, the rate."""

    host: str = "127.0.0.1"
    names: Collection[str] = ()
    rate: Rate = field(default_factory=Rate)
    anybody: Token | None = None


def api(service: Service) -> FastAPI:
    """Return the routes without the gate and the guard; see `application`."""
    feeds = Feeds(service)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        yield
        feeds.is_over = True

    app = FastAPI(
        title="nas", version=__version__, description=ABOUT,
        docs_url=None, redoc_url=None, lifespan=running, redirect_slashes=False,
    )  # fmt: skip
    app.state.service, app.state.feeds = service, feeds
    handle_all(app)
    root = APIRouter(prefix=ROOT, responses=EVERYWHERE)
    for each in (searches, results, events, downloads, uploads, interactive, system):
        root.include_router(each.router)
    app.include_router(root)
    described: dict[str, Any] = {}

    def openapi() -> Mapping[str, Any]:
        if not described:
            described.update(document(app))
        return described

    app.openapi = openapi  # type: ignore[method-assign, assignment]
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the schema of a submission from the options."""
    from pydantic import TypeAdapter

    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = made["components"].setdefault("schemas", {})
    form = "#/components/schemas/{model}"
    details = TypeAdapter(ProblemDetails).json_schema(ref_template=form)
    schemas |= details.pop("$defs", {})
    schemas[ProblemDetails.__name__] = details
    schemas["Submission"] = submission.schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return made


def application(service: Service, serving: Serving) -> AsgiApplication:
    """Return the application that is served, guarded: routes behind the gate, pages their door."""
    access = Access(service.store, serving.rate, serving.anybody)
    routes = api(service)
    gate = Gate(routes, access)
    door = Door(pages(service, routes.state.feeds), access)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        is_page = scope["type"] == "http" and not path.startswith(("/api", "/openapi.json"))
        await (door if is_page else gate)(scope, receive, send)

    return guarded_asgi(served, serving.host, serving.names)
