"""The page of data: what this person has sent, a form that sends more, a button that deletes."""

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from nas.errors import DataError, QuotaSpent
from nas.quantities import short
from nas.report import page as report
from nas.report.markup import element
from nas.service.api import submission, uploads
from nas.service.api.exchange import Route
from nas.service.api.problems import Problem
from nas.service.api.service import Reader, Server, Service, Submitter, endings
from nas.service.pages.forms import FIELD, Form, button, check_csrf, form, here
from nas.service.pages.layout import document
from nas.service.pages.multipart import KIND, FileForm
from nas.store import uploads as stored
from nas.store.tokens import Token
from nas.store.uploads import Upload

router = APIRouter(prefix="/data", route_class=Route)
FILE = "file"


@router.get("")
def sent(request: Request, server: Server, token: Reader) -> Response:
    """List the data that the token sees, with the form where it may send some."""
    return _page(request, server, token)


@router.post("")
async def send(request: Request, server: Server, token: Submitter) -> Response:
    """Keep a file that our own page has sent; show the page again where it is no data."""
    await run_sync(uploads.check_room, server, token, uploads.length(request))
    try:
        given = await FileForm.of(request)
        check_csrf(request, given.fields.get(FIELD, ""))
        await uploads.stored(server, token, given.name, given.content())
    except (Problem, DataError, QuotaSpent) as error:
        if isinstance(error, Problem) and error.status != 422:
            raise
        return await run_sync(_page, request, server, token, str(error))
    return RedirectResponse(here(request, "/data"), 303)


@router.post("/{upload_id}/delete")
def delete(
    request: Request, server: Server, token: Submitter, upload_id: uploads.UploadId, _: Form
) -> Response:
    """Delete data, and show what is left."""
    uploads.delete(server, token, upload_id)
    return RedirectResponse(here(request, "/data"), 303)


def _page(request: Request, server: Service, token: Token, mistake: str = "") -> Response:
    with server.store.read() as connection:
        found = stored.uploads(connection, token.sees)
    may = token.may("submit")
    columns = ["name", "of a search's data", "#bytes", "#images", "#classes", "until, UTC"]
    rows = [_row(request, each, deletes=may) for each in found]
    listed = report.table([*columns, *(["Delete"] if may else [])], rows, "The newest first")
    return document(
        request,
        "Data",
        element("h1", "Data"),
        listed if found else element("p", "Nothing was sent yet."),
        _form(request, mistake) if may else None,
        status=422 if mistake else 200,
    )


def _row(request: Request, upload: Upload, *, deletes: bool) -> list[Any]:
    counts = upload.facts.get("counts", {})
    images = sum(sum(of_class.values()) for of_class in counts.values())
    classes = len(upload.facts.get("classes", ()))
    row: list[Any] = [
        upload.name, element("code", f"{submission.UPLOAD}{upload.id}"), short(upload.size),
        images or "", classes or "", f"{upload.expires:%Y-%m-%d}",
    ]  # fmt: skip
    if deletes:
        path, ask = f"/data/{upload.id}/delete", f"Delete {upload.name}?"
        label = f"Delete {upload.name}"
        row.append(button(request, path, "Delete", class_="quiet", data_ask=ask, aria_label=label))
    return row


def _form(request: Request, mistake: str) -> Any:
    told = [f"{FILE}-help", *([f"{FILE}-mistake"] if mistake else [])]
    invalid = {"aria_invalid": "true"} if mistake else {}
    return form(
        request, "/data",
        element("h2", "Send data"),
        element(
            "div",
            element("label", "File", for_=FILE),
            element("input", type="file", name=FILE, id=FILE, required=True,
                    accept=",".join(endings()), aria_describedby=" ".join(told), **invalid),
            element("span", mistake, id=f"{FILE}-mistake", class_="mistake", role="alert")
            if mistake else None,
            element("small", "A data file, or an archive of a folder of images per class. It is "
                    "checked, and kept for 30 days.", id=f"{FILE}-help"),
            class_="field",
        ),
        element("p", element("button", "Send it")),
        enctype=KIND, class_="login",
    )  # fmt: skip
