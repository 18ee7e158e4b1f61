"""Forms of the pages: their fields are read within limits, and only our own pages can send them.

A form carries a token against cross-site request forgery: a digest of the cookie's secret, which no
other site's page can know.
"""

import hashlib
import hmac
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request

from nas.report.markup import Markup, element
from nas.service.api.exchange import text_body
from nas.service.api.problems import Fault, Problem, pointer

URLENCODED = "application/x-www-form-urlencoded"
FIELD = "csrf"
MOST_FIELDS = 200
Fields = dict[str, str]


def here(request: Request, path: str) -> str:
    """Return the address of a page as the browser knows it, behind a proxy too."""
    return f"{request.scope.get('root_path', '')}{path}"


def csrf(request: Request) -> str:
    """Return the token that the forms of this person's pages carry."""
    secret: str = request.state.secret
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


async def fields_of(request: Request) -> Fields:
    """Read a form's fields; raises Problem for what is no form."""
    text = await text_body(request, URLENCODED)
    try:
        given = parse_qs(
            text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST_FIELDS
        )
    except ValueError:
        fault = Fault("The body is no form.", pointer())
        raise Problem(400, fault.detail, kind="malformed", faults=[fault]) from None
    return {name: values[-1] for name, values in given.items()}


async def own_fields(request: Request) -> Fields:
    """Read a form that one of our pages has sent; raises Problem for any other."""
    fields = await fields_of(request)
    check_csrf(request, fields.pop(FIELD, ""))
    return fields


def check_csrf(request: Request, text: str) -> None:
    """Refuse a form whose token is not that of this person's pages; raises Problem."""
    if not hmac.compare_digest(text.encode(), csrf(request).encode()):
        raise Problem(403, "This form is of an earlier login; load its page again.")


Form = Annotated[Fields, Depends(own_fields)]


def form(request: Request, path: str, *content: object, **attributes: Any) -> Markup:
    """Return a form that is sent to a page of ours."""
    token = element("input", type="hidden", name=FIELD, value=csrf(request))
    return element("form", token, *content, method="post", action=here(request, path), **attributes)


def button(request: Request, path: str, text: str, **attributes: Any) -> Markup:
    """Return a button that changes something."""
    return form(request, path, element("button", text, **attributes), class_="inline")
