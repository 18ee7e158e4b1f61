"""The HTTP application: its routes, its gate, its problems, its OpenAPI document."""

from collections.abc import Collection, Mapping
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
MADE = {"/searches": "search_id", "/uploads": "upload_id"}  # what is made there has this id
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
    app = FastAPI(
        title="nas", version=__version__, description=ABOUT,
        docs_url=None, redoc_url=None, redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    app.state.service, app.state.feeds = service, Feeds(service)
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
    for path, name in MADE.items():
        for status, response in made["paths"][ROOT + path]["post"]["responses"].items():
            if status in ("200", "201"):
                response["links"] = _links(made["paths"], name)
    return made


def _links(paths: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return links from what is made to the operations that take its id as this parameter."""
    taking = [each for path, each in paths.items() if f"{{{name}}}" in path]
    ids = [one["operationId"] for methods in taking for one in methods.values()]
    parameters = {name: "$response.body#/id"}
    return {each: {"operationId": each, "parameters": parameters} for each in ids}


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
