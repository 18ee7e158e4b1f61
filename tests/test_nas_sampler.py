"""Our own sampler: nothing twice, limits kept, costs applied exactly, resumed as it would go on."""

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import RelativeSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import TrialState
from scipy.stats import norm
from search_kit import SPACE, arguments
from typer.testing import CliRunner

from benchmarks.search.oracle import PoolSampler, TableOracle
from nas.cli import app
from nas.cost import Limits
from nas.objective import Objective
from nas.pruners.curves import forecast
from nas.samplers import _acquisition
from nas.samplers._acquisition import (
    CAPS,
    Acquisition,
    Encoder,
    Observation,
    capped,
    growth,
    stairs,
)
from nas.samplers._oracle import Preview, StudyOracle
from nas.samplers._space import SpaceOracle
from nas.samplers.nas import NasSampler, _observe
from nas.search_space import SearchSpace
from nas.search_space.preflight import Subject


class TestAlone(RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """Optuna's cases for samplers of one objective that look at several choices at once."""

    test_sample_relative_numerical = None  # numbers are drawn at random, one by one
    test_sample_relative_mixed = None

    @pytest.fixture
    def sampler(self) -> Any:
        """Return what makes the sampler under test, its model in use from the third trial on."""
        return lambda: NasSampler(0, startup=2)


def observed(study: optuna.Study) -> list[Observation]:
    """Return what the model sees of a study."""
    known = StudyOracle(study.trials)
    known.record.read(study, study.trials, known.identify, known.factor)
    return _observe(known, random.Random(0))


def conditional(trial: optuna.Trial) -> float:
    """Have 4 + 3 x 3 x 4 = 40 different assignments; the more kernels and width the better."""
    width = trial.suggest_categorical("width", [8, 16, 24, 32])
    if trial.suggest_categorical("block", ["skip", "conv", "mbconv", "ghost"]) == "skip":
        return width / 100
    kernels = trial.suggest_categorical("kernels", ["3", "5", "3.5"])
    return width / 50 + len(kernels)


def tiny() -> SearchSpace:
    """Return the space of the test searches: 24 assignments."""
    scope: dict[str, Any] = {}
    exec(SPACE, scope)  # noqa: S102
    space: SearchSpace = scope["SPACE"]
    return space


def oracle(limits: Limits = Limits(), weight: float = -0.07) -> SpaceOracle:  # noqa: B008
    """Return what is known of the tiny space."""
    return SpaceOracle(Subject(tiny(), 3, 2), limits, Objective(50_000, weight=weight))


def told(sampler: BaseSampler, trials: int, score: Any) -> optuna.Study:
    """Run trials of the tiny space and return the study."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        values = sampler_values(sampler, study, trial)
        study.tell(trial, score(values))
    return study


def sampler_values(sampler: Any, study: optuna.Study, trial: optuna.Trial) -> dict[str, Any]:
    """Ask for a whole assignment as a define-by-run objective does."""
    values: dict[str, Any] = {}
    for parameter in tiny().parameters():
        if parameter.is_active(values):
            values[parameter.name] = trial.suggest_categorical(parameter.name, parameter.choices)
    return values


def test_nothing_is_proposed_twice_where_choices_depend_on_others() -> None:
    """All 40 assignments of a conditional space come once before any comes again."""
    study = optuna.create_study(direction="maximize", sampler=NasSampler(3))
    study.optimize(conditional, n_trials=40)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 40


def test_no_network_is_proposed_twice_and_every_one_is_found() -> None:
    """Of a space of networks each canonical one comes once, whatever it is called."""
    known = oracle()
    study = told(NasSampler(1, oracle=known), 24, lambda values: known.look(values).numbers[1])
    keys = [known.look(trial.params).key for trial in study.trials]
    assert len(set(keys)) == 24


def test_limits_are_kept() -> None:
    """No proposal has more macs than the limit allows, in the opening or after it."""
    free = oracle()
    rng = random.Random(0)
    macs = sorted(free.subject.cost(free.draw(rng)).macs for _ in range(50))
    known = oracle(Limits(macs=macs[25]))
    study = told(NasSampler(1, oracle=known), 11, lambda values: known.look(values).numbers[1])
    assert max(known.subject.cost(t.params).macs for t in study.trials) <= macs[25]


def test_the_cost_is_applied_exactly() -> None:
    """Where accuracy is the same everywhere, the cheapest network left is proposed each time."""
    rows = [{"a": a, "b": b} for a in range(6) for b in range(6)]
    macs = {(row["a"], row["b"]): 10.0 + 5 * (6 * row["a"] + row["b"]) % 37 for row in rows}
    factors = [macs[row["a"], row["b"]] ** -0.07 for row in rows]
    sampler = PoolSampler(0, TableOracle(rows, factors=factors), startup=4)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = dict(sampler.oracle.distributions)  # type: ignore[union-attr]
    asked = []
    for _ in range(12):
        trial = study.ask(space)
        asked.append(macs[trial.params["a"], trial.params["b"]])
        study.tell(trial, 0.9 * asked[-1] ** -0.07)
    left = sorted(set(macs.values()) - set(asked[:4]))
    assert asked[4:] == left[:8]


def test_proposals_that_wait_for_their_values_spread() -> None:
    """Eight workers that ask before any tells get eight different networks."""
    study = optuna.create_study(direction="maximize", sampler=NasSampler(0))
    study.optimize(conditional, n_trials=12)
    space = {
        "width": CategoricalDistribution([8, 16, 24, 32]),
        "block": CategoricalDistribution(["skip", "conv", "mbconv", "ghost"]),
        "kernels": CategoricalDistribution(["3", "5", "3.5"]),
    }
    asked = [tuple(sorted(study.ask(space).params.items())) for _ in range(8)]
    assert len(set(asked)) == 8


def test_a_resumed_study_gets_the_same_next_proposal() -> None:
    """A new sampler with the same seed proposes what the old one would have."""
    old = NasSampler(5)
    study = optuna.create_study(direction="maximize", sampler=old)
    study.optimize(conditional, n_trials=15)
    again = optuna.create_study(direction="maximize", sampler=NasSampler(5))
    again.add_trials(study.trials)
    for each in (study, again):
        each.optimize(conditional, n_trials=1)
    assert study.trials[-1].params == again.trials[-1].params
    assert old.last_prediction == again.sampler.last_prediction  # type: ignore[attr-defined]


def test_it_tells_what_it_expects() -> None:
    """Drawn proposals have no prediction; those of the model have a mean and a spread."""
    sampler = NasSampler(0)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.optimize(lambda trial: 5 - conditional(trial), n_trials=6)
    assert sampler.last_prediction is None
    study.optimize(lambda trial: 5 - conditional(trial), n_trials=5)
    assert sampler.last_prediction is not None
    assert 0 <= sampler.last_prediction.mean <= 5
    assert 0 < sampler.last_prediction.spread < 5


def test_a_pool_is_proposed_to_its_last_row() -> None:
    """Each row of a pool comes once, nothing else ever, the best soon."""
    rng = random.Random(0)
    rows = [{f"c{i}": rng.randrange(4) for i in range(6)} for _ in range(60)]
    sampler = PoolSampler(2, TableOracle(rows))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distinct = {tuple(row.values()) for row in rows}
    for _ in range(len(distinct)):
        trial = study.ask(dict(sampler.oracle.distributions))  # type: ignore[union-attr]
        study.tell(trial, float(sum(trial.params.values())))
    asked = [tuple(trial.params.values()) for trial in study.trials]
    assert set(asked) == distinct
    assert max(map(sum, asked[:20])) == max(map(sum, distinct))


def test_a_pruned_trial_counts_with_what_others_gained_after_it() -> None:
    """The model learns from a curve that was cut short: its end is forecast, with doubt."""
    study = optuna.create_study(direction="maximize")
    space = {"a": CategoricalDistribution(list(range(8)))}
    for a in range(4):
        study.add_trial(
            optuna.create_trial(
                params={"a": a},
                distributions=space,
                value=0.5 + 0.1 * a,
                intermediate_values={1: 0.3 + 0.1 * a, 2: 0.5 + 0.1 * a},
            )
        )
    cut = optuna.create_trial(
        params={"a": 7}, distributions=space, state=TrialState.PRUNED, intermediate_values={1: 0.1}
    )
    study.add_trial(cut)
    seen = observed(study)[-1]
    reached = np.array([[0.3 + 0.1 * a, np.nan] for a in range(4)])
    told = forecast(reached, reached[:, 0] + 0.2, np.array([[0.1, np.nan]])).values()
    assert [seen.score, seen.extra] == pytest.approx([told[0][0], told[1][0]], rel=1e-3)
    assert 0.1 < seen.score < 0.4
    assert seen.extra > 0


def test_rungs_teach_before_a_training_is_whole() -> None:
    """With nothing but stops at two rungs, the model ranks networks by them: no draw at random."""
    space = {"a": CategoricalDistribution(list(range(6))), "b": CategoricalDistribution([0, 1, 2])}
    study = optuna.create_study(direction="maximize", sampler=NasSampler(0))
    for a, b in [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2), (4, 0), (1, 2)]:
        values = {1: 0.1 * a} | ({2: 0.1 * a + 0.2} if a > 3 else {})
        study.add_trial(
            optuna.create_trial(
                params={"a": a, "b": b},
                distributions=space,
                state=TrialState.PRUNED,
                intermediate_values=values,
            )
        )
    asked = [study.ask(space).params["a"] for _ in range(3)]
    assert study.sampler.last_prediction is not None  # type: ignore[attr-defined]
    assert min(asked) >= 3


def test_a_promoted_network_is_seen_where_it_went_furthest() -> None:
    """Of a network's trials on several rungs the model sees the last; a whole one before any."""
    space = {"a": CategoricalDistribution(list(range(8)))}
    study = optuna.create_study(direction="maximize")
    whole = {"a": 0}, TrialState.COMPLETE, {1: 0.2, 2: 0.4, 4: 0.6}
    rungs = [
        ({"a": 1}, TrialState.PRUNED, {1: 0.3}),
        ({"a": 1}, TrialState.PRUNED, {1: 0.3, 2: 0.5}),
    ]
    for params, state, values in [({"a": 0}, TrialState.PRUNED, {1: 0.2}), whole, *rungs]:
        value = 0.6 if state == TrialState.COMPLETE else None
        study.add_trial(
            optuna.create_trial(
                params=params,
                distributions=space,
                state=state,
                value=value,
                intermediate_values=values,
            )
        )
    seen = observed(study)
    assert [(dict(each.values)["a"], each.extra > 0) for each in seen] == [(0, False), (1, True)]
    assert seen[1].score == pytest.approx(
        0.5 + 0.15
    )  # the middle at its epoch to the middle of ends


def test_what_the_model_sees_does_not_grow_without_bound() -> None:
    """Of 10,000 trials the best, the most recent and some others are taken, each once."""
    scores = np.random.default_rng(0).random(10_000)
    kept = capped(scores, CAPS, random.Random(0))
    assert len(set(kept)) == len(kept) == sum(CAPS)
    assert {int(scores.argmax()), 9_999} <= set(kept)


def test_a_front_is_found_where_costs_are_known() -> None:
    """Of a table of metric and cost the whole front is among the first third of the proposals."""
    rows = [{"a": a, "b": b, "c": c} for a in range(5) for b in range(5) for c in range(5)]
    costs = [row["a"] + 0.3 * row["b"] + 0.1 * row["c"] + 1.0 for row in rows]
    metrics = [row["a"] + row["b"] - 0.5 * row["c"] for row in rows]
    table = TableOracle(rows, costs=costs, front=True)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=PoolSampler(0, table))
    for _ in range(len(rows) // 3):
        trial = study.ask(dict(table.distributions))
        at = rows.index(trial.params)
        study.tell(trial, [metrics[at], costs[at]])
    best = {
        at
        for at in range(len(rows))
        if not any(metrics[o] >= metrics[at] and costs[o] < costs[at] for o in range(len(rows)))
    }
    assert best <= {rows.index(trial.params) for trial in study.trials}


def test_the_area_under_a_front_is_expected_to_grow_as_it_does() -> None:
    """The expected growth is the mean of the growths that draws of the metric give."""
    rng = np.random.default_rng(0)
    costs, heights = rng.random(6), rng.random(6)
    begins, steps = stairs(costs, heights)
    end, floor = 1.1, -1.0
    for cost, mean, spread in ((0.05, 0.5, 0.3), (0.5, 0.2, 0.5), (0.99, 1.2, 0.1)):

        def area(height: float | None = None, at: float = cost) -> float:
            grid = np.linspace(0, end, 20_001)
            under = np.where(
                grid >= begins[0], steps[np.searchsorted(begins, grid, "right") - 1], floor
            )
            if height is not None:
                under = np.where(grid >= at, np.maximum(under, height), under)
            return float(under.mean() * end)

        draws = norm.ppf((np.arange(1_000) + 0.5) / 1_000, mean, spread)
        drawn = np.mean([area(height) - area() for height in draws])
        grown = growth((begins, steps), floor, end, np.array([[mean], [spread], [cost]]))
        assert grown[0] == pytest.approx(drawn, rel=0.01, abs=1e-4)


def test_two_objectives_need_a_cost_that_is_known() -> None:
    """Without an oracle that has a front, a study of two objectives is refused in one sentence."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=NasSampler(0))
    with pytest.raises(ValueError, match="models one objective"):
        study.optimize(lambda trial: (conditional(trial), 1.0), n_trials=1)


class Described(TableOracle):
    """A table whose rows have a description that takes long: it says all of the metric."""

    def describe(self, values: Any) -> tuple[float, ...]:
        """Return the metric itself."""
        return (float((7 * values["a"] + 5 * values["b"]) % 31),)


def test_what_is_too_dear_to_know_of_all_is_used_on_a_short_list() -> None:
    """With a description that tells the metric, fewer proposals find the best of a rugged table."""
    rows = [{"a": a, "b": b} for a in range(14) for b in range(14)]
    needed: dict[type, list[int]] = {TableOracle: [], Described: []}
    for kind, counts in needed.items():
        for seed in range(4):
            oracle = kind(rows)
            study = optuna.create_study(direction="maximize", sampler=PoolSampler(seed, oracle))
            value = 0.0
            while value < 30:
                trial = study.ask(dict(oracle.distributions))
                value = float((7 * trial.params["a"] + 5 * trial.params["b"]) % 31)
                study.tell(trial, value)
            counts.append(len(study.trials))
    assert sum(needed[Described]) < sum(needed[TableOracle])


def test_a_search_begins_with_what_other_studies_know(tmp_path: Path) -> None:
    """Networks of another study under the same recipe come first, cost nothing, the best first."""
    runner = CliRunner()
    options = {"trials": 4, "epochs": 1, "images": 16, "workers": 0}
    first = runner.invoke(app, ["search", *arguments(tmp_path, sampler="random", **options)])
    assert first.exit_code == 0, first.output
    words = arguments(tmp_path, sampler="nas", study="second", **options)
    second = runner.invoke(app, ["search", *words, "--json"])
    assert second.exit_code == 0, second.output
    counts = json.loads(second.stdout.strip().splitlines()[-1])["trials"]
    assert counts["complete"] == 4
    study = optuna.load_study(study_name="second", storage=f"sqlite:///{tmp_path}/nas.db")
    assert all(trial.user_attrs["reused_from"].startswith("tiny/") for trial in study.trials[:4])
    values = [trial.value for trial in study.trials[:4]]
    assert values == sorted(values, reverse=True)
    words = arguments(tmp_path, sampler="nas", study="third", **options)
    third = runner.invoke(app, ["search", *words, "--no-warm-start", "--json"])
    assert third.exit_code == 0, third.output
    told = optuna.load_study(study_name="third", storage=f"sqlite:///{tmp_path}/nas.db").trials
    assert [t.params for t in told[:4]] != [t.params for t in study.trials[:4]]


def test_what_other_studies_trained_is_no_measure_for_the_pruner(tmp_path: Path) -> None:
    """A study that begins with good networks of another prunes none of its own first trials."""
    runner = CliRunner()
    options = {"trials": 6, "epochs": 3, "images": 16, "pruner": "median", "workers": 0}
    for study, sampler in (("first", "random"), ("second", "nas")):
        words = arguments(tmp_path, sampler=sampler, study=study, **options)
        result = runner.invoke(app, ["search", *words])
        assert result.exit_code == 0, result.output
    trials = optuna.load_study(study_name="second", storage=f"sqlite:///{tmp_path}/nas.db").trials
    own = [trial for trial in trials if "reused_from" not in trial.user_attrs]
    assert len(trials) - len(own) >= 5
    assert all(trial.state == TrialState.COMPLETE for trial in own[:5])


def test_a_network_of_an_unknown_block_stops_no_other_search(tmp_path: Path) -> None:
    """What a store has of a block that is not known here is left out, not stumbled over."""
    runner = CliRunner()
    options = {"trials": 2, "epochs": 1, "images": 16, "workers": 0}
    first = runner.invoke(app, ["search", *arguments(tmp_path, sampler="random", **options)])
    assert first.exit_code == 0, first.output
    with sqlite3.connect(tmp_path / "nas.db") as connection:
        connection.execute("UPDATE nas_architectures SET json = replace(json, 'mbconv', 'gone')")
    words = arguments(tmp_path, sampler="nas", study="second", **options)
    second = runner.invoke(app, ["search", *words, "--json"])
    assert second.exit_code == 0, second.output


def test_a_search_uses_it_and_keeps_what_it_expected(tmp_path: Path) -> None:
    """`nas search --sampler nas` trains different networks; predictions are stored with trials."""
    words = arguments(tmp_path, trials=11, epochs=1, images=16, sampler="nas", workers=0)
    result = CliRunner().invoke(app, ["search", *words])
    assert result.exit_code == 0, result.output
    rows = sqlite3.connect(tmp_path / "nas.db").execute(
        "SELECT key, value_json FROM trial_user_attributes"
    )
    found = [(key, json.loads(value)) for key, value in rows]
    assert len({value for key, value in found if key == "architecture_id"}) == 11
    assert {"predicted_mean", "predicted_spread"} <= {key for key, _ in found}


def test_a_front_begins_at_the_worst_metric_with_lessons_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a lesson expects of a network is taken out before the surrogate, not of the floor."""

    class Taught:
        study = "taught"
        assignments = ()

        def expect(self, assignments: Any) -> Any:
            return np.array([{"x": -2.0, "y": 0.0, "z": 2.0}[each["p"]] for each in assignments])

        def metric(self, expected: Any) -> Any:
            return expected

    distributions: Any = {
        "p": CategoricalDistribution(("x", "y", "z")), "q": CategoricalDistribution((1, 2, 3, 4))
    }  # fmt: skip
    seen = [
        Observation({"p": p, "q": q}, Preview((p, q), 1.0, (0.0,), True, q / 10), 0.5 + i / 10)
        for i, p in enumerate("xyz") for q in (1, 2, 3, 4)
    ]  # fmt: skip
    floors: list[float] = []

    def noting(front: Any, floor: float, *others: Any) -> Any:
        floors.append(floor)
        return growth(front, floor, *others)

    monkeypatch.setattr(_acquisition, "growth", noting)
    for lessons in ([], [Taught()]):
        encoder = Encoder(distributions, lessons=lessons)  # type: ignore[arg-type]
        made = Acquisition(seen, [], encoder, random.Random(0), front=True)
        points = encoder.encode([each.values for each in seen], [each.look for each in seen])
        made.improvement(points, [each.look for each in seen])
    assert floors == pytest.approx([0.5, 0.5])
