"""Crashes and races, with real processes: SIGKILL, one lease, one key, one budget, one new file."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from store_kit import (
    adopt_at,
    file_url,
    has_postgresql,
    open_at,
    opened,
    point,
    proposal,
    scratch_database,
    spent,
    start_at,
    train_until_killed,
    trials,
)

from nas.errors import StoreAway
from nas.store import queries
from nas.store.optuna_storage import BatchedStorage
from nas.store.records import Lease
from nas.store.store import Store
from nas.store.trials import Trials

SPAWN = multiprocessing.get_context("spawn")


def race(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run a function in as many processes at the same moment and return what they said."""
    begin, said = SPAWN.Barrier(len(arguments)), SPAWN.Queue()
    workers = [SPAWN.Process(target=target, args=(begin, said, *each)) for each in arguments]
    for worker in workers:
        worker.start()
    answers = [said.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    return answers


def test_a_killed_worker_loses_nothing_it_reported(url: str) -> None:
    """After SIGKILL the lease runs out, and the next worker goes on with the same trial."""
    said = SPAWN.Queue()
    worker = SPAWN.Process(target=train_until_killed, args=(url, said))
    worker.start()
    number = said.get(timeout=120)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join(60)
    with opened(url) as store:
        mine = trials(store, worker="next")
        deadline = time.monotonic() + 60
        while (adopted := mine.adopt()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert adopted is not None
        assert adopted.lease is not None
        with store.read() as connection:
            epochs = [each.epoch for each in queries.curve(connection, adopted.lease.evaluation_id)]
        assert (adopted.number, adopted.lease.attempt, epochs) == (number, 2, [1, 2])
        mine.finish(adopted.lease, "complete", metrics={"accuracy": 0.7})
        assert mine.optuna_study().best_value == 0.7


def test_one_of_several_workers_gets_an_expired_lease(url: str) -> None:
    """The attempt number goes up by one, once."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.release(lease)
    answers = race(adopt_at, [(url, f"w{index}") for index in range(3)])
    assert sorted(answers, key=str) == [2, None, None]


def test_one_key_is_evaluated_once_and_the_budget_holds(url: str) -> None:
    """Workers that propose the same architectures at once share them out, within the budget."""
    names = [f"a{index}" for index in range(6)]
    with opened(url) as store:
        trials(store)
    answers = race(start_at, [(url, f"w{index}", names, 4) for index in range(3)])
    outcomes = [outcome for answer in answers for outcome in answer]
    assert outcomes.count("run") == 4
    assert set(outcomes) <= {"run", "elsewhere", "complete", "budget"}
    with opened(url) as store:
        mine = trials(store)
        told = mine.optuna_study().trials
        assert [trial.number for trial in told] == list(range(len(told)))
        assert all(trial.state is TrialState.COMPLETE for trial in told)
        own = [trial for trial in told if "reused_from" not in trial.user_attrs]
        assert len(own) == spent(mine) == 4
        assert len({trial.user_attrs["architecture_id"] for trial in own}) == 4


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_several_processes_may_create_a_store_at_once(kind: str, tmp_path: Path) -> None:
    """Whoever is first makes the tables and the study; the others find them."""
    if kind == "sqlite":
        assert race(open_at, [(file_url(tmp_path),)] * 3) == ["opened"] * 3
        return
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    with scratch_database() as url:
        assert race(open_at, [(url,)] * 3) == ["opened"] * 3


class Crash(Exception):
    """Stands for the process's end at this point."""


def crash(*_arguments: object, **_named: object) -> None:
    """End the process here."""
    raise Crash


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_crash_while_a_trial_is_told_leaves_it_running(
    state: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our row and Optuna's trial end together or not at all; the same worker can tell it again."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.report(lease, point(1, 0.5))
        with monkeypatch.context() as patch:
            patch.setattr(BatchedStorage, "end_trial", crash)
            with pytest.raises(Crash):
                mine.finish(lease, state, metrics={"accuracy": 0.5}, reason="r")  # type: ignore[arg-type]
        assert evaluation_state(mine, lease) == "running"
        assert mine.optuna_study().trials[0].state is TrialState.RUNNING
        mine.finish(lease, state, metrics={"accuracy": 0.5}, reason="r")  # type: ignore[arg-type]
        (told,) = mine.optuna_study().trials
        assert told.state.name.lower().startswith(state[:4])
        assert told.value == (None if state == "failed" else 0.5)
        assert evaluation_state(mine, lease) == state


def test_a_crash_while_an_epoch_is_stored_leaves_the_epoch_before(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve and what Optuna shows of it have the same epochs."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.report(lease, point(1, 0.5))
        with monkeypatch.context() as patch:
            patch.setattr(BatchedStorage, "show_values", crash)
            with pytest.raises(Crash):
                mine.report(lease, point(2, 0.6))
        with store.read() as connection:
            assert [each.epoch for each in queries.curve(connection, lease.evaluation_id)] == [1]
        assert mine.optuna_study().trials[0].intermediate_values == {1: 0.5}
        mine.report(lease, point(2, 0.6))
        assert mine.optuna_study().trials[0].intermediate_values == {1: 0.5, 2: 0.6}


@pytest.mark.parametrize("step", ["insert_trial", "_rows"])
def test_a_crash_while_a_trial_is_made_costs_nothing(
    step: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No claim is left without a trial, and no trial without an evaluation."""
    with opened(url) as store:
        dead, alive = trials(store), trials(store, worker="w2")
        with monkeypatch.context() as patch:
            patch.setattr(BatchedStorage, step, crash)
            with pytest.raises(Crash):
                dead.start(proposal(), budget=1)
        assert (spent(alive), alive.adopt(), alive.optuna_study().trials) == (0, None, [])
        started = alive.start(proposal(), budget=1)
        assert (started.outcome, started.number) == ("run", 0)


def test_a_step_whose_answer_was_lost_is_not_taken_twice(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that learns too late that its commit went through finds what it wrote."""
    commits = iter(range(100))
    with opened(url) as store:
        mine = trials(store)

        @contextmanager
        def write() -> Iterator[Any]:
            with Store.write(store) as connection:
                yield connection
            if next(commits) == 0:
                raise StoreAway("the server closed the connection")

        monkeypatch.setattr(store, "write", write)
        assert mine.start(proposal()).outcome == "elsewhere"  # so it seems: it is this worker's
        found = mine.adopt()
        assert found is not None
        assert found.lease is not None
        assert (found.number, found.lease.attempt) == (0, 2)
        commits = iter(range(100))
        mine.report(found.lease, point(1, 0.5))
        commits = iter(range(100))
        mine.finish(found.lease, "complete", metrics={"accuracy": 0.5})
        (told,) = mine.optuna_study().trials
        assert (told.state, told.value) == (TrialState.COMPLETE, 0.5)
        assert told.intermediate_values == {1: 0.5}


def evaluation_state(mine: Trials, lease: Lease) -> str:
    """Return what our tables say of a lease's evaluation."""
    with mine.store.read() as connection:
        return queries.evaluation(connection, lease.evaluation_id).state


def test_two_drivers_of_one_study_record_one_look(url: str) -> None:
    """Of several that come to the same end at once, one records its look at the test split."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.report(lease, point())
        mine.finish(lease, "complete", metrics={"accuracy": 0.5})
        begin = threading.Barrier(4)

        def look() -> None:
            begin.wait(60)
            store.look_at_test(mine.info.id, lease.evaluation_id, {"accuracy": 0.4}, once=True)

        drivers = [threading.Thread(target=look) for _ in range(4)]
        for driver in drivers:
            driver.start()
        for driver in drivers:
            driver.join(60)
        with store.read() as connection:
            looks = queries.test_looks(connection, mine.info.id)
    assert looks == [(lease.evaluation_id, {"accuracy": 0.4})]
