"""The form that submits a search: its fields derive from the options' one declaration.

While one types, and on a button without scripts, the pre-flight says what the search would be.
"""

import re
import secrets
import statistics
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from nas.commands.space import space_preflight
from nas.errors import NasError, UserError
from nas.files.reading import parse_json
from nas.quantities import duration, short
from nas.report import page as report
from nas.report.facts import Statement
from nas.report.markup import Markup, element
from nas.search_space.preflight import Preflight
from nas.service.api import interactive, submission
from nas.service.api import searches as api
from nas.service.api.exchange import Route
from nas.service.api.problems import Problem
from nas.service.api.service import Reader, Server, Service, Submitter
from nas.service.pages.forms import Fields, Form, form, here
from nas.service.pages.layout import document
from nas.store import queries, searches, uploads
from nas.store.tokens import Token
from nas.study import options
from nas.study.options import Declared
from nas.training.metrics import words

router = APIRouter(prefix="/new", route_class=Route)
FIRST = ("study", "space", "data", "target_flops", "objective", "recipe", "trials", "time")
SPACE_JSON, KEY, CHECK = "space_json", "key", "check"
SEEN_BY_PREFLIGHT = (
    "target_flops", "max_flops", "max_params", "max_memory", "target_device", "resolution",
)  # fmt: skip
RECENT = 20  # searches whose trials tell how long one takes
Mistakes = Mapping[str, str]
# Where a person's answer is not that of the command line.
HELP = {
    "study": "What the search is called here.",
    "space": "A shipped space or network; one of your own is given as JSON, below.",
    "data": "A data set's name, a path below a data root of the server, or upload:ID.",
    "recipe": "How a trial is trained.",
}
HINTS = {"target_flops": "such as 300M"}


@router.get("")
def empty(request: Request, server: Server, token: Submitter) -> Response:
    """Show the form."""
    return _page(request, server, token, {KEY: secrets.token_hex(16)})


@router.post("")
def submit(request: Request, server: Server, token: Submitter, fields: Form) -> Response:
    """Submit the search, or check it; show the form again where it has mistakes."""
    try:
        asked = read(fields)
        if CHECK in fields:
            return _page(request, server, token, fields)
        search, _ = api.add(server, token, asked, fields.get(KEY) or None)
    except Problem as problem:
        return _page(request, server, token, fields, problem)
    return RedirectResponse(here(request, f"/searches/{search.id}"), 303)


@router.post("/preflight")
def preflight(_: Request, server: Server, token: Reader, fields: Form) -> Response:
    """Return the part of the page that says what the search would be."""
    return HTMLResponse(str(_preflight(server, token, fields)))


def read(fields: Fields) -> dict[str, Any]:
    """Return a submission as the API takes it; what is empty in the form is left out."""
    asked = {
        name: _value(one, fields[name])
        for name, one in submission.submittable().items()
        if fields.get(name, "").strip()
    }
    if text := fields.get(SPACE_JSON, "").strip():
        try:
            asked["space"] = parse_json(text, "The space")
        except UserError as error:
            raise submission.refused("space", str(error)) from None
    return asked


def _value(one: Declared, text: str) -> Any:
    """Return a field's text as the option's type, and as it is where it is none."""
    text = text.strip()
    if one.types[0] is tuple:
        return [line.strip() for line in text.splitlines() if line.strip()]
    if one.type is bool:
        return text == "yes"
    try:
        return one.type(text)
    except ValueError:
        return text


def _preflight(server: Service, token: Token, fields: Fields) -> Markup:
    """Say how large the space is, what its networks cost, what is near the target, how long."""
    try:
        asked = read(fields)
        space = asked.get("space", submission.default("space"))
        checked = submission.read_space(space)
        given = {name: asked[name] for name in SEEN_BY_PREFLIGHT if name in asked}
        if isinstance(space, dict):
            plain = interactive.of_json(server, space, given)
            flight = Preflight.from_json(plain)
        else:
            flight = space_preflight(checked, **given).flight
    except (NasError, Problem) as error:
        return element("p", str(error), class_="mistake")
    shown = [
        Statement("Size", f"{flight.size:.3g} assignments", f"{flight.parameters} parameters"),
        Statement("Cost", f"{short(flight.macs[0])} to {short(flight.macs[1])} FLOPs",
                  f"{short(flight.params[0])} to {short(flight.params[1])} parameters"),
        Statement("Near the target", "no target yet") if flight.near_target is None else
        Statement("Near the target", f"{flight.near_target:.1%}",
                  "of random networks are within 10 % of it"),
        Statement("Within the limits", f"{flight.within_limits:.0%}", "of random networks"),
        Statement("Time", *_time(server, token, asked, flight)),
    ]  # fmt: skip
    return report.claims(shown) or element("p")


def _time(
    server: Service, token: Token, asked: Mapping[str, Any], flight: Preflight
) -> tuple[str, str]:
    """Say how long the trials take, by earlier searches on the same data, else by the limit."""
    numbers = {name: asked[name] for name in ("trials", "time") if name in asked}
    try:
        limits = options.read(numbers).complete()
    except UserError:
        return "unknown", ""
    most = "" if limits.time is None else f"at most {duration(limits.time)}"
    each = _trial_seconds(server, token, asked, flight.target_flops or flight.example_macs)
    if each is None or limits.trials is None:
        return most or "unknown", "no earlier search tells more: the same data, recipe and epochs"
    about = f"about {duration(each * limits.trials)} of training"
    told = f"{limits.trials} trials of about {duration(each)}, by earlier searches; one worker"
    return f"{about}, {most}" if most else about, told


def _trial_seconds(
    server: Service, token: Token, asked: Mapping[str, Any], macs: int
) -> float | None:
    """Return the seconds of a trial, by the macs of those that were trained alike."""
    alike = ("data", "recipe", "epochs", "folds", "set")
    rates: list[float] = []
    with server.store.read() as connection:
        for each in searches.searches(connection, token.sees, limit=RECENT):
            if all(each.asked.get(name) == asked.get(name) for name in alike) and queries.exists(
                connection, each.id
            ):
                study = queries.study(connection, each.id)
                rates += [
                    t.seconds / t.cost.macs
                    for t in queries.trials(connection, study.id)
                    if t.state == "complete" and t.seconds and t.reused_from is None
                ]
    return statistics.median(rates) * macs if rates else None


def _page(
    request: Request,
    server: Service,
    token: Token,
    fields: Fields,
    problem: Problem | None = None,
) -> Response:
    """Return the form with what was typed, and with the mistakes beside their fields."""
    declared = submission.submittable()
    mistakes, others = _mistakes(problem)
    found = _sources(server, token)
    more = [one for name, one in declared.items() if name not in FIRST]
    groups = [
        element("fieldset", element("legend", group),
                *(_field(one, fields, mistakes, found) for one in members),
                _space_json(fields) if group == options.WHAT else None)
        for group, members in groupby(more, lambda one: one.group)
    ]  # fmt: skip
    is_open = any(name not in FIRST for name in mistakes) or any(
        fields.get(one.name) for one in more
    )
    said = _preflight(server, token, fields) if CHECK in fields else element(
        "p", "Name a space and a target to see what the search would be.", class_="muted"
    )  # fmt: skip
    made = form(
        request, "/new",
        element("input", type="hidden", name=KEY, value=fields.get(KEY, "")),
        *(element("p", text, class_="mistake", role="alert") for text in others),
        element("div", *(_field(declared[name], fields, mistakes, found) for name in FIRST),
                class_="fields"),
        element("details", element("summary", "More options"), *groups, open=is_open),
        element("aside", element("h2", "Before it begins"),
                element("div", said, id="preflight", aria_live="polite"),
                aria_label="Pre-flight"),
        element("p", element("button", "Begin the search"), " ",
                element("button", "Check it first", name=CHECK, value="1", class_="quiet")),
        id="new", data_preflight=here(request, "/new/preflight"),
    )  # fmt: skip
    return document(
        request, "New search", element("h1", "New search"), made,
        status=problem.status if problem else 200,
    )  # fmt: skip


def _mistakes(problem: Problem | None) -> tuple[dict[str, str], list[str]]:
    """Return a problem's faults by the form's fields, and those of none."""
    if problem is None:
        return {}, []
    named = {(fault.pointer or "").strip("/").partition("/")[0]: fault.detail
             for fault in problem.faults}  # fmt: skip
    known = {name: text for name, text in named.items() if name in submission.submittable()}
    return known, [t for n, t in named.items() if n not in known] or (
        [] if known else [problem.detail]
    )


def _sources(server: Service, token: Token) -> list[tuple[str, str]]:
    """Return data that may be named, with words: data sets and what this person has sent."""
    with server.store.read() as connection:
        sent = uploads.uploads(connection, token.sees)
    own = [(f"{submission.UPLOAD}{each.id}", each.name) for each in sent]
    return own + [(name, name) for name in submission.named_data()]


def _field(
    one: Declared, fields: Fields, mistakes: Mistakes, sources: list[tuple[str, str]]
) -> Markup:
    """Return an option's label, input, help and mistake."""
    name, told = one.name, [f"{one.name}-help"]
    if name in mistakes:
        told.insert(0, f"{name}-mistake")
    facts: dict[str, Any] = {
        "name": name, "id": name, "aria_describedby": " ".join(told),
        "aria_invalid": "true" if name in mistakes else None,
    }  # fmt: skip
    return element(
        "div",
        element("label", _label(one), for_=name),
        _input(one, fields.get(name, ""), facts),
        element("datalist", *(element("option", text, value=value) for value, text in sources),
                id="sources") if name == "data" else None,
        element("span", mistakes[name], id=f"{name}-mistake", class_="mistake")
        if name in mistakes else None,
        element("small", HELP.get(name) or _spoken(one.help), id=f"{name}-help"),
        class_="field",
    )  # fmt: skip


def _label(one: Declared) -> str:
    if one.name == "study":
        return "Title"
    text = words(one.name).replace("flops", "FLOPs")
    return text[0].upper() + text[1:]


def _spoken(text: str) -> str:
    """Return an option's words without the dashes of the command line."""
    return re.sub(r"--([a-z-]+)", lambda found: found[1].replace("-", " "), text)


def _input(one: Declared, text: str, facts: Mapping[str, Any]) -> Markup:
    default = HINTS.get(one.name) or _spoken(one.default_text)
    if (names := _names(one)) is not None:
        empty = element("option", f"default: {default}", value="")
        choices = [element("option", n, value=n, selected=n == text) for n in names]
        return element("select", empty, *choices, **facts)
    if one.types[0] is tuple:
        return element("textarea", text, rows=2, placeholder="one in a line", **facts)
    mode = {int: "numeric", float: "decimal"}.get(one.type)
    more = {"list": "sources", "autocomplete": "off"} if one.name == "data" else {}
    return element(
        "input", type="text", value=text, placeholder=default, inputmode=mode, **more,
        **facts,
    )  # fmt: skip


def _names(one: Declared) -> list[str] | None:
    """Return the values that an option can have, None where they can't be listed."""
    if one.type is bool:
        return ["yes", "no"]
    if one.name in ("space", "recipe"):
        return submission.listed(one.name)
    return None if one.names is None else list(one.names())


def _space_json(fields: Fields) -> Markup:
    return element(
        "div",
        element("label", "Or a space as JSON", for_=SPACE_JSON),
        element("textarea", fields.get(SPACE_JSON, ""), name=SPACE_JSON, id=SPACE_JSON, rows=3,
                aria_describedby=f"{SPACE_JSON}-help"),
        element("small", "nas space validate my_space.py --json prints it.",
                id=f"{SPACE_JSON}-help"),
        class_="field",
    )  # fmt: skip
