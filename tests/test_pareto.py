"""The front and its hypervolume against brute force; `nas top --pareto` and `nas rescore`."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from search_kit import arguments
from store_kit import opened, proposal, ready, score
from store_kit import point as epoch
from typer.testing import CliRunner

from nas.cli import app
from nas.cost import Cost
from nas.errors import StoreError
from nas.objective import objective
from nas.pareto import Point, front, growth, hypervolume, is_beyond, knee, worst
from nas.quantities import short
from nas.report import figures
from nas.report.chart import LEAST_LEFT, LETTER, TEXT, WIDTH, axis
from nas.report.tradeoff import to_plotly
from nas.store import queries
from nas.store.store import Store
from nas.store.trials import Trials
from nas.study import ranking

WHOLE = st.integers(0, 12)
POINTS = st.lists(st.builds(Point, WHOLE, WHOLE), max_size=12)
SOME = st.lists(st.builds(Point, WHOLE, WHOLE), min_size=1, max_size=12)
REFERENCE = st.builds(Point, WHOLE, WHOLE)


def dominates(one: Point, other: Point) -> bool:
    """Tell whether a point is no worse in both, and not the same."""
    return one != other and one.value >= other.value and one.cost <= other.cost


def cells(points: Sequence[Point], reference: Point) -> int:
    """Count the unit squares between a reference and points of whole numbers."""
    return sum(
        any(p.value >= value + 1 and p.cost <= cost for p in points)
        for value in range(int(reference.value), 13)
        for cost in range(int(reference.cost))
    )


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[Point]) -> None:
    """Every point that none dominates is there, equal ones once, the cheapest first."""
    expected = {p for p in points if not any(dominates(other, p) for other in points)}
    found = [points[index] for index in front(points)]
    assert found == sorted(expected, key=lambda point: point.cost)
    assert front(points) == [points.index(point) for point in found]


@given(SOME)
def test_the_knee_is_farthest_from_the_line_of_the_ends(points: list[Point]) -> None:
    """The knee is on the front, and no other point of it is farther above that line."""
    ends = [points[index] for index in front(points)]
    low, high = ends[0], ends[-1]
    rise, run = (high.value - low.value) or 1, (high.cost - low.cost) or 1
    heights = {p: (p.value - low.value) / rise - (p.cost - low.cost) / run for p in ends}
    assert heights[points[knee(points)]] == pytest.approx(max(heights.values()), abs=1e-12)


@given(POINTS, REFERENCE)
def test_the_hypervolume_counts_what_is_dominated(points: list[Point], reference: Point) -> None:
    """The area is that of the unit squares which some point dominates, as far as the reference."""
    assert hypervolume(points, reference) == cells(points, reference)


@given(SOME, REFERENCE)
def test_growth_is_the_hypervolume_of_each_beginning(points: list[Point], reference: Point) -> None:
    """After each point the area is that of all until then; it never shrinks."""
    areas = growth(points, reference)
    assert areas == [hypervolume(points[: i + 1], reference) for i in range(len(points))]
    assert areas == sorted(areas)


@given(SOME, REFERENCE)
def test_beyond_the_front_is_what_the_front_does_not_reach(points: list[Point], new: Point) -> None:
    """A point is beyond when none is as good and as cheap: then alone does it change the front."""
    before = [points[index] for index in front(points)]
    more = [*points, new]
    assert is_beyond(new, before) == ([more[index] for index in front(more)] != before)


@given(SOME)
def test_from_the_worst_all_others_count(points: list[Point]) -> None:
    """No point lies outside of the reference point made of the worst value and the highest cost."""
    low = worst(points)
    assert all(point.value >= low.value and point.cost <= low.cost for point in points)
    assert low.value in {p.value for p in points}
    assert low.cost in {p.cost for p in points}


def test_what_is_not_a_number_adds_nothing() -> None:
    """A trial without a value is on no front and leaves the area as it is."""
    lost = Point(math.nan, 1.0)
    assert front([lost, Point(1, 2), lost]) == [1]
    assert growth([lost, Point(1, 2), lost], Point(0, 3)) == [0.0, 1.0, 1.0]


# Trial by trial: the state it ends in, its accuracy after each epoch, its macs in millions.
STUDY = [
    ("complete", (0.3, 0.5), 4), ("pruned", (0.45,), 3), ("complete", (0.4, 0.6), 5),
    ("pruned", (0.4,), 10), ("failed", (), 2), ("complete", (0.1, 0.2), 8), ("pruned", (0.1,), 1),
]  # fmt: skip
CONFIG = {
    "recipe": {"metric": "accuracy"},
    "limits": {"macs": None, "params": 25},
    "objective": {"target_flops": 4_000_000, "kind": "pareto", "weight": -0.07},
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Yield a store with a study of complete, pruned and failed trials, and one of it reused."""
    with ready(request.param, tmp_path_factory.mktemp("store")) as url, opened(url) as made:
        for name, rows in (("s", STUDY), ("again", STUDY[:1])):
            made.create_study(name, CONFIG, recipes={"r1": {"epochs": 2}})
            mine = Trials(made, name, score=score, worker="w1", lease_seconds=60.0)
            for number, (state, values, macs) in enumerate(rows):
                wish = dataclasses.replace(
                    proposal(str(number), fidelity=2), cost=Cost(macs * 10**6, 20 - macs, 1, 1)
                )
                lease = mine.start(wish).lease
                for step, value in enumerate(values if lease else (), 1):
                    mine.report(lease, epoch(step, value))
                if lease:
                    mine.finish(lease, state, metrics={"accuracy": values[-1]} if values else {})
        made.create_study("empty", CONFIG, recipes={"r1": {"epochs": 2}})
        yield made


def numbers(trials: Iterable[queries.TrialInfo]) -> list[int]:
    """Return the numbers of trials."""
    return [trial.number for trial in trials]


def test_pruned_trials_are_on_no_front_but_may_be_worth_training(store: Store) -> None:
    """Those whose last value none as cheap reaches are worth it; the others are not."""
    with store.read() as connection:
        found = ranking.front(connection, queries.study(connection, "s"))
        by_params = ranking.front(connection, queries.study(connection, "s"), "params")
    assert numbers(found.trials) == [0, 2]
    assert numbers(found.dominated) == [5]
    assert numbers(found.promising) == [6, 1]
    assert [spot.number for spot in found.figure.pruned] == [3]
    assert found.best.number == 2
    assert numbers(by_params.trials) == [5, 2]


def test_the_reference_is_the_limit_or_the_largest_cost(store: Store) -> None:
    """It has the lowest metric of what was trained whole; a pruned trial's cost counts too."""
    with store.read() as connection:
        info = queries.study(connection, "s")
        by_macs, by_params = (ranking.front(connection, info, cost) for cost in ranking.COSTS)
    assert by_macs.reference == Point(0.2, 10_000_000)
    assert by_params.reference == Point(0.2, 25)


def test_the_hypervolume_grows_with_what_was_trained_whole(store: Store) -> None:
    """Pruned and failed trials cost evaluations and seconds (2 an epoch) and add no area."""
    with store.read() as connection:
        steps = ranking.front(connection, queries.study(connection, "s")).growth
        again = ranking.front(connection, queries.study(connection, "again")).growth
    first = 0.3 * math.log(10 / 4)
    last = first + 0.1 * math.log(10 / 5)
    areas = [first, first, last, last, last, last, last]
    assert [step.hypervolume for step in steps] == pytest.approx(areas)
    assert [step.trial for step in steps] == list(range(7))
    assert [step.evaluations for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [step.seconds for step in steps] == [4, 6, 10, 12, 12, 16, 18]
    assert again == (ranking.Growth(0, 0, 0.0, 0.0),)


def test_what_went_on_is_counted_once(tmp_path: Path) -> None:
    """A network trained further is one evaluation, and costs the seconds of its new epochs."""
    with ready("sqlite", tmp_path) as url, opened(url) as made:
        made.create_study("s", CONFIG, recipes={"r1": {"epochs": 2}})
        mine = Trials(made, "s", score=score, worker="w1", lease_seconds=60.0)
        for epochs, state in ((1, "pruned"), (2, "pruned"), (3, "complete")):
            lease = mine.start(proposal("a", fidelity=epochs)).lease
            assert lease is not None
            for step in range(1, epochs + 1):
                mine.report(lease, epoch(step, step / 10))
            mine.finish(lease, state, metrics={"accuracy": epochs / 10})
        with made.read() as connection:
            found = ranking.front(connection, queries.study(connection, "s"))
    assert (numbers(found.trials), found.promising, found.figure.pruned) == ([2], (), ())
    assert [(step.evaluations, step.seconds) for step in found.growth] == [(1, 2), (1, 4), (1, 6)]


def test_rescoring_tells_how_far_it_can_be_trusted(store: Store) -> None:
    """It counts what was near the target, what was pruned, and says where nothing was evaluated."""
    with store.read() as connection:
        info = queries.study(connection, "s")
        near, far = (ranking.rescore(connection, info, target) for target in (5_400_000, 9_000_000))
    assert (near.near, near.count, near.pruned, near.extrapolated) == (1, 3, 3, False)
    assert (far.near, far.evaluated, far.extrapolated) == (0, (4_000_000, 8_000_000), True)
    assert [(one.trial.number, one.own_rank) for one in near.trials] == [(2, 1), (0, 2), (5, 3)]


def test_without_a_complete_trial_there_is_no_front(store: Store) -> None:
    """A study where nothing was trained whole is told so, by its name."""
    with store.read() as connection:
        info = queries.study(connection, "empty")
        for look in (ranking.front, lambda *known: ranking.rescore(*known, 5)):
            with pytest.raises(StoreError, match="'empty' has no complete trial"):
                look(connection, info)


def test_the_picture_and_the_dashboard_show_the_same_trials(store: Store) -> None:
    """Each kind of trial has the same name and the same places in both outputs of the figure."""
    with store.read() as connection:
        figure = ranking.front(connection, queries.study(connection, "s")).figure
    traces = {trace["name"]: trace for trace in to_plotly(figure)["data"]}
    chart = figures.trade_offs({"": figure})
    assert chart is not None
    drawn = {series.label: series.marks for series in chart.series if series.shape == "dots"}
    assert list(drawn) == list(traces)
    for name, trace in traces.items():
        assert sorted(mark.x for mark in drawn[name]) == sorted(trace["x"])
    assert [mark.text for mark in drawn["front"]] == ["2", "0"]  # the winner's number first
    assert traces["front"]["y"] == [0.5, 0.6]
    assert traces["winner"]["text"] == ["trial 2, score 0.6000"]


SEARCH: dict[str, object] = {
    "objective": "pareto", "trials": 5, "epochs": 1, "sampler": "random", "images": 24,
    "workers": 0,
}  # fmt: skip


def run(*words: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(words))


def told(*words: str) -> Any:
    """Return the JSON that a command prints."""
    ended = run(*words, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a real search after the front, and what it printed for machines."""
    folder = tmp_path_factory.mktemp("pareto")
    ended = run("search", *arguments(folder, **SEARCH), "--json")
    assert ended.exit_code == 0, ended.stderr
    return folder, json.loads(ended.stdout)


@pytest.fixture
def stored(
    searched: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """Name the search's store by NAS_STORE, and work in an empty folder."""
    monkeypatch.setenv("NAS_STORE", f"sqlite:///{searched[0]}/nas.db")
    monkeypatch.chdir(tmp_path)
    return searched[0]


def trials_of(folder: Path) -> list[queries.TrialInfo]:
    """Return all trials of the search."""
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        return queries.trials(connection, queries.study(connection, "tiny").id)


def measured(trial: dict[str, Any], cost: str = "macs") -> Point:
    """Return a printed trial's accuracy and cost."""
    return Point(trial["metrics"]["accuracy"], trial[cost])


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_top_pareto_shows_the_front_of_all_complete_trials(stored: Path, cost: str) -> None:
    """None of the trials that are printed is beaten by any, and the area is that of all."""
    found = told("top", "--pareto", "--cost", cost)
    every = [Point(t.metrics["accuracy"] or 0.0, getattr(t.cost, cost)) for t in trials_of(stored)]
    assert [measured(trial, cost) for trial in found["front"]] == [every[i] for i in front(every)]
    largest = 75_000 if cost == "macs" else worst(every).cost  # by default 1.5 times the target
    reference = Point(worst(every).value, largest)
    assert list(found["reference"].values()) == list(reference)
    logs = [one._replace(cost=math.log(one.cost)) for one in every]
    area = hypervolume(logs, reference._replace(cost=math.log(reference.cost)))
    assert found["hypervolume"] == pytest.approx(area)
    assert found["growth"][-1]["hypervolume"] == pytest.approx(area)


def test_growth_counts_what_was_spent(stored: Path) -> None:
    """Each trained trial costs one evaluation and its seconds of training; reused ones nothing."""
    steps = told("top", "--pareto")["growth"]
    trained = [trial for trial in trials_of(stored) if trial.reused_from is None]
    assert steps[-1]["evaluations"] == len(trained) == 5
    assert steps[-1]["seconds"] == pytest.approx(sum(t.seconds or 0.0 for t in trained), rel=0.01)
    assert [s["seconds"] for s in steps] == sorted(s["seconds"] for s in steps)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_front_is_drawn(stored: Path, suffix: str) -> None:
    """`--out` writes the picture that its name asks for, and the command says where."""
    path = Path(f"pictures/front{suffix}")
    ended = run("top", "--pareto", "--out", str(path))
    assert ended.exit_code == 0, ended.output
    assert f"picture: {path}" in ended.stdout
    if suffix == ".png":
        with Image.open(path) as picture:
            assert picture.width > 1000
    else:
        assert "<svg" in path.read_text()


def test_a_search_after_the_front_hands_it_back(
    searched: tuple[Path, dict[str, Any]], stored: Path
) -> None:
    """The result has the winner by score and the front beside it, as numbers and as a picture."""
    folder, printed = searched
    expected = [trial["number"] for trial in told("top", "--pareto")["front"]]
    assert [trial["trial"] for trial in printed["front"]] == expected
    study = folder / "studies" / "tiny"
    result = json.loads((study / "result.json").read_text())
    assert [trial["trial"] for trial in result["front"]] == expected
    assert result["config"]["objective"]["kind"] == "pareto"
    assert (study / "front.png").is_file()
    best = max(trials_of(folder), key=lambda trial: trial.score or 0.0)
    assert printed["best"]["score"] == best.score
    ended = run("search", *arguments(folder, **SEARCH))
    assert "trials are on the front of accuracy and macs" in ended.stdout
    assert "front.png" in ended.stdout


def test_rescore_ranks_by_another_objective(stored: Path) -> None:
    """The ranks are those of the scores under the new target; the study's own stand beside."""
    found = told("rescore", "--target-flops", "20k", "--w", "-1", "--objective", "hard")
    goal = objective(20_000, "hard", -1)
    distinct = {t.architecture_id: t for t in reversed(trials_of(stored))}.values()
    scores = {t.number: goal.score(t.metrics["accuracy"] or 0.0, t.cost.macs) for t in distinct}
    assert {one["number"]: one["score"] for one in found["trials"]} == scores
    assert [one["score"] for one in found["trials"]] == sorted(scores.values(), reverse=True)
    assert [one["rank"] for one in found["trials"]] == list(range(1, len(scores) + 1))
    own = sorted(found["trials"], key=lambda one: one["own_rank"])
    assert [one["own_score"] for one in own] == sorted((t.score for t in distinct), reverse=True)


def test_where_no_rank_can_change_it_is_said(stored: Path) -> None:
    """Another target of a soft objective scales all scores alike; another weight need not."""
    found = told("rescore", "--target-flops", "20k")
    assert found["unmoved"]
    assert all(one["rank"] == one["own_rank"] for one in found["trials"])
    assert "no rank changes but by --w" in run("rescore", "--target-flops", "20k").stdout
    assert not told("rescore", "--target-flops", "20k", "--w", "-1")["unmoved"]
    assert not told("rescore", "--target-flops", "20k", "--objective", "hard")["unmoved"]


def test_rescore_takes_the_rest_from_the_study(stored: Path) -> None:
    """At the study's own target, without more options, nothing changes rank."""
    found = told("rescore", "--target-flops", "50k")
    assert found["objective"] == {"target_flops": 50_000, "kind": "soft", "weight": -0.07}
    assert all(one["rank"] == one["own_rank"] for one in found["trials"])
    assert all(one["score"] == pytest.approx(one["own_score"]) for one in found["trials"])
    assert told("rescore", "--target-flops", "50k", "--objective", "hard")["objective"] == {
        "target_flops": 50_000, "kind": "hard", "weight": -1.0,
    }  # fmt: skip


def test_an_extrapolated_choice_is_said(stored: Path) -> None:
    """A target outside of what was evaluated is named with the range; one inside is not."""
    ended = run("rescore", "--target-flops", "50M", "-n", "2")
    assert ended.exit_code == 0, ended.output
    assert "50M FLOPs lies outside of what was evaluated" in ended.stderr
    assert len(ended.stdout.splitlines()) == 4 + 1 + 2
    low, high = told("rescore", "--target-flops", "50M")["evaluated_macs"]
    inside = run("rescore", "--target-flops", str((low + high) // 2))
    assert inside.stderr == ""


def test_looking_again_writes_nothing(stored: Path) -> None:
    """Neither verb changes the store, trains, or leaves a file."""
    before = (stored / "nas.db").read_bytes()
    for words in (["top", "--pareto"], ["rescore", "--target-flops", "20k"]):
        assert run(*words).exit_code == 0
    assert (stored / "nas.db").read_bytes() == before
    assert list(Path.cwd().iterdir()) == []


MISTAKES: dict[str, list[str]] = {
    "top --pareto --cost seconds": ["'seconds'", "macs", "params"],
    "top --pareto --out front.jpg": ["--out", ".svg or .png", "'front.jpg'"],
    "top --pareto --n 3": ["--pareto", "whole front", "--n 3"],
    "top --out front.png": ["--out front.png", "--pareto"],
    "top --cost macs": ["--cost macs", "--pareto"],
    "top --pareto --study tinny": ["'tinny'", "Did you mean 'tiny'?"],
    "rescore --target-flops abc": ["--target-flops", "'abc'", "300M"],
    "rescore --target-flops 5M --w 1": ["w", "-10 and 0"],
    "rescore --target-flops 5M --objective firm": ["'firm'", "hard", "soft"],
    "rescore --target-flops 5M --n 0": ["at least 1", "not 0"],
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told(words: str, stored: Path) -> None:
    """One message with rule, value and options, exit code 2, no file."""
    ended = run(*words.split())
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("nas: ")
    assert ended.stderr.count("\n") == 1
    assert [word for word in MISTAKES[words] if word not in ended.stderr] == []
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("ratio", [1.5, 4.0, 20.0, 250.0, 4000.0])
@pytest.mark.parametrize("low", [0.4, 130e3])
def test_costs_are_marked_at_numbers_that_do_not_run_into_each_other(
    low: float, ratio: float
) -> None:
    """From a fraction of a millisecond on, the labels of an axis of costs stay apart."""
    x = axis("cost", (low, ratio * low), is_log=True, write=short)
    room = WIDTH - 2 * LEAST_LEFT
    boxes = [(room * x.place(tick), 0.5 * TEXT * LETTER * len(text)) for tick, text in x.ticks]
    assert len(boxes) >= 2
    assert len({text for _, text in x.ticks}) == len(boxes)
    assert all(a + half < b - other for (a, half), (b, other) in itertools.pairwise(boxes))
