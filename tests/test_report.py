"""The page that explains a study, its figures as files, and studies compared."""

import base64
import csv
import gzip
import hashlib
import io
import json
import math
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from search_kit import SPACE, nas_here, result
from typer.testing import CliRunner

from benchmarks.scale.load import load
from nas.cli import app
from nas.commands.report import compare, plot, report_study
from nas.commands.search import search
from nas.config import Config
from nas.errors import StoreError, UserError
from nas.report import chart, chart_files, figures
from nas.report.effects import effects
from nas.report.facts import Overview, Scored
from nas.report.intervals import welch
from nas.report.markup import Markup, data, element
from nas.report.page import report_page
from nas.store import queries
from nas.store.store import Store
from nas.study import overview as overviews
from nas.study import preparation, tested
from nas.study.options import SearchOptions, declared
from nas.training import recipe_file

HOSTILE = ("<img src=x onerror=alert(1)>", "a`b</script><script>alert(1)</script>")
STUDY = '"""'


class Elements(HTMLParser):
    """The start tags of a page with their attributes, its ids, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a script's text, and other text."""
        inside = self.tags[-1][0] if self.tags else ""
        (self.scripts if inside == "script" else self.words).append(data)

    def of(self, tag: str) -> list[Mapping[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def write_pictures(path: Path) -> str:
    """Write images of two classes whose names are hostile."""
    random, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 48), ("val", 32), ("test", 32)):
        labels = np.arange(count) % 2
        pixels = random.integers(0, 200, (count, 8, 8)) + 55 * labels[:, None, None]
        arrays[f"{split}_images"] = pixels.astype(np.uint8)
        arrays[f"{split}_labels"] = np.array(HOSTILE)[labels]
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two tiny searches that ended, one of them random, with hostile names."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny.py").write_text(SPACE)
    images = write_pictures(folder / "images.npz")
    common: dict[str, Any] = {
        "epochs": 1, "workers": 0, "pruner": "none", "finalists": 1, "final_seeds": 2, "folds": 1,
        "showcase": False, "store": f"sqlite:///{folder}/nas.db", "out": str(folder / "studies"),
    }  # fmt: skip
    ways = (("control", "random", 2), (STUDY, "tpe", 3))
    for study, sampler, trials in ways:
        search(str(folder / "tiny.py"), images, "50k", study=study, sampler=sampler,
               trials=trials, warm_start=False, **common)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    """Return the URL of their store."""
    return f"sqlite:///{folder}/nas.db"


@pytest.fixture(scope="module")
def facts(url: str) -> Overview:
    """Read the facts of the first study."""
    with queries.connect(url) as connection:
        return overviews.overview(connection, STUDY)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    """Return the page that the search wrote."""
    return (folder / "studies" / STUDY / "report.html").read_text()


def asked_by(line: str, monkeypatch: pytest.MonkeyPatch) -> SearchOptions:
    """Return what a command asks of a search, which is not begun."""
    asked: list[SearchOptions] = []
    monkeypatch.setattr("nas.study.options.check_sources", lambda _: None)  # none that is shipped
    monkeypatch.setattr(preparation, "prepare", lambda given, **_: asked.append(given) or 1 / 0)
    ended = CliRunner().invoke(app, shlex.split(line)[1:])
    assert isinstance(ended.exception, ZeroDivisionError), ended.stderr
    return asked[0]


def test_the_page_s_commands_are_taken(
    facts: Overview, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe is shown; the search takes each option that the page gives it, and goes on."""
    monkeypatch.setenv("NAS_STORE", url)
    monkeypatch.chdir(tmp_path)
    show, again, goes_on, *_ = facts.commands
    assert goes_on == f"nas resume --study {shlex.quote(STUDY)}"
    show = shlex.split(show)[1:]
    shown = CliRunner().invoke(app, show[: show.index(">")])
    Path("recipe.toml").write_text(shown.stdout)
    options = asked_by(again, monkeypatch)
    assert (options.target_flops, options.sampler, options.trials) == (50_000, "tpe", 3)
    assert (options.finalists, options.final_seeds, options.resolution) == (1, 2, 8)
    assert recipe_file.read_file("recipe.toml")


def test_the_page_s_search_is_the_studys_own(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that are not the default's are in it, quoted where a shell needs that."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text("[training]\n")
    with queries.connect(url) as connection:
        info = queries.study(connection, STUDY)
    odd = {
        "pruner": "hyperband", "fidelity": "data", "reduction": 2, "groups": r"(\d+) of.*",
        "exclude": ("masks", "*_thumb .*"), "finals": None, "sampler": "nas",
        "forbid": declared()["forbid"].checked("flip,rotation"),
        "features": ("naswot", "synflow"), "learn_from": ("none",),
    }  # fmt: skip
    config = replace(Config.from_json(info.config), data=str(tmp_path), **odd)
    options = asked_by(overviews._commands(config, info)[1], monkeypatch)
    assert options.no_finalists
    assert {name: getattr(options, name) for name in odd if name != "finals"} == {
        name: value for name, value in odd.items() if name != "finals"
    }


def test_a_search_writes_its_page_with_all_that_it_knows(page: str) -> None:
    """The page has the winner, finalists, figures, the look at the test split and provenance."""
    ids = {attributes.get("id") for _, attributes in Elements(page).tags}
    assert {"trade-off", "progress", "trained", "winner", "test", "provenance"} <= ids
    for words in ("Beside random search", "on test", "Finalists, trained in full",
                  "Confusion matrix", "fingerprint", "nas search --study again"):  # fmt: skip
        assert words in page, words


def test_hostile_names_run_nothing(page: str) -> None:
    """Names stand in the page as text: no element, no script and no attribute comes from them."""
    found = Elements(page)
    assert all("onerror" not in attributes for _, attributes in found.tags)
    assert all(str(image["src"]).startswith("data:image/png") for image in found.of("img"))
    kinds = [script.get("type") for script in found.of("script")]
    assert kinds == ["application/json", "application/octet-stream", None]
    text = "".join(found.words)
    assert all(name in text for name in (*HOSTILE, STUDY))


def test_a_page_loads_nothing_and_runs_its_own_script_alone(page: str) -> None:
    """The policy forbids the network and every script but the one whose hash it states."""
    found = Elements(page)
    policy = next(m["content"] for m in found.of("meta") if "http-equiv" in m) or ""
    digest = base64.b64encode(hashlib.sha256(found.scripts[-1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not [a for _, a in found.tags if str(a.get("src", "data:")).startswith("http")]
    assert found.of("link") == []


def test_marks_open_networks_whose_diagrams_are_packed(page: str, facts: Overview) -> None:
    """Each trial in the trade-off has its words, and each of the best its diagram."""
    found = Elements(page)
    networks = {row[0]: row for row in json.loads(found.scripts[0])}
    marks = {int(a["data-n"] or -1) for _, a in found.tags if "data-n" in a}
    assert marks
    assert marks <= networks.keys()
    diagrams = json.loads(gzip.decompress(base64.b64decode(found.scripts[1])))
    assert {row[1] for row in networks.values()} == diagrams.keys()
    assert all(ET.fromstring(drawn).tag.endswith("svg") for drawn in diagrams.values())
    assert facts.winner.id in diagrams


def test_the_answer_is_that_of_the_result(facts: Overview, folder: Path) -> None:
    """Winner, score, metric and test metric are those of result.json."""
    best = json.loads((folder / "studies" / STUDY / "result.json").read_text())["best"]
    answer = {claim.about: claim for claim in facts.answer}
    assert answer["Winner"].value == f"trial {best['trial']}"
    assert answer["Score"].value.startswith(f"{best['score']:.4f}")
    assert answer["Accuracy on validation"].value.startswith(f"{best['value']:.4f}")
    assert answer["Accuracy on test"].value == f"{best['test']['accuracy']:.4f}"
    assert "study control" in answer["Beside random search"].remark


def test_sections_without_facts_are_left_out(facts: Overview) -> None:
    """A study without finalists, curves, choices and a look has no heading for them."""
    nothing: dict[str, Any] = {"finalists": [], "curves": [], "choices": [], "steps": []}
    bare = replace(facts, **nothing, control=None, tested=None)
    ids = {attributes.get("id") for _, attributes in Elements(report_page(bare)).tags}
    assert {"trade-off", "winner", "provenance"} <= ids
    assert not {"progress", "trained", "mattered", "test"} & ids


def test_a_page_that_cannot_be_written_fails_no_search(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged; nothing is raised."""

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(overviews, "write", full)
    store = Store.open(url)
    overviews.write_report(store, STUDY)
    store.close()
    assert "the study's page" in caplog.text


def test_a_look_of_another_training_is_not_shown(folder: Path) -> None:
    """The file of a look names its evaluation; another's, and a damaged one, are no look."""
    study = folder / "studies" / STUDY
    kept = json.loads((study / tested.FILE).read_text())
    assert tested.read_tested(study, kept["evaluation"]) is not None
    assert tested.read_tested(study, kept["evaluation"] + 1) is None
    assert tested.read_tested(folder, kept["evaluation"]) is None


def test_report_writes_where_it_is_told(url: str, tmp_path: Path) -> None:
    """`nas report` takes the study as a word or as --study, and prints the path."""
    out = tmp_path / "pages" / "one.html"
    told = result(nas_here("report", "--study", STUDY, "--store", url, "--out", str(out), "--json"))
    assert told["bytes"] == out.stat().st_size
    assert report_study(STUDY, out=str(out), store=url).study == STUDY
    with pytest.raises(UserError, match="Name one study"):
        report_study(STUDY, study="control", out=str(out), store=url)
    with pytest.raises(UserError, match=r"ends in \.html"):
        report_study(STUDY, out="page.pdf", store=url)
    with pytest.raises(StoreError, match="No study named 'nobody'"):
        report_study("nobody", out=str(out), store=url)


def test_every_figure_is_drawn_in_every_format(facts: Overview, url: str, tmp_path: Path) -> None:
    """SVG is well formed, PNG a picture, HTML a page, CSV the numbers of the chart."""
    charts = figures.figures(facts)
    expected = {"tradeoff", "progress", "time", "curves", "finalists", "confusion", "roc"}
    assert expected <= charts.keys()
    for name, made in charts.items():
        root = ET.fromstring(chart_files.svg(made, alone=True))
        assert root.get("aria-label") == made.summary
        assert Image.open(io.BytesIO(chart_files.png(made))).width > 1000, name
    out = tmp_path / "tradeoff.csv"
    plot("tradeoff", STUDY, out=str(out), store=url)
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    trials = {int(row["trial"]) for row in rows if row["trial"]}
    assert trials == {spot.number for layer in facts.trade_off.layers for spot in layer.spots}
    assert plot("roc", STUDY, out=str(tmp_path / "roc.html"), store=url).path.stat().st_size > 0


def test_a_figure_without_facts_is_refused_with_the_names_there_are(
    url: str, tmp_path: Path
) -> None:
    """The message lists the figures of the study; nothing is written."""
    out = tmp_path / "x.svg"
    ended = nas_here("plot", "tradeof", STUDY, "--store", url, "--out", str(out))
    assert ended.returncode == 2
    assert "Did you mean 'tradeoff'?" in ended.stderr
    with pytest.raises(UserError, match=r"\.svg, \.png, \.html or \.csv"):
        plot("tradeoff", STUDY, out="x.gif", store=url)
    assert not out.exists()


def test_studies_are_compared_with_intervals(url: str, tmp_path: Path) -> None:
    """The difference of the winners' means stands with Welch's interval, in table and page."""
    out = tmp_path / "both.html"
    made = compare([STUDY, "control"], out=str(out), store=url)
    first, second = made.differences
    assert (first.difference, first.interval) == (0.0, None)
    assert second.difference == second.winner.mean - first.winner.mean
    assert second.interval is not None
    assert second.interval[0] <= second.difference <= second.interval[1]
    found = Elements(out.read_text())
    assert len(found.of("svg")) == 3
    assert STUDY in "".join(found.words)
    ended = nas_here("compare", STUDY, "control", "--store", url)
    assert "control" in ended.stdout
    with pytest.raises(UserError, match="two or more different studies"):
        compare([STUDY, STUDY], store=url)


def test_welch_is_the_interval_of_unequal_variances() -> None:
    """The interval is scipy's for two samples."""
    from scipy.stats import ttest_ind

    ours, theirs = [0.91, 0.93, 0.90], [0.88, 0.89]
    expected = ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert welch(ours, theirs) == pytest.approx((expected.low, expected.high))
    assert welch(ours, [0.9]) is None


def test_a_choice_that_decides_the_score_explains_it() -> None:
    """A parameter that gives the score has a share near 1, one without influence about 0."""
    random = np.random.default_rng(0)
    trials = [
        Scored({"stage1.kernels": k, "stage2.width": int(random.integers(4))}, len(k) / 10)
        for k in ("3", "3.5", "3.5.7") * 20
    ]
    first, second = effects(trials)
    assert (first.parameter, round(first.share, 6)) == ("stage1.kernels", 1.0)
    assert second.share < 0.1
    assert [level.value for level in first.levels] == ["3", "3.5", "3.5.7"]
    assert math.isclose(sum(level.effect * level.trials for level in first.levels), 0, abs_tol=1e-9)
    assert effects(trials[:4]) == []


@settings(max_examples=50)
@given(st.text(), st.text())
def test_text_is_never_markup(name: str, value: str) -> None:
    """Whatever the text: an element holds it as text, an attribute as its value, data as data."""
    found = Elements(element("p", name, title=value))
    assert [tag for tag, _ in found.tags] == ["p"]
    clean = re.sub(r"\r\n?", "\n", name)
    assert re.sub(r"\r\n?", "\n", "".join(found.words)) == clean
    script = data("x", [name])
    assert json.loads(Elements(script).scripts[0]) == [name]
    assert script.count("<") == 2
    assert isinstance(script, Markup)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.booleans())
@example([2.2250738585072014e-308], False)
@example([0.0002], False)
def test_an_axis_has_its_values_inside_and_few_ticks(values: list[float], is_log: bool) -> None:
    """All values stand between the ends; there are at most a dozen ticks, all inside."""
    shown = [abs(value) + 1e-3 for value in values] if is_log else values
    made = chart.axis("x", shown, is_log=is_log)
    assert all(0 <= made.place(value) <= 1 for value in shown)
    assert len(made.ticks) <= 30
    assert all(made.low <= tick <= made.high for tick, _ in made.ticks)


def luminance(color: str) -> float:
    """Return the relative luminance of a colour, by WCAG 2.2."""
    parts = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def blended(above: str, below: str, opacity: float) -> str:
    """Return the colour of one colour over another."""
    pairs = ((int(above[i : i + 2], 16), int(below[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * opacity + b * (1 - opacity)):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme: int) -> None:
    """Text has a contrast of at least 4.5 with paper, cards and the darkest cells."""
    color = {name: pair[theme] for name, pair in chart_files.PALETTE.items()}
    cells = [blended(color[name], color["paper"], chart.DEEPEST) for name in ("good", "bad")]
    pairs = [("text", below) for below in (color["paper"], color["card"], *cells)]
    pairs += [(name, color[below]) for name in ("muted", "c1") for below in ("paper", "card")]
    for name, below in pairs:
        low, high = sorted((luminance(color[name]), luminance(below)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, below)


def test_a_page_of_many_trials_is_small(tmp_path: Path) -> None:
    """A page of 300 trials takes less than 750 kB; it has the effects of choices."""
    store = Store.open(f"sqlite:///{tmp_path}/nas.db")
    load(store, "many", 300, str(tmp_path / "many"))
    with store.read() as connection:
        facts = overviews.overview(connection, "many")
    store.close()
    made = report_page(facts)
    assert len(made) < 750_000
    assert "importance" in figures.figures(facts)
    assert {"effect-kernels", "effect-width"} <= figures.figures(facts).keys()
