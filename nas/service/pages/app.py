"""The application of the pages: beside the API, on the same searches, behind a door of its own."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Response

from nas.errors import NotFound, unknown
from nas.service.api.events import Feeds
from nas.service.api.exchange import Route
from nas.service.api.problems import handle_all
from nas.service.api.service import Reader, Service
from nas.service.pages import comparing, data, searches, session, submitting, trials
from nas.service.pages.layout import SCRIPTS, problem_page, text_of

router = APIRouter(route_class=Route)


def pages(service: Service, feeds: Feeds) -> FastAPI:
    """Return the pages without their door; see `session.Door`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service, app.state.feeds = service, feeds
    handle_all(app, problem_page)
    for each in (session, submitting, comparing, data, searches, trials):
        app.include_router(each.router)
    app.include_router(router)
    return app


@router.get("/static/{name}")
def static(_: Reader, name: Annotated[str, Path(max_length=40)]) -> Response:
    """Return one of our scripts."""
    if name not in SCRIPTS:
        raise NotFound(unknown("script", name, SCRIPTS))
    return Response(text_of(SCRIPTS[name], name), media_type="text/javascript")
