"""The verbs that explain studies: report, plot, compare.

Importing this module imports neither torch nor the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, Store, StudyName, argument
from nas.commands.studies import reading, study_of
from nas.errors import UserError, unknown
from nas.files import check_file, write, writing
from nas.quantities import from_here
from nas.report import tables

if TYPE_CHECKING:
    from nas.report.comparison import Difference
    from nas.report.facts import Overview

Named = Annotated[str | None, argument("A study's name; the newest if left out.")]
PAGE = (".html",)


@dataclass(frozen=True)
class Explained:
    """A file that explains a study; `kind` is what it is: a report or a figure."""

    kind: str
    study: str
    path: Path

    def to_json(self) -> dict[str, Any]:
        """Return the path and the size in bytes as plain data."""
        size = self.path.stat().st_size
        return {"study": self.study, self.kind: from_here(self.path), "bytes": size}

    def lines(self) -> tables.Lines:
        """Say where the file lies."""
        return [f"{self.kind}: {from_here(self.path)}"]


def report_study(
    name: Named = None,
    *,
    study: StudyName = None,
    out: Annotated[str, Help("Page to write, .html.")] = "report.html",
    store: Store = None,
) -> Explained:
    """Explain a study on one page that needs no network."""
    from nas.report.page import report_page

    path = page_file(out)
    facts = _facts(name, study, store)
    with writing(path):
        write(path, report_page(facts).encode())
    return Explained("report", facts.study, path)


def page_file(out: str) -> Path:
    """Return the page to write; raises UserError for another ending, and where it can't be."""
    return _checked(out, PAGE)


def plot(
    figure: Annotated[str, argument("tradeoff, progress, curves, importance, or another.")],
    name: Named = None,
    *,
    study: StudyName = None,
    out: Annotated[str, Help("File to write: .svg, .png, .html or .csv, its numbers.")],
    store: Store = None,
) -> Explained:
    """Draw one figure of a study's page, or write its numbers.

    Raises UserError, with the names there are, for a figure that the study has no facts for.
    """
    from nas.report import chart_files, figures, page

    path = _checked(out, chart_files.SUFFIXES)
    facts = _facts(name, study, store)
    charts = figures.figures(facts)
    if figure not in charts:
        raise UserError(unknown(f"figure of study {facts.study!r}", figure, charts))
    with writing(path):
        chart_files.save(charts[figure], path, page.figure_page)
    return Explained("figure", facts.study, path)


@dataclass(frozen=True)
class StudyComparison:
    """Studies side by side, each winner's metric over the first one's."""

    studies: "Sequence[Overview]"
    differences: "Sequence[Difference]"
    page: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the winners and their differences as plain data."""
        return {
            "metric": self.studies[0].metric,
            "studies": [each.to_json() for each in self.differences],
            "page": None if self.page is None else from_here(self.page),
        }

    def lines(self) -> tables.Lines:
        """Show the winners and the differences, and say what makes them hard to compare."""
        from nas.report.comparison import COLUMNS, rows

        columns = [column.format(metric=self.studies[0].metric) for column in COLUMNS]
        yield tables.Table(columns, rows(self.differences))
        for each in self.differences:
            if each.remark:
                yield tables.Remark(f"{each.study}: {each.remark}")
        if self.page is not None:
            yield f"page: {from_here(self.page)}"


def compare(
    studies: Annotated[list[str], argument("Studies' names; the first is what others are over.")],
    *,
    out: Annotated[str | None, Help("Page to write, .html.")] = None,
    store: Store = None,
) -> StudyComparison:
    """Compare studies: their winners, with intervals of the differences, and their figures."""
    from nas.report import comparison

    if len(studies) < 2 or len(set(studies)) < len(studies):
        raise UserError(f"Name two or more different studies, not {', '.join(studies) or 'none'}.")
    path = None if out is None else page_file(out)
    facts = [_facts(name, None, store) for name in studies]
    differences = comparison.differences(facts)
    if path is not None:
        with writing(path):
            write(path, comparison.comparison_page(facts, differences).encode())
    return StudyComparison(facts, differences, path)


def _checked(out: str, suffixes: Sequence[str]) -> Path:
    """Refuse a file for --out with another ending, and one that can't be written."""
    path = Path(out)
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        endings = f"{', '.join(others)} or {last}" if others else last
        raise UserError(f"--out is a file that ends in {endings}, not {out!r}.")
    check_file(path)
    return path


def _facts(name: str | None, study: str | None, store: str | None) -> "Overview":
    """Read the facts of the study that is named as a word or by --study; refuse two names."""
    name = one_name(name, study)
    from nas.study.overview import overview

    with reading(store) as connection:
        return overview(connection, study_of(connection, name).name)


def one_name(name: str | None, study: str | None) -> str | None:
    """Return the study that is named as a word or by --study; raises UserError for two names."""
    if name is not None and study is not None and name != study:
        raise UserError(f"Name one study, not both {name!r} and --study {study!r}.")
    return name or study
