"""Latency: measured in turns, predicted from a table, and searched for. Nothing here is timed."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import referee
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import SPACE, arguments, nas, result, write_inputs
from torch._subclasses.fake_tensor import FakeTensorMode
from typer.testing import CliRunner

from nas import blocks, network, quantities, search_space
from nas.architecture import Architecture
from nas.cli import app
from nas.commands import studies as commands
from nas.cost import Cost, Kind, Limits, TimedCost
from nas.errors import UserError
from nas.latency import learn, measure
from nas.latency.setting import Setting, setting
from nas.latency.table import ANY, Error, LatencyTable, features, read
from nas.objective import Objective, latency_objective
from nas.search_space.preflight import Subject, draw_near, survey

SPACES = search_space.spaces()
HOW = setting(backend="torch")  # builds networks in no time


def drawn(space: str, seed: int, resolution: int | None = None) -> Architecture:
    """Return a random architecture of a shipped space, a fixed one's own."""
    chosen = SPACES[space] if resolution is None else SPACES[space].at_resolution(resolution)
    return chosen.decode(chosen.draw(random.Random(seed)), in_channels=3, classes=10)


def made_up(architecture: Architecture) -> float:
    """Return milliseconds that are a sum over blocks: a machine with a law."""
    counted = (cost for *_, cost in network.block_costs(architecture))
    return sum(0.05 + 2e-7 * cost.macs + 1e-6 * cost.activations for cost in counted)


def table(space: str = "mixconv", resolution: int | None = 32) -> LatencyTable:
    """Return a table learnt from networks of a machine with a law."""
    networks = [drawn(space, seed, resolution) for seed in range(30)]
    measured = [learn.Timing(tuple(network.walk(one)), made_up(one)) for one in networks]
    fitted = learn.fit({}, measured)
    return LatencyTable(space, 3, 10, HOW, *fitted, Error(0, None, None, 30, 0), 0.0)


MIXCONV = table()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a table of the tiny space; return its file."""
    folder = tmp_path_factory.mktemp("table")
    space, data = write_inputs(folder)
    out = folder / "table.json"
    words = f"latency table --space {space} --data {data} --seconds 1 --json --out {out}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = CliRunner().invoke(app, [*words.split(), "--backend", "torch"])
    assert json.loads(run.stdout)["space"] == "tiny"
    assert "latency: measuring" in run.stderr
    return out


def about_latency(folder: Path, **options: object) -> list[str]:
    """Return the arguments of a tiny search with a latency target, in one process."""
    words = arguments(folder, workers=0, **options)
    at = words.index("--target-flops")
    return words[:at] + words[at + 2 :]


def middle(tiny: Path) -> float:
    """Return the median latency that a table predicts for random networks of the tiny space."""
    scope: dict[str, Any] = {}
    exec(SPACE, scope)  # noqa: S102 - the kit's own text
    space, rng = scope["SPACE"], random.Random(1)
    drawn = [space.decode(space.draw(rng), in_channels=1, classes=2) for _ in range(15)]
    return sorted(map(read(tiny).milliseconds, drawn))[7]


@pytest.mark.parametrize("space", SPACES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_every_architecture_has_a_finite_positive_latency(space: str, seed: int) -> None:
    """A table of one space predicts for all the shipped ones, blocks it never saw included."""
    assert 0 < MIXCONV.milliseconds(drawn(space, seed)) < math.inf


def test_an_operator_without_measurement_counts_as_any_other() -> None:
    """Convolutions mixed for each image are no part of mixconv, and cost something all the same."""
    condconv = drawn("se_condconv", 0)
    strange = {op for block in network.walk(condconv) for op, _ in features(block)}
    strange -= {op for op, _ in MIXCONV.operators}
    assert strange
    assert any(op == ANY and ms > 0 for (op, _), ms in MIXCONV.operators.items())
    silent = LatencyTable("x", 3, 10, HOW, {}, {}, MIXCONV.error, 0.0)
    assert silent.milliseconds(condconv) > 0


def test_a_table_learns_a_law_of_the_machine() -> None:
    """Where latency is a sum over operators, networks that were not measured are predicted."""
    unseen = [drawn("mixconv", seed, 32) for seed in range(1000, 1020)]
    errors = [abs(MIXCONV.milliseconds(one) / made_up(one) - 1) for one in unseen]
    assert float(np.median(errors)) < 0.02


def test_measured_blocks_are_looked_up_and_slower_inside_a_network() -> None:
    """Blocks measured alone are scaled to the networks, and so stand in the table."""
    networks = [drawn("mixconv", seed, 32) for seed in range(12)]
    alone = {block: 0.1 for one in networks for block in network.walk(one)}
    measured = [learn.Timing(tuple(network.walk(one)), 0.15 * len(one.rows)) for one in networks]
    fitted = learn.fit(alone, measured)
    assert list(fitted.blocks.values()) == pytest.approx([0.15] * len(alone))


@pytest.mark.parametrize("space", SPACES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=2, deadline=None, derandomize=True)
def test_a_network_lists_the_operators_that_run(space: str, seed: int) -> None:
    """The blocks' transcripts are a trace of the built network, and add up to its cost."""
    architecture = drawn(space, seed).at(resolution=64)
    steps = [
        step for block in network.walk(architecture) for step in blocks.transcript(*block).steps
    ]
    with FakeTensorMode():
        traced = referee.operators(network.build(architecture), 3, 64)
    assert referee.operators_of(steps) == traced
    sums = (sum(step.macs for step in steps), sum(step.params for step in steps))
    assert sums == network.cost(architecture)[:2]


def test_every_kind_of_operator_occurs_in_a_space() -> None:
    """No row of the table of operators is idle."""
    walks = (network.walk(drawn(space, seed)) for space in SPACES for seed in range(3))
    steps = (step for walk in walks for block in walk for step in blocks.transcript(*block).steps)
    assert {step.kind for step in steps} == set(get_args(Kind))


def test_a_table_goes_to_json_and_back(tmp_path: Path) -> None:
    """A table that is written and read again is equal, has the same hash and predicts the same."""
    MIXCONV.write(tmp_path / "table.json")
    again = read(tmp_path / "table.json")
    one = drawn("mixconv", 5)
    assert (again, again.hash) == (MIXCONV, MIXCONV.hash)
    assert again.milliseconds(one) == MIXCONV.milliseconds(one)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("no json", "not JSON"),
        ("{}", 'with "format": "nas.latency/1"'),
        ('{"format": "nas.latency/1"}', "damaged: KeyError"),
        (json.dumps({**MIXCONV.to_json(), "seconds": math.nan}), "no number of milliseconds"),
        (json.dumps({**MIXCONV.to_json(), "setting": {}}), "damaged: KeyError"),
        (json.dumps({**MIXCONV.to_json(), "in_channels": math.inf}), "damaged: OverflowError"),
        (json.dumps({**MIXCONV.to_json(), "error": {}}), "damaged: KeyError"),
    ],
    ids=["absent", "text", "object", "empty", "nan", "no setting", "infinite", "no error"],
)
def test_a_damaged_table_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    """The message names the file and what is wrong with it."""
    path = tmp_path / "table.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_modules_are_measured_in_turns_and_the_rest_is_left_out_when_time_is_short() -> None:
    """Modules in the same rounds have as many runs; without time only the first is measured."""
    made: list[int] = []
    one = drawn("mixconv", 0, 16)

    def case(number: int) -> measure.Case:
        return measure.Case(lambda: made.append(number) or network.build(one), 3, 16)  # type: ignore[func-returns-value]

    every = measure.measure([case(0), case(1)], HOW, rounds=3)
    assert [latency.runs for latency in every] == [5, 5]
    assert all(0 < each.q1_ms <= each.median_ms <= each.q3_ms for each in every)
    assert len(measure.measure([case(2), case(3)], HOW, seconds=1e-9)) == 1
    assert made == [0, 1, 2]


def test_the_setting_says_how_it_was_measured() -> None:
    """Batch, threads, type, layout, clock, processor and version of torch are stated."""
    text = setting(8, 2, backend="torch").describe()
    words = ("batch 8", "2 threads", "float32", "channels_last", "wall time", "cores", "torch ")
    assert [word for word in words if word not in text] == []
    assert HOW.clock == "processor"
    assert Setting.from_json(HOW.to_json()) == HOW


def test_an_objective_is_about_one_cost() -> None:
    """About latency, amount, distance and score are those of milliseconds; 2T scores 2^-0.07."""
    goal = latency_objective(5.0, "abc", "soft")
    cost = TimedCost(10**6, 1, 1, 1, 10.0)
    assert (goal.amount(cost), goal.score(0.5, 10.0)) == (10.0, pytest.approx(0.5 * 2**-0.07))
    assert goal.distance(cost) == pytest.approx(math.log(2))
    assert Objective(**goal.to_json()) == goal
    assert "latency / T" in goal.describe()
    assert Objective(10**6).distance(cost) == 0.0
    with pytest.raises(TypeError, match="needs a cost with a latency"):
        goal.amount(Cost(1, 1, 1, 1))


def test_a_limit_on_latency_binds_a_timed_cost_alone() -> None:
    """A search may limit latency; a search space may not, for latency is a machine's."""
    limits = Limits(latency_ms=2.0)
    assert limits.violation(TimedCost(1, 1, 1, 1, 3.0)) == "latency_ms 3.0 over the limit of 2.0"
    assert limits.excess(TimedCost(1, 1, 1, 1, 3.0)) == 0.5
    assert limits.violation(Cost(1, 1, 1, 1)) is None
    assert "latency_ms" not in Limits().to_json()
    with pytest.raises(UserError, match="No limit on 'latency_ms'"):
        Limits.checked(latency_ms=2.0)


def test_a_survey_and_the_opening_go_by_latency() -> None:
    """The pre-flight tells the range of latency and what is near; draws open near the target."""
    space = SPACES["mixconv"].at_resolution(32)
    subject = Subject(space, 3, 10, MIXCONV)
    goal = latency_objective(5.0, MIXCONV.hash)
    flight = survey(subject, objective=goal, limits=Limits(latency_ms=7.5))
    assert flight.latency_ms is not None
    assert flight.latency_ms[0] < 5 < flight.latency_ms[1]
    rng = random.Random(0)
    gaps = [abs(goal.distance(subject.cost(draw_near(subject, goal, rng)))) for _ in range(10)]
    free = [abs(goal.distance(subject.cost(space.draw(rng)))) for _ in range(10)]
    assert np.median(gaps) < np.median(free)
    with pytest.raises(UserError, match=r"can't reach 1e-06 ms.*nearest target is"):
        survey(subject, objective=latency_objective(1e-6, None))


@pytest.mark.parametrize(
    ("text", "ms"), [("5ms", 5.0), ("800us", 0.8), ("0.1s", 100.0), ("5", 5.0), (2.5, 2.5)]
)
def test_latencies_are_read_as_people_write_them(text: str | float, ms: float) -> None:
    """A bare number is in milliseconds."""
    assert quantities.milliseconds(text, "--target-latency") == pytest.approx(ms)


@pytest.mark.parametrize("text", ["0ms", "-1", "fast", "nan", "5m"])
def test_no_latency_is_refused_with_the_rule(text: str) -> None:
    """The message names the option, an example and the value."""
    with pytest.raises(UserError, match=r"--target-latency is a time above 0 such as 5ms.*not"):
        quantities.milliseconds(text, "--target-latency")


REFUSED = {
    "no target": ("search --latency-batch 2", "--latency-batch is for a search with --target-lat"),
    "bad target": ("search --target-latency fast", "a time above 0 such as 5ms"),
    "no table": ("search --target-latency 5ms --latency-table no.json", "Can't read the latency"),
    "no time": ("latency table --out t.json --seconds 0", "--seconds is a number of seconds"),
    "two targets": (
        "latency table --out t.json --target-flops 1M --target-latency 1ms", "give one of them",
    ),
    "batch": ("latency measure mixnet_s --batch-size 0", "--batch-size is a whole number"),
    "back end": ("latency measure mixnet_s --backend onnx", "No latency back end named 'onnx'"),
    "back end without GPU": (
        "latency measure mixnet_s --backend onnxruntime --device cuda", "runs on cpu, not on cuda",
    ),
    "back end at a host": (
        "latency measure mixnet_s --backend torch --host h", "measures with onnxruntime on cpu",
    ),
    "host": ("latency measure mixnet_s --host -oX", "a name for ssh such as pi@raspberrypi"),
    "host's back end": (
        "search --target-latency 5ms --latency-host h --latency-backend torch",
        "--latency-host measures with onnxruntime, not with torch",
    ),
    "no trial": ("latency measure tiny:3", "there is no such file"),
    "device": ("latency measure mixnet_s --device tpu", "--device is cpu or cuda, not 'tpu'"),
    "name": ("latency measure mixnot_s", "No search space named 'mixnot_s'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_end_with_one_message_and_leave_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, the rule and the value, and no file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORE", raising=False)
    words, message = REFUSED[case]
    run = CliRunner().invoke(app, words.split())
    assert (run.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert message in run.stderr


def test_networks_are_measured_by_name() -> None:
    """The program measures several networks in turns and states the setting."""
    words = "latency measure mixnet_s mixnet_m --resolution 16 --classes 2 --json"
    small, large = json.loads(CliRunner().invoke(app, words.split()).stdout)
    assert (small["name"], large["name"], small["resolution"]) == ("mixnet_s", "mixnet_m", 16)
    assert small["median_ms"] > 0
    assert small["setting"]["batch_size"] == 1


def test_a_table_states_its_error_on_networks_it_was_not_learnt_from(tiny: Path) -> None:
    """Held-out networks, their number and the setting are in the file; every number is finite."""
    found = read(tiny)
    assert found.error.networks > 0
    assert found.error.fitted > found.error.networks
    assert found.error.percent is not None
    assert found.setting == HOW
    assert min(found.blocks.values()) > 0


def test_a_search_is_about_latency_and_goes_on_with_its_own_table(
    tiny: Path, tmp_path: Path
) -> None:
    """Scores are accuracy x (latency / T)^w; the store alone is enough to go on."""
    target = middle(tiny)
    words = about_latency(tmp_path, target_latency=f"{target}ms", trials=2, objective="soft")
    run = CliRunner().invoke(app, ["search", *words, "--latency-table", str(tiny), "--json"])
    assert json.loads(run.stdout)["best"]["measured_latency_ms"] > 0
    store = f"sqlite:///{tmp_path}/nas.db"
    for trial in commands.top("tiny", store=store):
        assert trial.latency_ms is not None
        expected = trial.metrics["accuracy"] * (trial.latency_ms / target) ** -0.07
        assert trial.score == pytest.approx(expected)
    assert read(tmp_path / "studies/tiny/latency.json") == read(tiny)
    (tmp_path / "studies/tiny/latency.json").unlink()
    again = CliRunner().invoke(app, ["search", *words, "--trials", "3"])
    assert "latency: predicted" in again.stdout
    assert "making a table" not in again.stderr
    assert len(commands.top("tiny", store=store)) == 3


def test_a_study_keeps_its_table(tiny: Path, tmp_path: Path) -> None:
    """Another table under the same name is refused, and so is a study that is not on latency."""
    target = middle(tiny)
    other = tmp_path / "other.json"
    replace(read(tiny), seconds=123.0).write(other)
    words = about_latency(tmp_path, target_latency=f"{target}ms", trials=1, epochs=1)
    run = CliRunner().invoke(app, ["search", *words, "--latency-table", str(tiny)])
    assert run.exit_code == 0, run.stderr
    refused = CliRunner().invoke(app, ["search", *words, "--latency-table", str(other)])
    assert refused.exit_code == 2
    assert "exists with another objective: table was" in refused.stderr
    flops = CliRunner().invoke(app, ["search", *arguments(tmp_path, workers=0, epochs=1)])
    assert "exists with another objective" in flops.stderr


def test_a_study_goes_on_with_the_back_end_of_its_table(tiny: Path, tmp_path: Path) -> None:
    """A table of another back end, or another machine, is not mixed with it."""
    words = about_latency(tmp_path, target_latency=f"{middle(tiny)}ms", trials=1, epochs=1)
    run = CliRunner().invoke(app, ["search", *words, "--latency-table", str(tiny)])
    assert run.exit_code == 0, run.stderr
    same = CliRunner().invoke(app, ["search", *words, "--latency-backend", "torch"])
    assert same.exit_code == 0, same.stderr
    for option, kept in (("backend", "torch"), ("host", "this machine")):
        given = {"backend": "onnxruntime", "host": "pi@raspberrypi"}[option]
        other = CliRunner().invoke(app, ["search", *words, f"--latency-{option}", given])
        assert other.exit_code == 2
        assert f"has a latency table of latency {option} {kept}, not {given}" in other.stderr


def test_a_trial_is_measured_by_its_study_and_number(tiny: Path, tmp_path: Path) -> None:
    """STUDY:TRIAL is the trial's network, for the study's images and classes."""
    words = about_latency(tmp_path, target_latency=f"{middle(tiny)}ms", trials=1, epochs=1)
    run = CliRunner().invoke(app, ["search", *words, "--latency-table", str(tiny)])
    assert run.exit_code == 0, run.stderr
    store = f"sqlite:///{tmp_path}/nas.db"
    [trial] = commands.top("tiny", store=store)
    measured = CliRunner().invoke(
        app, ["latency", "measure", f"tiny:{trial.number}", "--store", store, "--json"]
    )
    assert json.loads(measured.stdout)["architecture_id"] == trial.architecture_id
    assert json.loads(measured.stdout)["setting"]["backend"] == "onnxruntime"


def test_a_search_makes_its_table_first(tiny: Path, tmp_path: Path) -> None:
    """Without a table the real program makes one, says so, and keeps it with the study.

    Depths of 1 to 12 hold the target, whatever this machine does beside measuring them.
    """
    target = f"{1.5 * middle(tiny)}ms"
    words = about_latency(tmp_path, target_latency=target, latency_seconds=1, trials=1, epochs=1)
    words += ["--latency-backend", "torch"]  # that of the table whose latencies are known
    (tmp_path / "tiny.py").write_text(SPACE.replace("choice(1, 2)", "choice(1, 4, 12)"))
    run = nas("search", *words, "--max-params", "1M", "--json")
    assert result(run)["best"]["latency_ms"] > 0
    assert "latency: making a table first" in run.stderr
    assert "latency / T" in run.stderr
    assert read(tmp_path / "studies/tiny/latency.json").space == "tiny"
