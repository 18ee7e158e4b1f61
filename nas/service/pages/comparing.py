"""The page that compares searches: their winners, with intervals, and figures on the same axes."""

from collections import Counter
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from nas.errors import Conflict, UserError
from nas.report import comparison
from nas.report.markup import element, joined
from nas.service.api.exchange import Route
from nas.service.api.service import Reader, Server
from nas.service.pages.facts import overview_of
from nas.service.pages.layout import document, link

router = APIRouter(route_class=Route)
MOST = 8


@router.get("/compare")
def compare(
    request: Request,
    server: Server,
    token: Reader,
    search: Annotated[list[str] | None, Query(max_length=100)] = None,
) -> Response:
    """Show searches side by side; the differences are over the oldest."""
    ids = list(dict.fromkeys(search or ()))
    if not 2 <= len(ids) <= MOST:
        raise UserError(f"Tick from 2 to {MOST} searches, not {len(ids)}.")
    found = sorted((server.search(token, each) for each in ids), key=lambda each: each.created)
    counts = Counter(each.title for each in found)
    facts = []
    for each in found:
        if (its := overview_of(server, each.id)) is None:
            raise Conflict(f"Search {each.title!r} has no complete trial yet.")
        name = each.title if counts[each.title] == 1 else f"{each.title} ({each.id[:4]})"
        facts.append(replace(its, study=name))
    links = [link(request, f"/searches/{each.id}", its.study)
             for each, its in zip(found, facts, strict=True)]  # fmt: skip
    return document(
        request,
        "Searches compared",
        element("h1", "Searches compared"),
        element("p", *(joined(each, " ") for each in links), class_="links"),
        *comparison.comparison_parts(facts, comparison.differences(facts)),
    )
