"""Finalists: the best networks are trained in full, the winner is the best of their means."""

import json
import math
import re
import signal
import statistics
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from search_kit import arguments, command, nas_here, result
from typer.testing import CliRunner

from nas.cli import _shared, app
from nas.commands import search
from nas.config import Config, Finals
from nas.cost import Cost
from nas.errors import UserError
from nas.objective import objective
from nas.store import queries
from nas.store.queries import TrialInfo
from nas.store.store import Store
from nas.study import finalists, preparation
from nas.study.finalists import (
    PICKS,
    Ranking,
    Standing,
    affordable,
    pace,
    ranking,
    reserved,
)
from nas.study.options import SUFFIX
from nas.training.recipe import Recipe
from nas.training.recipes import lengthened
from tests.test_search import points, rows, until

RECIPE = Recipe("digits", "0" * 16, 4)


def trial(number: int, accuracy: float, macs: int = 100) -> TrialInfo:
    """Return a complete trial of a network of its own."""
    return TrialInfo(
        number=number, state="complete", score=accuracy, evaluation_id=number,
        architecture_id=f"{number:08x}", notation="", cost=Cost(macs, 1, 1, 1),
        metrics={"accuracy": accuracy}, reason=None, seconds=1.0, fidelity=4, attempt=1, worker="",
        reused_from=None, stopped=False,
    )  # fmt: skip


def standing(number: int, accuracies: list[float], macs: int = 100) -> Standing:
    """Return a finalist whose trainings had these accuracies."""
    trainings = [trial(i, accuracy, macs) for i, accuracy in enumerate(accuracies)]
    return Standing(trial(number, 0.5, macs), trainings, "accuracy")


def finals_of(folder: Path, study: str = "tiny") -> list[tuple[Any, ...]]:
    """Return each trial of the study of finalists: its network, state, seed of the recipe."""
    return rows(
        folder,
        "SELECT e.architecture_id, e.state, json_extract(r.json, '$.seed') FROM nas_trials t"
        " JOIN nas_studies s ON s.id = t.study_id JOIN nas_evaluations e ON e.id = t.evaluation_id"
        f" JOIN nas_recipes r ON r.hash = e.recipe_hash WHERE s.name = '{study}{SUFFIX}'"
        " ORDER BY t.number",
    )


def resumed(folder: Path) -> list[str]:
    """Return the words that resume the tiny search of a folder, in this process."""
    return ["--study", "tiny", "--store", f"sqlite:///{folder}/nas.db", "--workers", "0", "--json"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], dict[str, Any]]:
    """Return the folder, the words and the result of a search with two finalists of two seeds."""
    folder = tmp_path_factory.mktemp("finals")
    words = arguments(folder, finalists=2, final_seeds=2, workers=0, epochs=1)
    return folder, words, result(nas_here("search", *words, "--json"))


def test_finalists_are_trained_with_each_seed(
    searched: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """Both networks with the first seed, then with the next, for as long as a whole training."""
    folder, _, _ = searched
    trained = finals_of(folder)
    assert [(state, seed) for _, state, seed in trained] == [
        ("complete", 0), ("complete", 0), ("complete", 1), ("complete", 1),
    ]  # fmt: skip
    assert trained[0][0] == trained[2][0] != trained[1][0] == trained[3][0]
    fidelities = rows(folder, "SELECT DISTINCT fidelity FROM nas_evaluations ORDER BY 1")
    assert fidelities == [(1,), (lengthened(replace(RECIPE, epochs=1)).epochs,)]


def test_the_result_shows_means_and_intervals(
    searched: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """The winner has the highest mean of the objective; test metrics are means with a spread."""
    folder, _, found = searched
    trained = found["finalists"]
    assert [each["seeds"] for each in trained] == [2, 2]
    assert trained[0]["score"] >= trained[1]["score"]
    best = found["best"]
    assert best["architecture_id"] == trained[0]["architecture_id"]
    assert best["value"] == pytest.approx(trained[0]["mean"])
    low, high = trained[0]["interval"]
    assert low <= trained[0]["mean"] <= high
    looks = [
        json.loads(str(m))["accuracy"]
        for (m,) in rows(folder, "SELECT metrics FROM nas_test_looks")
    ]
    assert len(looks) == 2
    assert best["test"]["accuracy"] == pytest.approx(statistics.fmean(looks))
    assert best["test_spread"]["accuracy"] == pytest.approx(statistics.stdev(looks))
    assert best["test_looks"] == 1
    assert found["accurate"]["value"] == max(each["mean"] for each in trained)
    assert found["knee"].keys() == found["accurate"].keys()
    assert found["knee"]["trial"] in {each["trial"] for each in trained}
    assert {*found["alike"], found["best"]["trial"]} <= {each["trial"] for each in trained}
    assert found["best"]["trial"] not in found["alike"]
    page = (folder / "studies/tiny/report.html").read_text()
    assert ("Not told apart from the winner" in page) is bool(found["alike"])
    written = json.loads((folder / "studies/tiny/result.json").read_text())
    assert written["finalists"] == trained


def test_the_same_command_trains_and_looks_no_more(
    searched: tuple[Path, list[str], dict[str, Any]],
) -> None:
    """A search that is complete gives the same result again."""
    folder, words, found = searched
    before = rows(folder, "SELECT count(*) FROM nas_curve_points")
    assert result(nas_here("search", *words, "--json")) == found
    assert rows(folder, "SELECT count(*) FROM nas_curve_points") == before


def test_the_emitted_network_is_the_best_training_of_the_winner(
    searched: tuple[Path, list[str], dict[str, Any]], tmp_path: Path
) -> None:
    """Its code states that training's numbers; `nas export` writes the same file, by default."""
    folder, _, found = searched
    code = (folder / "studies/tiny/best/model.py").read_text()
    name = f"sqlite:///{folder}/nas.db"
    with queries.connect(name) as connection:
        info = queries.study(connection, "tiny" + SUFFIX)
        winner = found["best"]["architecture_id"]
        trainings = [t for t in queries.trials(connection, info.id) if t.architecture_id == winner]
    best = max(float(t.metrics["accuracy"] or 0) for t in trainings)
    assert re.search(rf"^accuracy +{best:.4f}", code, re.MULTILINE)
    nas_here("export", "--study", "tiny", "--out", str(tmp_path / "out"), "--store", name)
    assert (tmp_path / "out/model.py").read_text() == code
    both = ("--trial", "0", "--pick", "accurate")
    refused = nas_here("export", "--out", str(tmp_path / "x"), "--store", name, *both)
    assert (refused.returncode, "give one of them" in refused.stderr) == (2, True)


def test_the_newest_study_is_a_search(searched: tuple[Path, list[str], dict[str, Any]]) -> None:
    """Verbs without a study's name are about the search, not about its finalists."""
    folder, _, _ = searched
    shown = result(nas_here("top", "--json", "--store", f"sqlite:///{folder}/nas.db"))
    assert len(shown) == 3


def test_finalists_survive_a_kill(tmp_path: Path) -> None:
    """SIGKILL while a finalist is trained: the same command goes on, each training is done once."""
    words = arguments(
        tmp_path, finalists=2, final_seeds=1, trials=2, epochs=8, workers=1, images=320,
        sampler="random",
    )  # fmt: skip
    killed = subprocess.Popen(command("search", *words), stderr=subprocess.DEVNULL)
    curve = (
        "SELECT count(*) FROM nas_curve_points c JOIN nas_evaluations e ON e.id = c.evaluation_id"
        " WHERE e.fidelity = 15"
    )
    until(lambda: points(tmp_path) > 2 * 8)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    words[words.index("--workers") + 1] = "0"
    ended = result(nas_here("search", *words, "--json"))
    assert [each["seeds"] for each in ended["finalists"]] == [1, 1]
    assert rows(tmp_path, curve) == [(30,)]
    assert len(finals_of(tmp_path)) == 2


def test_a_resumed_search_may_have_other_finalists(tmp_path: Path) -> None:
    """More trials, one more seed: what is trained stays, what is missing is added."""
    words = arguments(tmp_path, finalists=1, final_seeds=1, trials=2, epochs=1, workers=0)
    result(nas_here("search", *words, "--json"))
    changed = ("--trials", "4", "--finalists", "3", "--final-seeds", "2")
    found = result(nas_here("resume", *resumed(tmp_path), *changed))
    assert [each["seeds"] for each in found["finalists"]] == [2, 2, 2]
    assert len(finals_of(tmp_path)) == 6


def test_seeds_that_are_not_wanted_any_more_cost_no_finalist(tmp_path: Path) -> None:
    """One finalist with two seeds, then two with one: the second is trained all the same."""
    words = arguments(tmp_path, finalists=1, final_seeds=2, trials=2, epochs=1, workers=0)
    result(nas_here("search", *words, "--json"))
    changed = ("--finalists", "2", "--final-seeds", "1")
    found = result(nas_here("resume", *resumed(tmp_path), *changed))
    assert sorted(each["seeds"] for each in found["finalists"]) == [1, 2]


def test_a_resumed_search_keeps_time_for_its_finalists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the seconds of its own trials, and how much longer a training in full is."""
    words = arguments(tmp_path, trials=1, epochs=1, workers=0)
    result(nas_here("search", *words, "--json"))
    asked: list[Any] = []
    monkeypatch.setattr(search, "run", lambda prepared, *_: asked.append(prepared) or 1 / 0)
    for limit in ("1h", "2s"):
        with pytest.raises(ZeroDivisionError):
            nas_here("resume", *resumed(tmp_path), "--finalists", "2", "--time", limit)
    long, short = asked
    assert long.final_times == pytest.approx(2.0)
    assert long.reserved == pytest.approx(6 * long.estimate * 2.0)
    assert 0 < long.estimate < 60
    assert short.reserved == pytest.approx(min(1.0, long.reserved))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("tiny-finalists", "tiny-finalists has the finalists of tiny: resume that study."),
        ("tiny --no-finalists --finalists 3", "--finalists is for a search without --no-final"),
    ],
)
def test_what_cannot_be_resumed_is_refused(
    searched: tuple[Path, list[str], dict[str, Any]], line: str, told: str
) -> None:
    """A study of finalists belongs to its search; there are finalists or there are none."""
    folder, _, _ = searched
    ended = nas_here("resume", "--store", f"sqlite:///{folder}/nas.db", "--study", *line.split())
    assert ended.returncode == 2
    assert told in ended.stderr


def test_no_finalists_and_their_number_exclude_each_other(tmp_path: Path) -> None:
    """Both options: one error, exit code 2, nothing written."""
    words = arguments(tmp_path, final_seeds=2)
    at = words.index("--finalists")
    ended = CliRunner().invoke(app, ["search", *words[:at], *words[at + 2 :], "--no-finalists"])
    assert ended.exit_code == 2
    assert "--final-seeds is for a search without --no-finalists." in ended.stderr
    assert not (tmp_path / "nas.db").exists()


def test_the_interval_is_students() -> None:
    """Of three seeds: scipy's interval of the mean; of one seed there is none."""
    values = [0.8, 0.83, 0.9]
    expected = stats.t.interval(0.95, 2, loc=statistics.fmean(values), scale=stats.sem(values))
    assert standing(0, values).interval == pytest.approx(tuple(map(float, expected)))
    assert standing(0, [0.8]).interval is None


def test_what_a_cheaper_winner_gave_up_is_said() -> None:
    """Its share of the target, and the difference of the means with its standard error."""
    cheap, dear = standing(1, [0.90, 0.92], macs=580), standing(2, [0.95, 0.97], macs=9_700)
    said = Ranking([cheap, dear], objective(10_000)).sentence()
    error = 100 * math.hypot(0.01, 0.01)
    assert said == (
        "the winner's 580 FLOPs are 1/17 of the target; its accuracy is "
        f"5.0 ± {error:.1f} points worse than that of trial 2, the most accurate, at 9.7k FLOPs"
    )
    assert Ranking([dear, cheap], objective(10_000)).sentence() is None


def test_finalists_that_are_not_told_apart_are_named() -> None:
    """Those whose Welch interval of the difference from the winner has 0, and the cheapest."""
    winner, near = standing(1, [0.90, 0.92, 0.91], macs=9_700), standing(2, [0.90, 0.91, 0.92])
    far = standing(3, [0.80, 0.81, 0.82], macs=100)
    field = Ranking([winner, near, far], objective(10_000))
    assert field.alike == [near]
    assert field.doubt() == (
        "3 seeds do not tell trial 2 from the winner; the cheapest of them, trial 2, has 100 FLOPs"
    )
    assert [*field.lines()][-1] == field.doubt()
    dearer = standing(2, [0.90, 0.91, 0.92], macs=9_900)
    said = Ranking([winner, far, dearer], objective(10_000)).doubt()
    assert said == "3 seeds do not tell trial 2 from the winner, the cheapest of them"
    assert Ranking([winner, far], objective(10_000)).doubt() is None
    single = Ranking([standing(1, [0.9]), standing(2, [0.9])], objective(10_000))
    assert (single.alike, single.doubt()) == ([], None)


def test_the_knee_stands_beside_the_winner(capsys: pytest.CaptureFixture[str]) -> None:
    """Of three finalists the one above the line between the others; any may be picked."""
    cheap, dear = standing(1, [0.80], macs=100), standing(3, [0.95], macs=10_000)
    bulging = standing(2, [0.93], macs=1_000)
    field = Ranking([dear, cheap, bulging], objective(10_000))
    assert (field.winner, field.accurate, field.knee) == (dear, dear, bulging)
    assert [field.picked(pick) for pick in (None, *PICKS)] == [dear, dear, dear, bulging]
    with pytest.raises(UserError, match="accurate, knee, winner"):
        field.picked("best")
    _shared.new_console().print(next(iter(field.lines())))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1].endswith("standing")
    assert lines[2].endswith("winner, most accurate")
    assert lines[4].endswith("knee")


def test_time_is_kept_for_the_finalists_and_they_fit_into_it() -> None:
    """Half of the limit at most; with little time fewer seeds, then fewer networks, but one."""
    finals = Finals(4, 3, RECIPE)
    assert reserved(finals, 10.0, 2, 600.0) == 60.0
    assert reserved(finals, 1000.0, 2, 600.0) == 300.0
    assert reserved(finals, 10.0, 2, None) == reserved(None, 10.0, 2, 600.0) == 0.0
    sizes = [
        (each.networks, each.seeds)
        for each in (affordable(finals, trainings) for trainings in (120, 12, 8, 7, 2, 0))
    ]
    assert sizes == [(4, 3), (4, 3), (4, 2), (4, 1), (2, 1), (1, 1)]


def test_as_many_finalists_are_trained_as_their_measured_pace_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guess of a trial's seconds that was far too careful costs no finalist and no seed."""
    monkeypatch.setattr(preparation, "_estimate", lambda *_: 1000.0)
    words = arguments(tmp_path, trials=2, epochs=1, workers=0, finalists=2, final_seeds=2)
    found = result(nas_here("search", *words, "--time", "5m", "--json"))
    assert [each["seeds"] for each in found["finalists"]] == [2, 2]


def test_a_search_goes_on_where_no_finalist_can_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is begun to be cut off: the time kept for them gives trials, and the winner's weights.

    On folds these are trained once more, within the limit.
    """
    monkeypatch.setattr(preparation, "final_times", lambda *_: 1e6)
    ends: list[float] = []
    drive = search._drive

    def noting(prepared: Any, deadline: float, watch: Any) -> bool:
        ends.append(deadline)
        return drive(prepared, deadline, watch)

    monkeypatch.setattr(search, "_drive", noting)
    words = arguments(tmp_path, trials=100_000, epochs=1, workers=0, finalists=2, folds=3)
    found = result(nas_here("search", *words, "--time", "16s", "--json"))
    assert (found["finalists"], found["best"]["seeds"]) == ([], 1)
    assert 0 < ends[1] - ends[0] < 8  # half of the limit was kept


def test_the_pace_is_the_searches_and_then_the_finalists_own(
    searched: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds of the finalists' trials times a factor, once one is trained in full its own."""
    folder, _, _ = searched
    full_ids = "SELECT architecture_id FROM nas_evaluations WHERE fidelity > 1"
    of = f"SELECT avg(seconds) FROM nas_evaluations WHERE architecture_id IN ({full_ids}) AND"
    [(short,)], [(full,)] = (rows(folder, f"{of} fidelity {sign} 1") for sign in ("=", ">"))
    with closing(Store.open(f"sqlite:///{folder}/nas.db")) as store:
        with store.read() as connection:
            config = Config.from_json(queries.study(connection, "tiny" + SUFFIX).config)
        assert pace(store, "tiny", config, 8.0) == (4, pytest.approx(full))
        monkeypatch.setattr(finalists, "SUFFIX", "-none")
        assert pace(store, "tiny", config, 8.0) == (0, pytest.approx(8 * float(str(short))))


def test_a_configuration_with_finals_is_read_back() -> None:
    """Finals are part of a study's configuration as plain data."""
    finals = Finals(4, 3, RECIPE)
    assert Finals.from_json(json.loads(json.dumps(finals.to_json()))) == finals


def test_a_study_is_copied_with_its_finalists(
    searched: tuple[Path, list[str], dict[str, Any]], tmp_path: Path
) -> None:
    """Copied under another name, the finalists' study follows it, and the result is the same."""
    folder, _, found = searched
    there = f"sqlite:///{tmp_path}/copy.db"
    source = f"sqlite:///{folder}/nas.db"
    result(nas_here("store", "copy", source, there, "--study", "tiny", "--as", "other", "--json"))
    with queries.connect(there) as connection:
        names = [study.name for study in queries.studies(connection)]
        moved = ranking(connection, "other")
    assert moved is not None
    assert names == ["other", "other" + SUFFIX]
    assert [each.to_json() for each in moved.standings] == [
        each | {"interval": each["interval"] and tuple(each["interval"])}
        for each in found["finalists"]
    ]
