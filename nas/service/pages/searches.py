"""The list of searches, and the page of one: it follows the search as it goes on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from nas import export
from nas.commands import studies as verbs
from nas.commands.watch import lines
from nas.errors import NotFound
from nas.quantities import number, short
from nas.report import page as report
from nas.report.facts import Statement
from nas.report.markup import Markup, data, element, joined
from nas.service.api import downloads, events
from nas.service.api import searches as api
from nas.service.api.exchange import Route
from nas.service.api.service import Reader, Server, Service, Submitter
from nas.service.pages.facts import ShownStudy, explained
from nas.service.pages.forms import Form, button, here
from nas.service.pages.layout import document, link
from nas.store import queries, searches
from nas.store.queries import TrialInfo
from nas.store.searches import Search
from nas.store.tokens import Token
from nas.study.options import SUFFIX
from nas.study.progress import Progress, counts_line
from nas.training.metrics import words

router = APIRouter(route_class=Route)
PAGE, BEST = 25, 10  # searches and trials of a page; the best trials beside a search
AGAIN = 10  # seconds between two looks of a browser without scripts
# What can be done to a search in each state, with the words that ask for it.
WISHES: Mapping[str, Mapping[str, str]] = {
    "queued": {"pause": "Pause", "cancel": "Cancel"},
    "running": {"pause": "Pause", "cancel": "Cancel"},
    "pausing": {"resume": "Go on", "cancel": "Cancel"},
    "paused": {"resume": "Go on", "cancel": "Cancel", "delete": "Delete"},
    "failed": {"resume": "Go on", "delete": "Delete"},
    "succeeded": {"delete": "Delete"},
    "cancelled": {"delete": "Delete"},
}


@router.get("/")
def listed(
    request: Request,
    server: Server,
    token: Reader,
    after: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """List the searches that the token sees, the newest first."""
    with server.store.read() as connection:
        found = searches.searches(connection, token.sees, limit=PAGE + 1, after=after)
        rows = [_row(request, connection, each) for each in found[:PAGE]]
    if not found:
        first = link(request, "/new", "Begin the first one")
        return document(
            request, "Searches", element("h1", "Searches"), element("p", "No search yet. ", first)
        )
    columns = ["pick", "search", "state", "trials", "submitted, UTC"]
    older = link(request, f"/?after={found[:PAGE][-1].id}", "Older searches", rel="next")
    return document(
        request,
        "Searches",
        element("h1", "Searches"),
        element(
            "form",
            report.table(columns, rows, "The newest first"),
            element("button", "Compare those that are ticked") if len(found) > 1 else None,
            action=here(request, "/compare"),
        ),
        element("p", older) if len(found) > PAGE else None,
    )


def _row(request: Request, connection: sa.Connection, search: Search) -> list[object]:
    about = f"Compare {search.title}"
    tick = element("input", type="checkbox", name="search", value=search.id, aria_label=about)
    title = link(request, f"/searches/{search.id}", search.title)
    trials = ""
    if queries.exists(connection, search.id):
        trials = counts_line(queries.counts(connection, queries.study(connection, search.id).id))
    return [tick, title, _state(search.state), trials, f"{search.created:%Y-%m-%d %H:%M}"]


def _state(state: str) -> Markup:
    return element("span", state, class_=f"state {state}")


@router.get("/searches/{search_id}", name="search")
def search_page(
    request: Request, server: Server, token: Reader, search_id: api.SearchId
) -> Response:
    """Show a search: how far it is, what it has found, its best networks."""
    search = server.search(token, search_id)
    live = element("div", *_live(request, server, search), id="live")
    events_of = None if search.has_ended else here(request, f"/searches/{search_id}/events")
    return document(
        request,
        search.title,
        element("h1", search.title),
        element("div", live, data_events=events_of),
        element("h2", "What was asked"),
        _asked(search),
        refresh=None if search.has_ended else AGAIN,
    )


def _asked(search: Search) -> Markup:
    rows = [
        Statement(words(name), str(value["name"]) if isinstance(value, dict) and "name" in value
                  else str(value))
        for name, value in search.asked.items()
    ]  # fmt: skip
    return joined(report.claims([*rows, Statement("search", search.id)]))


def _live(request: Request, server: Service, search: Search) -> Iterator[Markup]:
    """Yield the parts of the page that change as the search goes on, each with its own id."""
    token: Token = request.state.token
    wishes = WISHES.get(search.state, {}) if token.may("submit") else {}
    base, ask = f"/searches/{search.id}", f"Delete {search.title} with all its files?"
    yield element(
        "div", element("p", _state(search.state), " ", search.message, role="status"),
        *(button(request, f"{base}/{wish}", text, class_="quiet" if wish != "resume" else None,
                 data_ask=ask if wish == "delete" else None)
          for wish, text in wishes.items()),
        id="state",
    )  # fmt: skip
    found, statuses = explained(server, search.id), [*_statuses(server, search.id)]
    if statuses:
        yield element("div", *map(_progress, statuses), id="progress-now")
        warnings = [(each.level, f"{each.text} [{each.guard}]") for each in statuses[0].warnings]
        if found is None and warnings:
            yield element("div", report.warned(warnings), id="guards")
        yield element("section", *_trials(request, server, search.id), id="trials")
    if found is not None:
        yield element("section", *_found(request, search.id, found), id="found")


def _statuses(server: Service, study: str) -> Iterator[Progress]:
    """Yield how far the search's study is, and that of its finalists."""
    for name, shown in ((study, "trials"), (study + SUFFIX, "finalists")):
        with server.store.read() as connection:
            if not queries.exists(connection, name):
                return
        for status in verbs.status(name, store=server.url):
            yield replace(status, study=shown)


def _progress(status: Progress) -> Markup:
    label = f"{status.study} begun"
    bar = element("progress", max=status.budget, value=min(status.spent, status.budget or 0),
                  aria_label=label)  # fmt: skip
    bound = f"{status.spent} of {status.budget} {label}"
    shown = replace(status, warnings=())
    return element(
        "div",
        element("p", bar, " ", bound) if status.budget else None,
        element("pre", "\n".join(lines(shown)), class_="lines"),
    )


def _trials(request: Request, server: Service, study: str) -> Iterator[Markup]:
    best = [*verbs.top(study, store=server.url, n=BEST)]
    yield element("h2", "Best trials")
    with server.store.read() as connection:
        metric = queries.study(connection, study).metric
    if best:
        yield trials_table(request, study, best, metric, "The best first, each another network")
    else:
        yield element("p", "No trial is complete yet.")
    yield element("p", link(request, f"/searches/{study}/trials", "All trials"))


def trials_table(
    request: Request, study: str, trials: list[TrialInfo], metric: str, caption: str
) -> Markup:
    """Return a table of trials, each a link to its page."""
    rows = [
        [link(request, f"/searches/{study}/trials/{each.number}", f"trial {each.number}"),
         each.state, number(each.score), number(each.metrics.get(metric)), short(each.cost.macs),
         short(each.cost.params), each.fidelity]
        for each in trials
    ]  # fmt: skip
    columns = ["trial", "state", "#score", f"#{words(metric)}", "#FLOPs", "#params", "#epochs"]
    return report.table(columns, rows, caption)


def _found(request: Request, study: str, found: ShownStudy) -> Iterator[Markup | None]:
    """Yield what the report says of the winner and of the search, with links to the trials."""
    networks = [
        [n.trial, n.architecture_id, n.numbers, n.notation,
         here(request, f"/searches/{study}/trials/{n.trial}")]
        for n in found.facts.networks
    ]  # fmt: skip
    yield element("h2", "The answer so far")
    yield report.answer(found.facts)
    yield report.warned(found.facts.warnings)
    yield download_links(request, study, None)
    yield found.sections
    yield data("networks", networks)


def download_links(request: Request, study: str, trial: int | None) -> Markup:
    """Return links to a network's files: of the winner, or of a trial."""
    query = "" if trial is None else f"?trial={trial}"
    names = {f"code{query}": "model.py", f"weights{query}": "model.safetensors"}
    names |= {f"exports/{name}{query}": name for name in export.names()}
    if trial is None:
        names = {"report": "Report", **names}
    items = [
        element("li", link(request, f"/searches/{study}/{path}", text, download=True))
        for path, text in names.items()
    ]
    return element("ul", *items, class_="links", aria_label="Downloads")


@router.get("/searches/{search_id}/events", name="events")
async def events_of(
    request: Request, server: Server, token: Reader, search_id: api.SearchId
) -> Response:
    """Tell the page of a search that something has changed."""
    last = request.headers.get("Last-Event-ID", "")[:20_000]
    return await events.events(request, server, token, search_id, last)


@router.get("/searches/{search_id}/trials")
def all_trials(
    request: Request,
    server: Server,
    token: Reader,
    search_id: api.SearchId,
    after: Annotated[int, Query(ge=-1, lt=2**31)] = -1,
) -> Response:
    """List the trials of a search by number."""
    search = server.search(token, search_id)
    with server.store.read() as connection:
        info = queries.study(connection, server.study(token, search_id))
        found = queries.trials(connection, info.id, after=after, limit=api.PAGE + 1)
    shown = found[: api.PAGE]
    query = urlencode({"after": shown[-1].number}) if len(found) > api.PAGE else ""
    more = link(request, f"/searches/{search_id}/trials?{query}", "Later trials", rel="next")
    title = f"Trials of {search.title}"
    return document(
        request,
        title,
        element("h1", title),
        element("p", link(request, f"/searches/{search_id}", "To the search")),
        trials_table(request, search_id, shown, info.metric, "By number"),
        element("p", more) if query else None,
    )


@router.get("/searches/{search_id}/report")
def report_of(request: Request, server: Server, token: Reader, search_id: api.SearchId) -> Response:
    """Return the search's report as a download."""
    return downloads.report(request, server, token, search_id)


@router.post("/searches/{search_id}/delete")
def delete(
    request: Request, server: Server, token: Submitter, search_id: api.SearchId, _: Form
) -> Response:
    """Delete a search, and go to the list."""
    api.delete(server, token, search_id)
    return RedirectResponse(here(request, "/"), 303)


@router.post("/searches/{search_id}/{wish}")
def change(
    request: Request, server: Server, token: Submitter, search_id: api.SearchId, wish: str, _: Form
) -> Response:
    """Pause a search, let it go on, cancel it."""
    if wish not in api.CHANGES:
        raise NotFound(f"There is no page {wish!r}.")
    api.changed(server, token, search_id, wish)
    return RedirectResponse(here(request, f"/searches/{search_id}"), 303)
