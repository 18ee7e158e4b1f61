"""Who looks at a page: a token that its owner types once, and the browser keeps in a cookie.

The cookie is out of reach of scripts and of other sites' pages. The token is asked for at each
request, so that one that is revoked opens no page.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from nas.errors import NasError
from nas.report.markup import element
from nas.service.api.access import Access
from nas.service.api.exchange import Route
from nas.service.api.problems import Problem, problem_of
from nas.service.pages.forms import Form, fields_of, here
from nas.service.pages.layout import document, problem_page

router = APIRouter(route_class=Route)
COOKIE, TOKEN, NEXT = "nas_token", "token", "next"
LOGIN = "/login"


class Door:
    """Lets people with a valid token pass to the pages; others are asked for theirs, with 401."""

    def __init__(self, app: Callable[..., Awaitable[None]], access: Access) -> None:
        self.app, self.access = app, access
        self._anybody = secrets.token_hex()  # the secret of those who need no token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or hand it on with its token in the state."""
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        try:
            if path == LOGIN and request.method == "POST":
                return await (await self._login(request))(scope, receive, send)
            text = request.cookies.get(COOKIE)
            token = await run_sync(self.access.token, None if text is None else f"Bearer {text}")
        except (Problem, NasError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            return await self._refusal(request, problem)(scope, receive, send)
        scope.setdefault("state", {}).update(token=token, secret=text or self._anybody)
        await self.app(scope, receive, send)

    def _refusal(self, request: Request, problem: Problem) -> Response:
        if "text/html" not in request.headers.get("Accept", ""):
            return problem.answer()
        return login_page(request) if problem.status == 401 else problem_page(request, problem)

    async def _login(self, request: Request) -> Response:
        """Keep a valid token in a cookie, and go to the page that was asked for."""
        fields = await fields_of(request)
        text, to = fields.get(TOKEN, "").strip(), _local(fields.get(NEXT, ""))
        try:
            await run_sync(self.access.token, f"Bearer {text}")
        except Problem as problem:
            if problem.status != 401:
                raise
            return login_page(request, to, "This is no valid token.")
        answer = RedirectResponse(here(request, to), 303)
        # A proxy that ends TLS hides it from the address; the browser's Origin tells of it.
        schemes = (request.url.scheme, request.headers.get("Origin", "").partition(":")[0])
        answer.set_cookie(
            COOKIE, text, path=here(request, "/"), httponly=True, samesite="strict",
            secure="https" in schemes,
        )  # fmt: skip
        return answer


def _local(path: str) -> str:
    """Return the path of a page of ours to go to, nothing that leads to another site."""
    is_local = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return quote(path, safe="/?&=%-_.~+") if is_local and not path.startswith(LOGIN) else "/"


def login_page(request: Request, to: str | None = None, mistake: str = "") -> Response:
    """Return the page that asks for a token."""
    if to is None:
        query = request.url.query
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        to = _local(path + (f"?{query}" if query else "")) if request.method == "GET" else "/"
    told = element("p", mistake, id="mistake", class_="mistake", role="alert")
    invalid = {"aria_invalid": "true", "aria_describedby": "mistake"} if mistake else {}
    field = element(
        "input", type="password", name=TOKEN, id=TOKEN, autocomplete="current-password",
        required=True, autofocus=True, **invalid,
    )  # fmt: skip
    made = document(
        request,
        "Log in",
        element("h1", "Log in"),
        element("p", "Type the token that ", element("code", "nas token create"), " has shown."),
        element(
            "form",
            told if mistake else None,
            element("label", "Token", for_=TOKEN),
            field,
            element("input", type="hidden", name=NEXT, value=to),
            element("button", "Log in"),
            method="post", action=here(request, LOGIN), class_="login",
        ),
        status=401,
    )  # fmt: skip
    made.headers["WWW-Authenticate"] = "Bearer"
    made.headers["Cache-Control"] = "no-store"
    return made


@router.get(LOGIN)
def logged_in(request: Request) -> Response:
    """Go to the searches: whoever sees this has a token."""
    return RedirectResponse(here(request, "/"), 303)


@router.post("/logout")
def logout(request: Request, _: Form) -> Response:
    """Forget the token."""
    answer = RedirectResponse(here(request, "/"), 303)
    answer.delete_cookie(
        COOKIE, path=here(request, "/"), httponly=True, samesite="strict"
    )  # fmt: skip
    return answer
