"""The page of a trial: its network, its learning curve, its code, its files."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from nas.architecture import Architecture
from nas.commands import studies as verbs
from nas.report import figures
from nas.report import page as report
from nas.report.facts import LearningCurve
from nas.report.markup import element
from nas.report.tables import Table, curve_table
from nas.service.api import downloads, results
from nas.service.api.exchange import Route
from nas.service.api.searches import SearchId
from nas.service.api.service import Reader, Server
from nas.service.pages.forms import here
from nas.service.pages.layout import document, link
from nas.service.pages.searches import download_links
from nas.study.progress import trial_line
from nas.training.metrics import words

router = APIRouter(prefix="/searches/{search_id}", route_class=Route)
Trial = Annotated[int | None, Query(ge=0, lt=2**31)]


@router.get("/trials/{number}")
def trial(
    request: Request, server: Server, token: Reader, search_id: SearchId, number: results.Number
) -> Response:
    """Show a trial: what it is worth, what it is made of, how it learnt; its code and files."""
    search = server.search(token, search_id)
    view = verbs.show(server.study(token, search_id), number, store=server.url)
    architecture = Architecture.from_json(view.architecture)
    points = [(p.epoch, v) for p in view.curve if (v := p.metrics.get(view.metric)) is not None]
    curve = LearningCurve(f"trial {number}", points, is_best=True)
    chart = figures.learning_curves([curve], words(view.metric), best=f"trial {number}")
    epochs: Table = curve_table(view.curve, view.metric)
    is_complete = view.trial.state == "complete"
    base = f"/searches/{search_id}"
    code = here(request, f"{base}/code?trial={number}")
    files = [
        element("h2", "Code and files"),
        download_links(request, search_id, number),
        element("details", element("summary", "The network as Python code, model.py"),
                element("pre", "Loading it takes a few seconds.", tabindex=0), data_load=code),
    ] if is_complete else []  # fmt: skip
    return document(
        request,
        f"Trial {number} of {search.title}",
        element("h1", f"Trial {number} of ", link(request, base, search.title)),
        element("p", f"{trial_line(view.trial, view.metric)} ({view.trial.state})"),
        element("p", view.trial.reason) if view.trial.reason else None,
        *files,
        element("h2", "The network"),
        element("pre", view.trial.notation),
        *report.network_parts(architecture, f"trial {number}"),
        element("p", link(request, f"{base}/trials/{number}/architecture", "Architecture as JSON",
                          download=f"trial-{number}.json"), " · ",
                link(request, f"{base}/trials/{number}/diagram", "Diagram as SVG",
                     download=f"trial-{number}.svg")),
        element("h2", "How it learnt"),
        report.figures_of([chart]),
        element("details", element("summary", "The curve as a table"),
                report.table(epochs.columns, epochs.rows, "Each epoch")),
    )  # fmt: skip


router.add_api_route("/trials/{number}/architecture", results.architecture)
router.add_api_route("/trials/{number}/diagram", results.diagram)
router.add_api_route("/code", downloads.code)
router.add_api_route("/weights", downloads.weights)
router.add_api_route("/exports/{format_name}", downloads.exported)
