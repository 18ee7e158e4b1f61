"""Trials as workers write them: claims, leases, fencing, reuse, and what Optuna sees of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from store_kit import (
    file_url,
    opened,
    point,
    proposal,
    ready,
    spent,
    trials,
    write_too_late,
)

from nas.errors import LostLease, StoreError
from nas.store import queries
from nas.store.records import Lease, Proposal
from nas.store.store import Store
from nas.store.trials import Trials


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return a new store on each kind of database."""
    with ready(request.param, tmp_path) as url, opened(url) as made:
        yield made


def leased(mine: Trials, name: str = "a", **options: int) -> Lease:
    """Start a proposal that nobody has started before."""
    lease = mine.start(proposal(name, **options)).lease
    assert lease is not None
    return lease


def test_a_trial_is_visible_to_optuna_from_its_start(store: Store) -> None:
    """Optuna sees parameters, distribution, attributes and start before a second of training."""
    mine = trials(store)
    lease = leased(mine)
    (seen,) = mine.optuna_study().get_trials(deepcopy=False)
    assert (seen.number, seen.state, seen.params) == (
        0,
        TrialState.RUNNING,
        {"stage3.kernels": "3.5"},
    )
    assert seen.distributions == dict(proposal().distributions)
    assert seen.user_attrs["architecture_id"] == "a"
    assert seen.user_attrs["macs"] == 2_000_000
    assert seen.datetime_start is not None
    assert lease.attempt == 1


def test_a_finished_trial_is_optunas_best(store: Store) -> None:
    """Values, curve, metrics and both times are where Optuna looks for them."""
    mine = trials(store)
    lease = leased(mine)
    values = [mine.report(lease, point(epoch, epoch / 10)) for epoch in (1, 2, 3)]
    mine.finish(lease, "complete", metrics={"accuracy": 0.3}, seconds=6.0, checkpoint="c/a")
    best = mine.optuna_study().best_trial
    assert values == [0.1, 0.2, 0.3]
    assert (best.value, best.intermediate_values) == (0.3, {1: 0.1, 2: 0.2, 3: 0.3})
    assert best.user_attrs["metrics"] == {"accuracy": 0.3}
    assert best.datetime_complete is not None
    with store.read() as connection:
        stored = queries.evaluation(connection, lease.evaluation_id)
    assert (stored.state, stored.seconds, stored.checkpoint) == ("complete", 6.0, "c/a")


def test_one_class_and_reason_are_shown(store: Store) -> None:
    """A model that predicts one class is flagged, a failed trial says why."""
    mine = trials(store)
    mine.finish(leased(mine, "a"), "complete", metrics={"accuracy": 0.6, "predicted_classes": 1})
    mine.finish(leased(mine, "b"), "failed", reason="the loss became NaN")
    first, second = mine.optuna_study().trials
    assert first.user_attrs["one_class"] is True
    assert (second.state, second.user_attrs["reason"]) == (TrialState.FAIL, "the loss became NaN")


def test_a_score_that_is_no_number_fails_the_trial(store: Store) -> None:
    """Optuna can't hold NaN as a value, so such a trial is failed with a reason."""
    mine = trials(store)
    mine.score = lambda *_: float("nan")
    mine.finish(leased(mine), "complete", metrics={"accuracy": 0.6})
    (told,) = mine.optuna_study().trials
    assert told.state is TrialState.FAIL
    assert "not a number" in told.user_attrs["reason"]


def test_a_pruned_trial_keeps_its_last_value(store: Store) -> None:
    """As Optuna does it: the value of a pruned trial is its last intermediate value."""
    mine = trials(store)
    lease = leased(mine)
    mine.report(lease, point(1, 0.25))
    mine.finish(lease, "pruned")
    (told,) = mine.optuna_study().trials
    assert (told.state, told.value) == (TrialState.PRUNED, 0.25)


def test_the_pruner_sees_the_reported_values(store: Store) -> None:
    """A trial below the median of those before it is to be pruned."""
    mine = trials(store)
    study = mine.optuna_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    good = leased(mine, "a")
    mine.report(good, point(1, 0.9))
    mine.finish(good, "complete", metrics={"accuracy": 0.9})
    bad = leased(mine, "b")
    mine.report(bad, point(1, 0.1))
    assert mine.should_prune(bad, study)


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_what_was_evaluated_is_reused(state: str, store: Store) -> None:
    """The second proposal of an architecture is told at once, with the stored value and curve."""
    mine = trials(store)
    lease = leased(mine)
    mine.report(lease, point(1, 0.5))
    value = mine.finish(lease, state, metrics={"accuracy": 0.5}, reason="r")  # type: ignore[arg-type]
    again = mine.start(proposal())
    first, second = mine.optuna_study().trials
    assert (again.outcome, again.lease, again.value, again.number) == (state, None, value, 1)
    assert (second.state, second.values) == (first.state, first.values)
    assert second.intermediate_values == {1: 0.5}
    assert second.user_attrs["reused_from"] == "s/0"
    assert second.datetime_complete is not None
    assert spent(mine) == 1


def test_reuse_crosses_studies_but_not_fidelities(store: Store) -> None:
    """Another study with the same recipe reuses; more epochs are another evaluation."""
    mine = trials(store)
    mine.finish(leased(mine), "complete", metrics={"accuracy": 0.5})
    other = trials(store, study="other")
    assert other.start(proposal()).outcome == "complete"
    assert other.start(proposal(fidelity=6)).outcome == "run"
    assert other.optuna_study().trials[0].user_attrs["reused_from"] == "s/0"
    assert spent(other) == 1


def test_a_failure_of_another_study_is_tried_again(store: Store) -> None:
    """What failed in this study is reused as failed; what failed in another has a new chance."""
    mine, other = trials(store), trials(store, worker="w2", study="other")
    mine.finish(leased(mine), "failed", reason="out of memory")
    assert mine.start(proposal(), budget=1).outcome == "failed"
    assert other.start(proposal(), budget=0).outcome == "budget"
    again = other.start(proposal(), budget=1)
    assert again.lease is not None
    assert again.evaluation is not None
    assert (again.number, again.lease.attempt, again.evaluation.deaths) == (0, 2, 0)
    other.finish(again.lease, "complete", metrics={"accuracy": 0.5})
    assert other.optuna_study().best_value == 0.5


def test_what_runs_elsewhere_makes_no_trial(store: Store) -> None:
    """A proposal in flight is answered with who trains it, and asked again once it is done."""
    mine, other = trials(store), trials(store, worker="w2")
    lease = leased(mine)
    waiting = other.start(proposal())
    assert waiting.evaluation is not None
    assert (waiting.outcome, waiting.number, waiting.evaluation.worker) == ("elsewhere", None, "w1")
    mine.finish(lease, "complete", metrics={"accuracy": 0.5})
    assert other.start(proposal()).outcome == "complete"


def test_a_budget_is_never_exceeded(store: Store) -> None:
    """The last trial of a budget is the last, reused ones come free."""
    mine = trials(store)
    outcomes = [mine.start(proposal(name), budget=2).outcome for name in "abc"]
    assert outcomes == ["run", "run", "budget"]
    assert len(mine.optuna_study().trials) == 2


def test_a_proposal_by_number_follows_the_number_that_its_trial_gets(store: Store) -> None:
    """Where another worker took the number, the proposal for the next one is stored, once asked."""
    mine, other = trials(store), trials(store, worker="w2")
    asked: list[int] = []

    def by_number(number: int) -> Proposal:
        asked.append(number)
        return replace(proposal(f"network{number}"), number=number)

    first = by_number(0)
    assert other.start(by_number(0), by_number=by_number).number == 0
    started = mine.start(first, by_number=by_number)
    assert (started.number, asked) == (1, [0, 0, 1])
    assert started.evaluation is not None
    assert started.evaluation.architecture_id == "network1"


def test_what_has_ended_is_read_once_and_nothing_is_missed(store: Store) -> None:
    """A climb read again and again holds what one that is read anew holds, whoever ends first."""
    mine, elsewhere = trials(store), trials(store, study="other")
    known = leased(elsewhere, "known")
    elsewhere.finish(known, "complete", metrics={"accuracy": 0.9})
    climb, leases = queries.Climb(mine.info.id), [leased(mine, name) for name in "abc"]

    def same() -> list[tuple[int, float | None]]:
        with store.read() as connection:
            again, anew = climb.read(connection), queries.Climb(mine.info.id).read(connection)
        assert again == anew
        return [(one.number, one.score) for one in again]

    assert same() == [(0, None), (1, None), (2, None)]
    mine.finish(leases[1], "failed", reason="it burst")
    assert same() == [(0, None), (1, None), (2, None)]
    mine.start(proposal("known"))
    mine.finish(leases[0], "complete", metrics={"accuracy": 0.5})
    assert same() == [(0, 0.5), (1, None), (2, None), (3, 0.9)]
    mine.start(proposal("a"))  # a trial of its own, but no new evaluation
    mine.finish(leases[2], "complete", metrics={"accuracy": 0.7})
    assert same() == [(0, 0.5), (1, None), (2, 0.7), (3, 0.9)]


def test_an_expired_lease_is_taken_over_once(store: Store) -> None:
    """The same trial goes on with the next attempt number; its old worker is refused everything."""
    dead, second, third = (trials(store, worker=name, lease=60.0) for name in ("w1", "w2", "w3"))
    old = leased(dead)
    dead.report(old, point(1, 0.4))
    assert second.adopt() is None
    dead.release(old)
    adopted = second.adopt()
    assert adopted is not None
    assert adopted.lease is not None
    assert (adopted.number, adopted.lease.attempt, adopted.lease.trial_id) == (0, 2, old.trial_id)
    assert third.adopt() is None
    assert write_too_late(dead, old) == []
    assert second.report(adopted.lease, point(2, 0.6)) == 0.6
    second.finish(adopted.lease, "complete", metrics={"accuracy": 0.6})
    (told,) = second.optuna_study().trials
    assert (told.value, told.intermediate_values) == (0.6, {1: 0.4, 2: 0.6})


def test_deaths_are_counted_apart_from_attempts(store: Store) -> None:
    """A worker that dies counts, one that lets go doesn't, and an epoch makes up for all."""
    deaths, workers = [], [trials(store, worker=f"w{index}") for index in range(5)]
    lease = leased(workers[0])
    for index, dies in enumerate((True, False, True, True), start=1):
        if dies:
            assert store.expire(workers[0].info.id, lease.worker.__eq__) == 1
        else:
            workers[index - 1].release(lease)
        adopted = workers[index].adopt()
        assert adopted is not None
        assert adopted.lease is not None
        assert adopted.evaluation is not None
        lease = adopted.lease
        deaths.append(adopted.evaluation.deaths)
        if index == 3:
            workers[index].report(lease, point())
    assert (deaths, lease.attempt) == ([1, 1, 2, 1], 5)


def test_a_trial_that_nobody_trains_is_stopped(store: Store) -> None:
    """Running in Optuna's eyes, by the database's clock it is free to be taken over."""
    mine = trials(store)
    kept, let_go = leased(mine, "a"), leased(mine, "b")
    mine.release(let_go)
    with store.read() as connection:
        running = queries.running(connection, mine.info.id)
    assert [(trial.number, trial.stopped, trial.worker) for trial in running] == [
        (kept.number, False, "w1"),
        (let_go.number, True, ""),
    ]
    assert trials(store, worker="w2").adopt() is not None
    with store.read() as connection:
        assert not any(each.stopped for each in queries.running(connection, mine.info.id))


def test_a_renewed_lease_is_kept(store: Store) -> None:
    """Renewing puts the end off, by the database's clock."""
    mine = trials(store, lease=60.0)
    lease = leased(mine)
    mine.release(lease)
    mine.renew(lease)
    assert trials(store, worker="w2").adopt() is None


def test_a_finished_lease_is_over(store: Store) -> None:
    """Nothing is written twice."""
    mine = trials(store)
    lease = leased(mine)
    mine.finish(lease, "complete", metrics={"accuracy": 0.5})
    assert write_too_late(mine, lease) == []
    with pytest.raises(LostLease, match="attempt 1 of w1"):
        mine.renew(lease)


def test_proposing_a_dead_workers_architecture_goes_on_with_its_trial(store: Store) -> None:
    """In the same study no second trial is made for it."""
    dead, alive = trials(store), trials(store, worker="w2")
    dead.release(leased(dead))
    started = alive.start(proposal())
    assert started.lease is not None
    assert (started.number, started.lease.attempt) == (0, 2)
    assert len(alive.optuna_study().trials) == 1


def test_another_study_takes_over_and_the_first_learns_of_it(store: Store) -> None:
    """The evaluation is trained once; the dead study's trial is told with where it came from."""
    dead, alive = trials(store), trials(store, worker="w2", study="other")
    old = leased(dead)
    dead.report(old, point(1, 0.4))
    dead.release(old)
    started = alive.start(proposal())
    assert started.lease is not None
    alive.finish(started.lease, "complete", metrics={"accuracy": 0.7})
    assert dead.repair() == 1
    (told,) = dead.optuna_study().trials
    assert (told.value, told.user_attrs["reused_from"]) == (0.7, "other/0")
    assert alive.optuna_study().trials[0].intermediate_values == {1: 0.4}
    assert (spent(dead), spent(alive)) == (0, 1)


def test_an_epoch_repeated_after_a_crash_replaces_itself(store: Store) -> None:
    """A curve has one point per epoch."""
    mine = trials(store)
    lease = leased(mine)
    for accuracy in (0.4, 0.5):
        mine.report(lease, point(1, accuracy))
    with store.read() as connection:
        assert queries.curve(connection, lease.evaluation_id) == [point(1, 0.5)]
    assert mine.optuna_study().trials[0].intermediate_values == {1: 0.5}


def test_metrics_that_are_no_numbers_are_null(store: Store) -> None:
    """JSON and SQL know no NaN; a metric without a value is null."""
    mine = trials(store)
    lease = leased(mine)
    mine.finish(lease, "complete", metrics={"accuracy": 0.5, "auroc": float("nan")})
    with store.read() as connection:
        stored = queries.evaluation(connection, lease.evaluation_id)
    assert stored.metrics == {"accuracy": 0.5, "auroc": None}


def test_a_lost_database_is_a_store_error(tmp_path: Path) -> None:
    """A write that the database refuses names the store and what to do."""
    with opened(file_url(tmp_path)) as store:
        mine = trials(store)
        lease = leased(mine)
        for table in ("trial_intermediate_values", "nas_curve_points"):  # Optuna's, then ours
            with store.write() as connection:
                connection.exec_driver_sql(f"DROP TABLE {table}")
            with pytest.raises(StoreError, match="Can't write the store"):
                mine.report(lease, point())
        with pytest.raises(StoreError, match="Can't read the store"):
            mine.should_prune(lease, mine.optuna_study(pruner=optuna.pruners.MedianPruner()))
