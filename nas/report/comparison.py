"""Studies side by side: their winners, the differences of these, and figures on the same axes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.quantities import short
from nas.report import figures
from nas.report.chart import Chart
from nas.report.facts import Finalist, Overview, TrialEnd
from nas.report.intervals import welch
from nas.report.markup import Markup, element
from nas.report.page import figures_of, page, table
from nas.training.metrics import words

COLUMNS = (
    "study", "#trial", "#seeds", "#{metric}", "95 % interval", "#score", "#FLOPs", "#params",
    "#difference", "95 % interval of it",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A study's winner, and how far its metric is over that of the first study's.

    `interval` is Welch's, of 95 % over the seeds; None where a winner has a single training.
    `remark` says what makes the two hard to compare.
    """

    study: str
    winner: Finalist
    difference: float
    interval: tuple[float, float] | None
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "winner": self.winner._asdict()}


def differences(studies: Sequence[Overview]) -> list[Difference]:
    """Return each study's winner beside the first study's."""
    first, *_ = studies
    return [
        Difference(
            each.study,
            each.best,
            each.best.mean - first.best.mean,
            None if each is first else welch(each.best.values, first.best.values),
            _remark(each, first),
        )
        for each in studies
    ]


def _remark(each: Overview, first: Overview) -> str:
    faults = []
    if each.metric != first.metric:
        faults.append(f"its metric is {each.metric}, not {first.metric}")
    if each.fingerprint != first.fingerprint:
        faults.append("its data are others")
    if each.trade_off.cost != first.trade_off.cost:
        faults.append(f"its cost is {each.trade_off.cost}, not {first.trade_off.cost}")
    return "; ".join(faults) and f"{'; '.join(faults)}: the difference says little"


def rows(shown: Sequence[Difference]) -> list[list[str]]:
    """Return the cells of the table of studies, under `COLUMNS`."""
    return [
        [
            each.study, str(each.winner.trial), str(len(each.winner.values)),
            f"{each.winner.mean:.4f}", _interval(each.winner.interval),
            f"{each.winner.score:.4f}", short(each.winner.macs), short(each.winner.params),
            f"{each.difference:+.4f}" if number else "", _interval(each.interval, "+"),
        ]
        for number, each in enumerate(shown)
    ]  # fmt: skip


def _interval(interval: tuple[float, float] | None, sign: str = "") -> str:
    return "" if interval is None else "{:{s}.4f} to {:{s}.4f}".format(*interval, s=sign)


def charts(studies: Sequence[Overview]) -> list[Chart | None]:
    """Return the figures of several studies on the same axes."""
    steps: Mapping[str, Sequence[TrialEnd]] = {each.study: each.steps for each in studies}
    return [
        figures.trade_offs({each.study: each.trade_off for each in studies}),
        figures.progress_by_networks(steps),
        figures.progress_by_seconds(steps),
    ]


def comparison_page(studies: Sequence[Overview], shown: Sequence[Difference]) -> Markup:
    """Return the page that compares studies."""
    title = " and ".join(each.study for each in studies)
    heading = element("h1", f"Studies compared: {title}")
    return page(title, heading, *comparison_parts(studies, shown))


def comparison_parts(studies: Sequence[Overview], shown: Sequence[Difference]) -> list[object]:
    """Return studies side by side: what makes them hard to compare, a table, figures."""
    metric = studies[0].metric
    columns = [column.format(metric=words(metric)) for column in COLUMNS]
    caption = f"Winners by {words(metric)} on validation; differences are over {shown[0].study}"
    remarks = [
        element("li", element("strong", f"{each.study}: "), each.remark, class_="warning")
        for each in shown
        if each.remark
    ]
    return [
        element("ul", *remarks, class_="warnings") if remarks else None,
        table(columns, rows(shown), caption),
        figures_of(charts(studies)),
    ]
