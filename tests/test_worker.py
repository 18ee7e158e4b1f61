"""The parts of a worker: what the asker asks for first, and how each evaluation may end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import table_kit
from store_kit import opened, ready_file

from nas.architecture import Architecture
from nas.errors import DataError, Diverged, Interrupted
from nas.observers import Observers
from nas.store import queries
from nas.store.records import CurvePoint
from nas.store.store import Store
from nas.study.evaluator import Result, TrialControl
from nas.study.worker import Worker, WorkOrder, assemble


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open a store with a study on a ladder of 1, 3 and 9 epochs."""
    url = ready_file(tmp_path)
    table_kit.study(url, tmp_path)
    with opened(url) as made:
        yield made


class Recorder(Observers):
    """Notes the events of trials in place of observers."""

    def __init__(self) -> None:
        super().__init__(())
        self.events: list[str] = []

    def tell(self, event: str, *what: Any) -> None:
        """Note an event with the detail that tests ask for."""
        detail = what[1] if event in ("ending", "left") else ""
        if event == "started":
            detail = f"{what[0].number} up to {what[0].fidelity}"
        elif event == "epoch":
            detail = what[1].epoch
        elif event == "ended":
            detail = what[3]
        self.events.append(f"{event} {detail}")


class Raising(table_kit.Table):
    """An evaluator that reports an epoch and raises, until there is nothing left to raise."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:
        """Report the first epoch, then raise or go on as the table does."""
        if self.errors:
            control.report(CurvePoint(epoch=1, metrics={"accuracy": 0.5}, seconds=2.0), False)
            raise self.errors.pop(0)
        return super().evaluate(architecture, fidelity, control)


def worker(store: Store, *errors: Exception, trials: int = 1, name: str = "w") -> Worker:
    """Return a worker that trains nothing and notes its events."""
    order = WorkOrder(str(store.url), table_kit.STUDY, name, trials=trials)
    return assemble(order, store, evaluator=Raising(*errors), observers=Recorder())


def events(of: Worker) -> list[str]:
    """Return what a worker's recorder has noted."""
    assert isinstance(of.observers, Recorder)
    return of.observers.events


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Diverged("The loss became nan."), "Diverged: The loss became nan."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_an_architecture_that_fails_ends_its_trial_alone(
    store: Store, error: Exception, reason: str
) -> None:
    """The trial has failed with its reason, and the worker goes on."""
    mine = worker(store, error, trials=2)
    mine.run()
    with store.read() as connection:
        counts = queries.counts(connection, mine.trials.info.id)
        assert queries.failures(connection, mine.trials.info.id) == {reason: 1}
    assert (counts.failed, counts.complete) == (1, 1)
    assert events(mine)[:4] == ["started 0 up to 1", "epoch 1", "ending failed", f"ended {reason}"]


@pytest.mark.parametrize("error", [DataError("images are gone"), OSError("no such host")])
def test_a_fault_of_the_machine_leaves_the_trial_to_others(store: Store, error: Exception) -> None:
    """The error ends the worker; another one adopts the trial, and nobody has died over it."""
    with pytest.raises(type(error)):
        worker(store, error).run()
    started = worker(store, name="other").asker.next()
    assert started is not None
    assert started.lease is not None
    assert started.evaluation is not None
    assert (started.number, started.lease.attempt, started.evaluation.deaths) == (0, 2, 0)


def test_a_stop_is_told_as_left(store: Store) -> None:
    """The interrupted trial is free at once, and the next worker completes it."""
    first = worker(store, Interrupted("asked to stop"))
    started = first.asker.next()
    assert started is not None
    first.evaluate(started)
    assert events(first)[-1] == "left asked to stop"
    second = worker(store, name="other")
    second.run()
    assert events(second)[0] == "started 0 up to 1"


class Resumed(table_kit.Table):
    """An evaluator that restores an epoch and goes on with the next."""

    def evaluate(self, _: Architecture, __: int, control: TrialControl) -> Result:
        """Report both epochs."""
        control.report(CurvePoint(epoch=1, metrics={"accuracy": 0.3}, seconds=2.0), True)
        control.report(CurvePoint(epoch=2, metrics={"accuracy": 0.4}, seconds=2.0), False)
        raise AssertionError("the pruner should have stopped it")


def test_a_trial_that_the_pruner_stops_is_told_with_its_last_metrics(tmp_path: Path) -> None:
    """It is pruned, with the seconds of all epochs; a restored epoch is not shown to anybody."""
    url = ready_file(tmp_path)
    table_kit.study(url, tmp_path, pruner="none")
    with opened(url) as store:
        mine = worker(store)
        mine.evaluator, mine.should_prune = Resumed(), lambda _: True
        mine.run()
        with store.read() as connection:
            (trial,) = queries.trials(connection, mine.trials.info.id)
    assert (trial.state, trial.metrics, trial.seconds) == ("pruned", {"accuracy": 0.4}, 4.0)
    assert events(mine) == ["started 0 up to 9", "epoch 2", "ending pruned", "ended None"]


def test_an_asker_adopts_then_promotes_then_proposes(store: Store) -> None:
    """A free trial comes first; the best goes to the top when the budget is spent."""
    asked = worker(store, trials=3)
    first = asked.asker.next()
    assert first is not None
    assert first.lease is not None
    asked.trials.release(first.lease)
    mine = worker(store, trials=3, name="other")
    mine.run()
    begun = [event for event in events(mine) if event.startswith("started")]
    assert begun[0] == "started 0 up to 1"
    assert begun == sorted(begun, key=lambda event: int(event.split()[1]))
    assert [event.rpartition(" ")[2] for event in begun] == ["1", "1", "1", "3", "9"]
    assert mine.asker.next() is None
    assert not mine.asker.others_run()
