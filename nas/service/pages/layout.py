"""A page of the service: its frame, its navigation, what it says where something went wrong."""

from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from nas.report.chart_files import STYLE, colours
from nas.report.markup import Markup, element, joined, own
from nas.report.page import UNSEEN
from nas.service.api.problems import Problem
from nas.service.pages.forms import button, here

SCRIPTS = {"page.js": "nas.report", "pages.js": "nas.service.pages"}  # and where they lie


def text_of(package: str, name: str) -> str:
    """Return the text of a style or a script of ours."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def link(request: Request, path: str, text: object, **attributes: Any) -> Markup:
    """Return a link to a page of ours."""
    return element("a", text, href=here(request, path), **attributes)


def document(
    request: Request, title: str, *content: object, status: int = 200, refresh: int | None = None
) -> HTMLResponse:
    """Return a page; without scripts it is loaded again after `refresh` seconds."""
    style = text_of("nas.report", "page.css") + text_of("nas.service.pages", "pages.css")
    is_known = hasattr(request.state, "token")
    again = element("meta", http_equiv="refresh", content=refresh) if refresh else None
    scripts = [
        element("script", src=here(request, f"/static/{name}"), defer=True) for name in SCRIPTS
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} · nas"),
        element("link", rel="icon", href="data:,"),
        element("style", own(colours() + STYLE + style)),
        element("noscript", again) if again else None,
        *(scripts if is_known else []),
    )
    body = element(
        "body",
        element("a", "Skip to content", href="#main", class_="skip"),
        _header(request) if is_known else None,
        element("main", *content, id="main", tabindex=-1),
        element("div", id="tip", hidden=True, aria_hidden="true"),
        element("div", id="spoken", role="status", style=UNSEEN),
    )
    page = joined(own("<!doctype html>\n"), element("html", head, body, lang="en"))
    return HTMLResponse(str(page), status)


def _header(request: Request) -> Markup:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    links = [
        link(request, to, text, aria_current="page" if path == to else None)
        for to, text in (("/", "Searches"), ("/new", "New search"), ("/data", "Data"))
    ]
    token = request.state.token
    return element(
        "header",
        element("nav", *links, aria_label="Pages"),
        element("div", element("span", token.name, class_="muted"),
                button(request, "/logout", "Log out"), class_="person"),
        class_="top",
    )  # fmt: skip


def problem_page(request: Request, problem: Problem) -> HTMLResponse:
    """Return the page that tells of a problem."""
    faults = [element("li", fault.detail) for fault in problem.faults]
    made = document(
        request,
        "Not possible",
        element("h1", "Not possible"),
        element("p", problem.detail),
        element("ul", *faults) if len(faults) > 1 else None,
        element("p", link(request, "/", "To the searches")),
        status=problem.status,
    )
    made.headers.update(problem.headers)
    return made
