"""The page that explains a study: one HTML file that loads nothing. Facts in, text out."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

from nas.architecture import Architecture
from nas.quantities import short
from nas.report import diagram, figures
from nas.report.chart import Chart
from nas.report.chart_files import STYLE, colours, svg
from nas.report.facts import Overview, Statement, Tested
from nas.report.markup import Markup, data, element, joined, own
from nas.report.stages import stages
from nas.training.metrics import words

SHOWN_METRICS = ("recall", "precision", "specificity", "auroc")  # of each class
MOST_CLASSES = 60  # in the table
MOST_FRONT = 40  # rows
Section = tuple[str, str, Sequence[object]]  # its anchor, its heading, its parts
_SHORT = "As trained in the search; the finalists were then trained in full. "
_KEYS = "Point to a mark for its network, click it for its diagram; or use Tab, arrows and Enter."


def report_page(facts: Overview) -> Markup:
    """Return a study's page."""
    parts = [*sections(facts), *_provenance(facts)]
    links = [element("a", heading, href=f"#{anchor}") for anchor, heading, _ in parts]
    networks = [[n.trial, n.architecture_id, n.numbers, n.notation] for n in facts.networks]
    return page(
        facts.study,
        element("h1", facts.study),
        claims(facts.question),
        answer(facts),
        warned(facts.warnings),
        element("nav", *links, aria_label="Sections"),
        *(section(*each) for each in parts),
        data("networks", networks),
        _packed_diagrams(facts),
    )


def sections(facts: Overview) -> list[Section]:
    """Return what a study's page says of its search and its winner, heading by heading."""
    charts = figures.figures(facts)
    makers = (_trade_off, _progress, _mattered, _trained, _winner, _tested)
    return [each for make in makers for each in make(facts, charts)]


def answer(facts: Overview) -> Markup | None:
    """Return the winner, what it reaches and costs."""
    return claims(facts.answer, class_="answer", aria_label="The answer")


def page(title: str, *content: object) -> Markup:
    """Return a page with our style and script; it may load nothing, and run no other script."""
    script = files("nas.report").joinpath("page.js").read_text(encoding="utf-8")
    style = files("nas.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: nas report"),
        element("style", own(colours() + STYLE + style)),
    )
    tip = element("div", id="tip", hidden=True, aria_hidden="true")
    spoken = element("div", id="spoken", role="status", style=UNSEEN)
    main = element("main", *content)
    body = element("body", main, tip, spoken, element("script", own(script)))
    return joined(own("<!doctype html>\n"), element("html", head, body, lang="en"))


UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"


def figure_page(chart: Chart) -> Markup:
    """Return a page with one chart."""
    return page(chart.title, element("h1", chart.title), figure_of(chart))


def claims(given: Sequence[Statement], **attributes: object) -> Markup | None:
    """Return claims as a list of terms, each with its value and a remark."""
    if not given:
        return None
    items = [
        joined(
            element("dt", claim.about),
            element("dd", claim.value, element("small", claim.remark) if claim.remark else None),
        )
        for claim in given
    ]
    return element("dl", *items, **attributes)


def warned(warnings: Sequence[tuple[str, str]]) -> Markup | None:
    """Return warnings by their levels."""
    if not warnings:
        return None
    items = [
        element("li", element("strong", f"{level}: "), text, class_=level)
        for level, text in warnings
    ]
    return element("ul", *items, class_="warnings", aria_label="Warnings")


def section(anchor: str, heading: str, parts: Sequence[object]) -> Markup:
    """Return a part of a page under its heading."""
    return element("section", element("h2", heading, id=anchor), *parts)


def figure_of(chart: Chart, **attributes: object) -> Markup:
    """Return a chart as a figure."""
    return element("figure", svg(chart), **attributes)


def figures_of(charts: Iterable[Chart | None]) -> Markup | None:
    """Return charts side by side where there is room; None without one."""
    shown = [figure_of(chart) for chart in charts if chart is not None]
    return element("div", *shown, class_="figures") if shown else None


def wide(content: object, label: str) -> Markup:
    """Return content that may be wider than the screen, and can be scrolled by the keyboard."""
    return element(
        "div", content, class_="wide", tabindex=0, role="region", aria_label=label
    )  # fmt: skip


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> Markup:
    """Return a table; columns whose names begin with # hold numbers."""
    kinds = ["number" if column.startswith("#") else None for column in columns]
    pairs = zip(columns, kinds, strict=True)
    head = [element("th", c.lstrip("#"), class_=kind, scope="col") for c, kind in pairs]
    body = [
        element("tr", *(element("td", v, class_=kind) for v, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    inside = element(
        "table", element("caption", caption), element("thead", element("tr", *head)),
        element("tbody", *body),
    )  # fmt: skip
    return wide(inside, caption)


def _trade_off(facts: Overview, charts: dict[str, Chart]) -> Iterator[Section]:
    if (chart := charts.get("tradeoff")) is None:
        return
    figure = facts.trade_off
    networks = {network.trial: network for network in facts.networks}
    rows = [
        [spot.number, f"{spot.value:.4f}", short(spot.cost),
         "" if spot.score is None else f"{spot.score:.4f}",
         networks[spot.number].architecture_id[:8]]
        for spot in figure.front[:MOST_FRONT]
    ]  # fmt: skip
    columns = ["#trial", f"#{words(figure.metric)}", f"#{figure.cost}", "#score", "architecture"]
    shown = next((n for n in facts.networks if n.trial == figure.best), None)
    panel = [] if shown is None else [
        element("h3", f"Trial {shown.trial}, the winner"), element("p", shown.numbers),
        element("pre", shown.notation),
    ]  # fmt: skip
    yield "trade-off", f"{words(figure.metric).capitalize()} against cost", [
        element("p", (_SHORT if facts.finalists else "") + _KEYS, class_="muted"),
        figure_of(chart, class_="main"),
        element("div", *panel, id="panel", aria_live="polite"),
        element("details", element("summary", "The front as a table"),
                table(columns, rows, "Networks that no other beats in both")),
    ]  # fmt: skip


def _progress(_: Overview, charts: dict[str, Chart]) -> Iterator[Section]:
    if parts := figures_of(charts.get(name) for name in ("progress", "time")):
        yield "progress", "Progress", [parts]


def _mattered(facts: Overview, charts: dict[str, Chart]) -> Iterator[Section]:
    shown = [chart for name, chart in charts.items() if name.startswith("effect-")]
    if parts := figures_of([charts.get("importance"), *shown]):
        note = (
            f"Among the {len(facts.choices)} complete trials. The sampler chose them, so choices "
            "that came together can't be told apart: these are associations, not experiments."
        )
        yield "mattered", "What mattered", [element("p", note, class_="muted"), parts]


def _trained(facts: Overview, charts: dict[str, Chart]) -> Iterator[Section]:
    rows = [
        [each.trial, short(each.macs), short(each.params), len(each.values), f"{each.mean:.4f}",
         "" if each.interval is None else "{:.4f} to {:.4f}".format(*each.interval),
         f"{each.score:.4f}", each.standing]
        for each in facts.finalists
    ]  # fmt: skip
    columns = ["#trial", "#FLOPs", "#params", "#seeds", f"#{words(facts.metric)}",
               "95 % interval over seeds", "#score", "standing"]  # fmt: skip
    parts = [figures_of([charts.get("finalists"), charts.get("curves")])]
    if rows:
        parts.append(table(columns, rows, "Finalists, trained in full"))
    if any(parts):
        heading = "Finalists and learning curves" if rows else "Learning curves"
        yield "trained", heading, parts


def _winner(facts: Overview, _: dict[str, Chart]) -> Iterator[Section]:
    yield "winner", "The winner", network_parts(facts.winner, "winner")


def network_parts(architecture: Architecture, name: str) -> list[Markup]:
    """Return a network's diagram, and the table of its stages."""
    parts = stages(architecture)
    macs = max(1, sum(part.macs for part in parts))
    rows = [
        [part.name, ", ".join(f"{name} ×{count}" for name, count in part.blocks.items()),
         ".".join(map(str, part.kernels)), f"{part.size_in} → {part.size_out}", part.out_channels,
         short(part.macs), f"{part.macs / macs:.0%}", short(part.params)]
        for part in parts
    ]  # fmt: skip
    columns = ["part", "blocks", "kernels", "pixels", "#width", "#macs", "#share", "#params"]
    drawing = diagram.svg(architecture, title=f"{name.capitalize()}: {architecture.id[:8]}")
    return [
        wide(drawing, f"Diagram of the {name}"), table(columns, rows, f"Stages of the {name}"),
    ]  # fmt: skip


def _tested(facts: Overview, charts: dict[str, Chart]) -> Iterator[Section]:
    if facts.tested is None:
        return
    report = facts.tested.report
    rows = [
        [each["name"], each["images"], each["answers"]]
        + [_estimate(each["metrics"][name]) for name in SHOWN_METRICS]
        for each in report["classes"][:MOST_CLASSES]
    ]
    columns = ["class", "#images", "#answers", *(f"#{name}" for name in SHOWN_METRICS)]
    rest = len(report["classes"]) - len(rows)
    caption = "Each class against the rest, with 95 % intervals over the images"
    yield "test", "The winner on the test split", [
        element("p", f"{report['images']} images that neither training nor search has seen; the "
                "network that is handed over.", class_="muted"),
        figures_of([charts.get("confusion"), charts.get("roc")]),
        table(columns, rows, caption + (f"; {rest} more classes" if rest > 0 else "")),
        *_mistakes(facts.tested),
    ]  # fmt: skip


def _estimate(of: dict[str, float]) -> str:
    return f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"


def _mistakes(tested: Tested) -> Iterator[Markup]:
    """Yield the pictures of the worst mistakes."""
    if not tested.mistakes:
        return
    items = [
        element(
            "li",
            element("img", src=f"data:image/png;base64,{each.image}",
                    alt=f"An image of {each.label}, answered as {each.answer}"),
            element("div", f"{each.label}, answered {each.answer} ({each.probability:.0%})"),
        )
        for each in tested.mistakes
    ]  # fmt: skip
    yield element("h3", "Worst mistakes: wrong answers that were the surest")
    yield element("ul", *items, class_="mistakes")


def _provenance(facts: Overview) -> Iterator[Section]:
    yield (
        "provenance",
        "Where this comes from",
        [
            claims(facts.provenance),
            element("h3", "Commands"),
            element("pre", "\n".join(facts.commands)),
        ],
    )


def _packed_diagrams(facts: Overview) -> Markup:
    """Return the diagrams by their architectures' ids, packed: they are alike, and many."""
    drawn = {identity: diagram.svg(each) for identity, each in facts.architectures.items()}
    packed = base64.b64encode(gzip.compress(json.dumps(drawn).encode(), mtime=0)).decode()
    return element("script", own(packed), type="application/octet-stream", id="diagrams")
