"""The comparison of samplers on tables: what is measured, what is asked, what is kept."""

import csv
import itertools
import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import GPSampler
from search_kit import ROOT

from benchmarks.search import contenders, measures, table, tables
from benchmarks.search.__main__ import main
from benchmarks.search.cache import Cache
from benchmarks.search.goal import Goal
from benchmarks.search.oracle import PoolSampler, oracle
from benchmarks.search.run import PATIENCE, Run, run
from nas.errors import UserError
from nas.objective import Objective


def write(path: Path, rows: list[tuple[object, ...]], choices: int = 2) -> Path:
    """Write a table of rows of choices, search score, test score and macs."""
    names = [f"choice_{'abcdef'[index]}" for index in range(choices)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*names, "search_score", "test_score", "macs"], *rows])
    return path


def whole(folder: Path, sides: int = 4, choices: int = 3) -> Path:
    """Write a whole space, whose best row has the last value of each choice."""
    rows = [
        (*codes, 50 + sum(codes), 60 + sum(codes), 10**6 * (1 + sum(codes)))
        for codes in itertools.product(range(sides), repeat=choices)
    ]
    return write(folder / "whole.csv", rows, choices)


FIVE = [  # a pool: five of nine; seen 0.90 is truly 0.70, the best is truly 0.80
    ("x", 1, 0.60, 0.50, 1e6),
    ("x", 2, 0.70, 0.60, 2e6),
    ("y", 1, 0.90, 0.70, 4e6),
    ("y", 3, 0.80, 0.80, 8e6),
    ("z", 3, 0.10, 0.10, 16e6),
]


@pytest.fixture
def five(tmp_path: Path) -> table.Table:
    """Return the pool of five."""
    return table.read(write(tmp_path / "five.csv", FIVE))


def made(*rows: int) -> Run:
    """Return a run that evaluated these rows."""
    return Run(list(rows), len(rows), 0, 0, 0.0, False)


def test_a_table_is_read_with_its_types(five: table.Table) -> None:
    """Columns of numbers become numbers; a table with fewer rows than assignments is a pool."""
    assert five.choices == {"a": ("x", "y", "z"), "b": (1, 2, 3)}
    assert five.assignment(3) == {"a": "y", "b": 3}
    assert five.find(five.encode({"a": "y", "b": 3})) == 3
    assert five.find(five.encode({"a": "z", "b": 1})) is None
    assert five.is_pool


def test_a_product_is_no_pool(tmp_path: Path) -> None:
    """A table that has every assignment is searched as the whole space that it is."""
    assert not table.read(whole(tmp_path)).is_pool


def test_doubles_are_averaged(tmp_path: Path) -> None:
    """Rows with the same choices are one architecture with their mean scores."""
    rows = [(2, "k", 1, 2, 10), (1, "k", 5, 5, 5), (2, "k", 3, 6, 10)]
    found = table.read(write(tmp_path / "t.csv", rows))
    assert (len(found), found.rows_read) == (2, 3)
    assert (found.search[0], found.test[0], found.macs[0]) == (2, 4, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("choice_a,search_score,macs\n1,2,3\n", "has no column test_score; it has: choice_a"),
        ("search_score,test_score,macs\n1,2,3\n", "has no column choice_"),
        ("choice_a,search_score,test_score,macs\n", "has no architecture"),
        ("choice_a,search_score,test_score,macs\n1,2,3\n", "row 2: 3 cells under 4 names"),
        ("choice_a,search_score,test_score,macs\n1,?,3,4\n", "row 2: search_score is a finite"),
        ("choice_a,search_score,test_score,macs\n1,nan,3,4\n", "search_score is a finite number"),
        ("choice_a,search_score,test_score,macs\n1,2,3,0\n", "macs are above 0, not 0"),
    ],
)
def test_a_bad_table_is_told(tmp_path: Path, text: str, message: str) -> None:
    """What a table lacks is said with its file, its row and what it has."""
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        table.read(path)


def test_regret_is_of_the_row_that_looked_best(five: table.Table) -> None:
    """The incumbent is chosen by what the sampler saw and measured in what it did not see."""
    goal = Goal(five)
    regrets = [measures.regret(goal, made(4, 1, 3, 2, 0), budget) for budget in (1, 2, 3, 4, 5)]
    assert regrets == pytest.approx([0.7, 0.2, 0.0, 0.1, 0.1])


def test_the_scalarised_regret_uses_the_known_cost(five: table.Table) -> None:
    """Both scores are multiplied by (macs / T)^-0.07, as the objective of a study does."""
    goal = Goal(five, "scalarised", 2e6)
    score = Objective(2_000_000).score
    true = [score(row[3], int(row[4])) for row in FIVE]
    assert goal.true == pytest.approx(true)
    assert goal.told(2) == [pytest.approx(score(0.9, 4_000_000))]
    assert measures.regret(goal, made(0, 1), 2) == pytest.approx(max(true) - true[1])


def test_evaluations_to_a_target_count_from_one(five: table.Table) -> None:
    """A target is reached when a row that good was evaluated, whatever it looked like."""
    goal = Goal(five)
    assert measures.evaluations_to(goal, made(4, 2, 3), measures.within(goal), 3) == 3
    assert measures.evaluations_to(goal, made(4, 2, 3), 0.7, 3) == 2
    assert measures.evaluations_to(goal, made(4, 2, 3), 0.8, 2) == math.inf


def test_the_targets_are_a_score_and_a_share(tmp_path: Path) -> None:
    """Within 0.1 % is of the best score; the best 0.5 % of 1,000 rows are five, ties included."""
    rows = [(index, "k", 0, index // 2, 1) for index in range(1000)]
    goal = Goal(table.read(write(tmp_path / "t.csv", rows)))
    assert measures.within(goal) == pytest.approx(499 * 0.999)
    assert measures.top(goal) == 497
    assert int((goal.true >= measures.top(goal)).sum()) == 6


def test_the_hypervolume_is_the_area_under_the_front(five: table.Table) -> None:
    """Reference: worst test score, largest macs; rows that are dominated add nothing."""
    goal = Goal(five, "pareto")
    whole_area = (0.4 * 4 + 0.1 * 3 + 0.1 * 2 + 0.1 * 1) * math.log(2)
    assert measures.hypervolume(goal, range(5)) == pytest.approx(1.0)
    assert measures.hypervolume(goal, [2, 3]) == pytest.approx(
        (0.6 * 2 + 0.1) * math.log(2) / whole_area
    )
    assert measures.hypervolume(goal, [4]) == 0
    assert measures.chosen(goal, made(4, 3, 2, 0), 4) == [0, 2]


def test_intervals_are_of_the_statistic() -> None:
    """Equal runs leave no doubt, one run gives no interval, an unreached target stays infinite."""
    assert measures.mean([2.0, 2.0, 2.0]) == {"mean": 2.0, "interval": [2.0, 2.0]}
    assert measures.mean([2.0])["interval"] is None
    low, high = measures.mean([float(value % 10) for value in range(100)])["interval"]
    assert low == pytest.approx(4.5 - 1.96 * 0.287, abs=0.1)
    assert high == pytest.approx(4.5 + 1.96 * 0.287, abs=0.1)
    took = [10.0, 20.0, 30.0, math.inf]
    assert [measures.quantile(took, share)["value"] for share in (0.5, 0.9)] == [20, math.inf]


def test_a_proposal_outside_a_pool_becomes_the_nearest_row(five: table.Table) -> None:
    """Fewest different choices, none that was evaluated; of equals, one is drawn."""
    taken = np.zeros(5, bool)
    proposal = five.encode({"a": "x", "b": 3})
    near = {five.nearest(proposal, taken, random.Random(seed)) for seed in range(50)}
    assert near == {0, 1, 3, 4}
    taken[[0, 3, 4]] = True
    assert five.nearest(proposal, taken, random.Random(0)) == 1


@pytest.mark.parametrize("sampler", ["nas", "random", "tpe", "evolution", "local_search", "nsga2"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_pool_is_searched_whole(five: table.Table, sampler: str, workers: int) -> None:
    """Whatever the sampler, each row is evaluated once, and a search ends when none is left."""
    found = run(Goal(five), sampler, 0, 50, workers=workers)
    assert sorted(found.rows) == [0, 1, 2, 3, 4]
    assert found.proposals == len(found.rows) + found.repeats


def test_a_trial_has_the_choices_of_its_row(
    five: table.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sampler learns from is what was evaluated, not what it proposed."""
    studies = []
    create = optuna.create_study
    monkeypatch.setattr(
        optuna, "create_study", lambda **options: studies.append(create(**options)) or studies[-1]
    )
    run(Goal(five), "random", 0, 5)
    for trial in studies[0].trials:
        row = five.find(five.encode(trial.params))
        assert row is not None
        assert trial.value == five.search[row]


def test_a_repeat_costs_no_evaluation(tmp_path: Path) -> None:
    """Random search on a whole space repeats itself: counted, told, not evaluated again."""
    found = run(Goal(table.read(whole(tmp_path))), "random", 0, 60)
    assert len(found.rows) == len(set(found.rows)) == 60
    assert found.repeats == found.proposals - 60 > 0
    assert found.outside == 0


def test_a_sampler_that_repeats_itself_for_ever_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 200 repeats in a row the run ends with what it has, and later budgets keep it."""
    fixed = {"a": 0, "b": 0, "c": 0}
    monkeypatch.setitem(
        contenders.PEERS,
        "fixed",
        lambda seed: optuna.samplers.PartialFixedSampler(
            fixed, optuna.samplers.RandomSampler(seed)
        ),
    )
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        found = run(Goal(table.read(whole(tmp_path))), "fixed", 0, 60)
    assert (len(found.rows), found.repeats, found.stuck) == (1, PATIENCE, True)


def test_with_workers_that_many_evaluations_are_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending evaluations are running trials of the study, with all their choices."""
    seen = []
    sampler = optuna.samplers.RandomSampler(0)
    sample = sampler.infer_relative_search_space

    def look(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, object]:
        trials = [t for t in study.get_trials() if t.number != trial.number]
        running = [t for t in trials if t.state == optuna.trial.TrialState.RUNNING]
        seen.append(len({tuple(t.params.values()) for t in running if len(t.params) == 3}))
        return sample(study, trial)

    monkeypatch.setattr(sampler, "infer_relative_search_space", look)
    monkeypatch.setitem(contenders.PEERS, "watched", lambda _: sampler)
    found = run(Goal(table.read(whole(tmp_path))), "watched", 0, 20, workers=4)
    assert max(seen) == 3
    assert len(found.rows) == 20


def test_a_run_repeats_itself(tmp_path: Path) -> None:
    """The same seed gives the same rows; a shorter run is the beginning of a longer one."""
    goal = Goal(table.read(whole(tmp_path)))
    for sampler in ("nas", "tpe", "evolution", "local_search"):
        long = run(goal, sampler, 3, 30).rows
        assert run(goal, sampler, 3, 30).rows == long
        assert run(goal, sampler, 3, 10).rows == long[:10]


def test_runs_are_kept_and_an_interrupted_comparison_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is missing is run; a line that was cut in the middle is missing."""
    words = f"--table {whole(tmp_path)} --samplers random --budgets 5,10 --cache {tmp_path}/c"
    assert main([*words.split(), "--seeds", "3"]) == 0
    kept = next((tmp_path / "c").iterdir())
    kept.write_text(kept.read_text().rstrip()[:-20])
    ran = []
    monkeypatch.setattr(
        "benchmarks.search.__main__.run", lambda *a, **o: ran.append(a[2]) or run(*a, **o)
    )
    out = tmp_path / "out.json"
    assert main([*words.split(), "--seeds", "4", "--json", str(out)]) == 0
    assert ran == [2, 3]
    assert main([*words.split(), "--seeds", "4", "--json", str(tmp_path / "again.json")]) == 0
    assert ran == [2, 3]
    first, again = (json.loads(p.read_text()) for p in (out, tmp_path / "again.json"))
    assert again["samplers"] == first["samplers"]


def test_a_kept_run_is_for_one_table_objective_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another objective, number of workers or version of the sampler, or more evaluations: none."""
    goal = Goal(table.read(whole(tmp_path)))
    Cache(tmp_path, goal, "random").write(7, 10, made(1, 2))
    assert Cache(tmp_path, goal, "random").read(10) == {7: made(1, 2)}
    assert Cache(tmp_path, goal, "random").read(11) == {}
    assert Cache(tmp_path, goal, "random", workers=2).read(10) == {}
    assert Cache(tmp_path, Goal(goal.table, "scalarised", 1e6), "random").read(10) == {}
    monkeypatch.setattr(contenders, "version", lambda _: "another")
    assert Cache(tmp_path, goal, "random").read(10) == {}


def test_a_result_keeps_the_other_samplers_of_the_same_comparison(tmp_path: Path) -> None:
    """A second run with the same file adds its sampler; another objective begins the file anew."""
    out = tmp_path / "out.json"
    words = f"--table {whole(tmp_path)} --budgets 4 --seeds 2 --cache {tmp_path}/c --json {out}"
    for extra, kept in (
        ("--samplers random", {"random"}),
        ("--samplers tpe", {"random", "tpe"}),
        ("--samplers tpe --objective pareto", {"tpe"}),
    ):
        assert main([*words.split(), *extra.split()]) == 0
        assert set(json.loads(out.read_text())["samplers"]) == kept


def test_the_version_follows_helpers() -> None:
    """A sampler's version covers its own file and the private ones that it imports."""
    files = {path.name for path in contenders._files("nas.samplers.evolution", set())}
    assert files == {"evolution.py", "_history.py", "_oracle.py", "_record.py"}
    assert contenders.version("evolution") != contenders.version("random")


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Per sampler and budget: the mean regret with its interval; per target: two percentiles."""
    out = tmp_path / "new" / "out.json"
    words = f"--table {whole(tmp_path)} --samplers random,evolution --budgets 10,30 --seeds 4"
    words += f" --objective scalarised --target-macs 5M --json {out} --cache {tmp_path}/c"
    assert main(words.split()) == 0
    result = json.loads(out.read_text())
    one = result["samplers"]["evolution"]
    assert result["target_macs"] == 5_000_000
    assert one["regret"]["30"]["mean"] <= one["regret"]["10"]["mean"]
    low, high = one["regret"]["10"]["interval"]
    assert low <= one["regret"]["10"]["mean"] <= high
    assert one["seeds"] == 4
    printed = capsys.readouterr().out
    assert f"| random | 4 | {result['samplers']['random']['regret']['10']['mean']:.4g} [" in printed
    unreached = one["evaluations_to_within_0.1_percent"]["90th_percentile"]["value"]
    assert unreached == ">30" or unreached <= 30


def test_a_slow_sampler_may_have_fewer_seeds_and_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evolution:2:10` beside others: 2 seeds, nothing said of 20 evaluations, censored at 10."""
    words = f"--table {whole(tmp_path)} --samplers random,evolution:2:10 --budgets 5,10,20"
    assert main([*words.split(), "--seeds", "3", "--cache", str(tmp_path / "c")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| evolution \| 2 \| \d.*\] \| - \|.*>10", printed)
    assert re.search(r"\| random \| 3 \|", printed)


def test_processes_give_the_same_result(tmp_path: Path) -> None:
    """`python -m benchmarks.search` with two processes: seed by seed what one process finds."""
    found = []
    for processes in ("1", "2"):
        out = tmp_path / f"{processes}.json"
        words = f"--table {whole(tmp_path)} --samplers evolution --budgets 30 --seeds 3"
        words += f" --processes {processes} --cache {tmp_path}/{processes} --json {out}"
        command = [sys.executable, "-m", "benchmarks.search", *words.split()]
        subprocess.run(command, check=True, timeout=120, cwd=ROOT, capture_output=True)
        found.append(json.loads(out.read_text())["samplers"]["evolution"]["regret"])
    assert found[0] == found[1]


def test_the_front_is_a_third_objective(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `pareto` every sampler is told score and log macs, and hypervolumes are printed."""
    words = f"--table {whole(tmp_path)} --samplers random,tpe,nsga2,evolution,local_search"
    words += f" --budgets 64 --seeds 1 --objective pareto --cache {tmp_path}/c"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert "hypervolume at 64" in printed
    assert "| local_search | 1 | 1 |" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--table no.csv", "No table can be read from no.csv"),
        ("--table t.csv --samplers cma", "No sampler named 'cma'.*Available: .*evolution.*tpe"),
        ("--table t.csv --budgets 5,x", "--budgets takes whole numbers of at least 1"),
        ("--table t.csv --budgets 0", "--budgets takes whole numbers of at least 1"),
        ("--table t.csv --seeds 0", "--seeds is a whole number of at least 1"),
        ("--table t.csv --workers 0", "--workers is a whole number of at least 1"),
        ("--table t.csv --objective scalarised", "needs --target-macs"),
        ("--table t.csv --objective scalarised --target-macs lots", "--target-macs is a number"),
        ("--table t.csv --samplers tpe:x", "whole numbers of at least 1"),
        ("--table t.csv --samplers tpe:5:10 --budgets 25", "no budget is at most 10"),
        ("--table t.csv --json .", "--json names a file, not a folder: ."),
        ("--table t.csv --json t.csv/x.json", "can't be written"),
        ("--table t.csv --objective latency", "invalid choice: 'latency'"),
    ],
)
def test_a_mistake_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    """Exit status 2, the rule and the value on standard error, nothing written."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", FIVE)
    try:
        status = main(words.split())
    except SystemExit as ended:  # argparse's own
        status = ended.code
    told = capsys.readouterr()
    assert status == 2
    assert told.out == ""
    assert re.search(message, told.err)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_cells_of_nasbench201_become_six_choices() -> None:
    """Edges are named by their nodes, macs are in units, and data sets are chosen by name."""
    cell = "|none~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
    row = {"arch_str": cell, "flops_M": "15.5", "cifar10_val_12ep": "6", "cifar10_test_12ep": "7"}
    row |= {"cifar100_val_12ep": "1", "cifar100_test_12ep": "2"}
    found = tables.nasbench201(row, "cifar10")
    assert [found[f"choice_{edge}"] for edge in ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3")] == [
        *("none", "nor_conv_1x1", "avg_pool_3x3"),
        *("skip_connect", "nor_conv_3x3", "none"),
    ]
    assert [found[name] for name in tables.COLUMNS] == ["6", "7", 15.5e6]
    assert tables.nasbench201(row, "cifar100")["test_score"] == "2"


def test_networks_of_accel_nasbench_become_choices(tmp_path: Path) -> None:
    """Every column of a block is a choice; the one accuracy is both scores."""
    source = tmp_path / "accel_nasbench" / "accel_nasbench.csv"
    source.parent.mkdir()
    source.write_text("id,block0_e,block0_k,val_top1,macs_M\n0,6,3,59.5,415.25\n1,4,5,61,300\n")
    out = tmp_path / "accel.csv"
    assert tables.main(f"accel_nasbench --out {out} --data {tmp_path}".split()) == 0
    found = table.read(out)
    assert found.choices == {"block0_e": (4, 6), "block0_k": (3, 5)}
    assert (found.search[0], found.test[0], found.macs[0]) == (59.5, 59.5, 415.25e6)


def test_a_converter_without_its_source_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and the path."""
    words = f"nasbench201 --out {tmp_path}/x.csv --data {tmp_path}".split()
    assert tables.main(words) == 2
    assert "No nasbench201 at" in capsys.readouterr().err


def test_our_sampler_is_told_what_is_known_but_no_score(five: table.Table) -> None:
    """The pool's rows, log macs over the target, and how macs enter the scalarised value."""
    told = oracle(Goal(five, "scalarised", 2e6))
    assert told.rows == [{"a": a, "b": b} for a, b, *_ in FIVE]
    assert isinstance(contenders.make("nas", 0, Goal(five)), PoolSampler)
    look = told.look({"a": "y", "b": 3})
    assert look is not None
    assert look.factor == pytest.approx(4**-0.07)
    assert look.cost == pytest.approx(math.log(4))
    assert look.numbers == ()  # macs are a cost, not something that describes a candidate
    assert told.look({"a": "z", "b": 1}) is None
    assert told.distributions == five.distributions
    plain = oracle(Goal(five)).look({"a": "y", "b": 3})
    assert plain is not None
    assert plain.factor == 1


def test_a_whole_table_is_searched_as_a_space(tmp_path: Path) -> None:
    """Our sampler gets no list of rows, and its mutations change one choice."""
    goal = Goal(table.read(whole(tmp_path)))
    told = oracle(goal)
    assert not isinstance(contenders.make("nas", 0, goal), PoolSampler)
    start = {"a": 0, "b": 1, "c": 2}
    for seed in range(20):
        changed = told.change(start, random.Random(seed))
        assert sum(changed[name] != start[name] for name in start) == 1
        assert told.look(changed) is not None


def test_the_peers_are_optunas_own(tmp_path: Path) -> None:
    """GP and NSGA-II come from Optuna as they are, not through our wrappers."""
    goal = Goal(table.read(whole(tmp_path)))
    assert type(contenders.make("gp", 0, goal)) is GPSampler
    assert set(contenders.PEERS) <= set(contenders.names())
    assert (ROOT / "nas" / "samplers" / "nsga2.py").is_file()


def test_a_lesson_is_a_search_on_another_table(tmp_path: Path) -> None:
    """Taught by the very table, the first evaluation is one of the best; by noise it need not be.

    The result says what was learnt from.
    """
    path, out = whole(tmp_path), tmp_path / "out.json"
    words = f"--table {path} --learn-from {path} --samplers nas+lesson,nas+permuted --budgets 5"
    assert main([*words.split(), "--seeds=2", f"--cache={tmp_path}/c", f"--json={out}"]) == 0
    result = json.loads(out.read_text())
    assert (result["learn_from"]["table"], result["learn_from"]["evaluations"]) == ("whole", 40)
    taught = result["samplers"]["nas+lesson"]["evaluations_to_best_0.5_percent"]
    assert taught["90th_percentile"]["value"] == 1
    assert result["samplers"]["nas+permuted"]["seeds"] == 2


def test_a_lesson_needs_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --learn-from, or with a table of other choices, there is nothing to learn."""
    words = f"--table {whole(tmp_path)} --samplers nas+lesson --budgets 4 --seeds 1"
    assert main(words.split()) == 2
    assert "give --learn-from" in capsys.readouterr().err
    other = write(tmp_path / "other.csv", [("x", 1, 2, 3)], choices=1)
    assert main([*words.split(), "--learn-from", str(other)]) == 2
    assert "no choice is one of whole too" in capsys.readouterr().err
