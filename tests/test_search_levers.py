"""Levers of the engine: what each changes, that it is put back, and how it is paired by seed."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from test_search_benchmark import whole

from benchmarks.search import levers, table
from benchmarks.search.cache import Cache
from benchmarks.search.goal import KINDS, Goal
from benchmarks.search.oracle import oracle
from benchmarks.search.run import Run

OPTIONS = ["--budgets", "8,12", "--seeds", "2", "--target-macs", "4M"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_lever_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Each lever has a row of the printed table."""
    at = ["--table", str(whole(tmp_path)), "--objective", kind, "--cache", str(tmp_path / "runs")]
    assert levers.main([*at, *OPTIONS]) == 0
    printed = capsys.readouterr().out
    assert all(
        f"| {name}, seeds 0 to 1 |" in printed for name in levers.LEVERS if name != levers.ENGINE
    )


@pytest.mark.parametrize("name", [name for name in levers.LEVERS if name != levers.ENGINE])
def test_a_lever_changes_what_is_tried_and_is_put_back(tmp_path: Path, name: str) -> None:
    """Its runs are others than the engine's with the same seeds; then the engine has its parts."""
    goal = Goal(table.read(whole(tmp_path)), "scalarised", 4e6)
    parts = levers.LEVERS[name]
    before = [getattr(owner, part) for owner, part, _ in parts]

    def rows(lever: str) -> list[list[int]]:
        cache = Cache(tmp_path / lever, goal, levers.OURS)
        return [one.rows for one in levers.runs_of(lever, cache, range(3), 16)]

    assert rows(name) != rows(levers.ENGINE)
    assert [getattr(owner, part) for owner, part, _ in parts] == before


def test_a_result_keeps_other_comparisons(tmp_path: Path) -> None:
    """The file has the levers of both commands, under the table and the objective."""
    out = tmp_path / "out.json"
    at = ["--table", str(whole(tmp_path)), "--cache", str(tmp_path / "runs"), "--json", str(out)]
    for lever in ("spread", "ranks"):
        assert levers.main([*at, *OPTIONS, "--levers", lever]) == 0
    assert list(json.loads(out.read_text())["whole, accuracy"]) == [
        "spread, seeds 0 to 1",
        "ranks, seeds 0 to 1",
    ]


def test_an_unknown_lever_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the levers; the status is 2."""
    assert levers.main(["--table", str(whole(tmp_path)), "--levers", "luck"]) == 2
    assert "Available: macs, near, ranks, spread" in capsys.readouterr().err


def test_a_spread_opening_reaches_both_ends_of_macs(tmp_path: Path) -> None:
    """The six draws of an opening cover most of the range of log macs, without a wide gap."""
    goal = Goal(table.read(whole(tmp_path)))
    known = oracle(goal)
    costs = []
    for number in range(6):
        known.record.ended = dict.fromkeys(range(number))  # type: ignore[arg-type]
        row = levers.draw_spread(known, random.Random(number), near_target=True)
        costs.append(known.look(row).cost)  # type: ignore[union-attr]
    everything = np.log(goal.table.macs)
    assert np.ptp(costs) > 0.6 * np.ptp(everything)
    assert np.diff(np.sort(costs)).max() < 0.5 * np.ptp(everything)


def test_ranks_keep_order_and_median_and_no_distances() -> None:
    """An outlier becomes as far from its neighbour as the smallest is from its own."""
    ranked = levers.ranked(np.array([3.0, 1.0, 2.0, 900.0, 2.5]))
    assert ranked.argsort().tolist() == [1, 2, 4, 0, 3]
    assert np.median(ranked) == 2.5
    assert ranked[3] - ranked[0] == pytest.approx(ranked[2] - ranked[1])


def test_a_pair_is_a_difference_in_standard_errors() -> None:
    """Differences of 1 and 3 have the mean 2 and the standard error 1."""
    told = levers.paired([{"regret": 2.0}, {"regret": 5.0}], [{"regret": 1.0}, {"regret": 2.0}])
    assert told == {"regret": {"engine": 1.5, "lever": 3.5, "standard_errors": 2.0}}


def test_a_target_that_was_missed_counts_as_one_evaluation_more(tmp_path: Path) -> None:
    """A run of the worst row alone is 2 evaluations from the best 0.5 %, and lacks its score."""
    goal = Goal(table.read(whole(tmp_path)))
    worst = Run([int(goal.true.argmin())], 1, 0, 0, 0.0, stuck=False)
    told = levers.measured(goal, worst, [1])
    assert told["to the best 0.5 %"] == 2
    assert told["regret at 1"] == told["best trained at 1"] == np.ptp(goal.true)
