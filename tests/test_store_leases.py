"""Leases against a model: whoever starts, reports, dies, adopts, finishes or deletes, in any order.

The model knows of each architecture's evaluation its state, its attempt and whether somebody holds
it; the store has to agree after every step.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_kit import delete_study, opened, point, proposal, ready_file, spent, trials

from nas.errors import LostLease
from nas.store import queries
from nas.store.records import Lease
from nas.store.trials import Final

WORKERS = ("w0", "w1", "w2")
NAMES = ("a", "b", "c")


@dataclass
class Model:
    """One evaluation: `holder` is its worker, '' once it is free; `number` that of its trial."""

    state: str
    attempt: int
    holder: str
    number: int | None
    epochs: set[int] = field(default_factory=set)


class Leases(RuleBasedStateMachine):
    """Three workers of one study on SQLite."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.url = ready_file(Path(self.stack.enter_context(TemporaryDirectory())))
        self.store = self.stack.enter_context(opened(self.url))
        self.model: dict[str, Model] = {}
        self.begin()

    def begin(self) -> None:
        """Open the study as each worker does."""
        self.workers = {name: trials(self.store, worker=name) for name in WORKERS}
        self.leases: list[tuple[str, Lease]] = []  # all that were given in this study, old ones too
        self.count = 0  # trials

    def teardown(self) -> None:
        """Close the store."""
        self.stack.close()

    def holds(self, name: str, lease: Lease) -> bool:
        """Tell whether a lease is the newest of an evaluation that runs."""
        return (self.model[name].state, self.model[name].attempt) == ("running", lease.attempt)

    def given(self, name: str, worker: str, lease: Lease | None) -> None:
        """Hold that a lease is what the model says, and remember it."""
        assert lease is not None
        model = self.model[name]
        assert (lease.attempt, lease.number) == (model.attempt, model.number)
        model.holder = worker
        self.leases.append((name, lease))

    @rule(worker=st.sampled_from(WORKERS), name=st.sampled_from(NAMES))
    def start(self, worker: str, name: str) -> None:
        """Propose: a new one runs, a free one is taken over, another's is left, the rest reused."""
        started = self.workers[worker].start(proposal(name))
        model = self.model.get(name)
        if model is None:
            model = self.model[name] = Model("running", 1, worker, self.count)
            self.count += 1
        elif model.state == "running" and model.holder:
            assert (started.outcome, started.lease) == ("elsewhere", None)
            return
        elif model.state == "running":
            model.attempt += 1
        elif model.state == "failed" and model.number is None:  # in a study that was deleted
            model.state, model.number = "running", self.count
            model.attempt += 1
            self.count += 1
        else:
            assert (started.outcome, started.number) == (model.state, self.count)
            self.count += 1
            return
        assert started.outcome == "run"
        self.given(name, worker, started.lease)

    @rule(worker=st.sampled_from(WORKERS))
    def adopt(self, worker: str) -> None:
        """The oldest trial that nobody else holds goes on with the next attempt."""
        started = self.workers[worker].adopt()
        free = [
            (model.number, name)
            for name, model in self.model.items()
            if model.state == "running" and model.holder in ("", worker)
        ]
        if not free:
            assert started is None
            return
        assert started is not None
        _, name = min(free)
        self.model[name].attempt += 1
        self.given(name, worker, started.lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), epoch=st.integers(1, 3))
    def report(self, data: st.DataObject, epoch: int) -> None:
        """An epoch is stored under the newest lease alone, which is held again by that."""
        name, lease = data.draw(st.sampled_from(self.leases))
        if not self.holds(name, lease):
            with pytest.raises(LostLease):
                self.workers[lease.worker].report(lease, point(epoch))
            return
        self.workers[lease.worker].report(lease, point(epoch))
        self.model[name].epochs.add(epoch)
        self.model[name].holder = lease.worker

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A lease that is let go is free for all."""
        name, lease = data.draw(st.sampled_from(self.leases))
        if not self.holds(name, lease):
            with pytest.raises(LostLease):
                self.workers[lease.worker].release(lease)
            return
        self.workers[lease.worker].release(lease)
        self.model[name].holder = ""

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """What a dead worker held is free for all."""
        self.store.expire(self.workers[worker].info.id, worker.__eq__)
        for model in self.model.values():
            if model.state == "running" and model.holder == worker:
                model.holder = ""

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), state=st.sampled_from(["complete", "pruned", "failed"]))
    def finish(self, data: st.DataObject, state: Final) -> None:
        """The newest lease alone ends an evaluation."""
        name, lease = data.draw(st.sampled_from(self.leases))
        metrics = {"accuracy": 0.5}
        if not self.holds(name, lease):
            with pytest.raises(LostLease):
                self.workers[lease.worker].finish(lease, state, metrics=metrics)
            return
        self.workers[lease.worker].finish(lease, state, metrics=metrics)
        self.model[name].state = state

    @rule()
    def delete(self) -> None:
        """Optuna's dashboard deletes the study: what ended stays, what ran has failed."""
        delete_study(self.url, "s")
        self.begin()
        for model in self.model.values():
            model.number = None
            model.state = "failed" if model.state == "running" else model.state

    @invariant()
    def agrees(self) -> None:
        """Evaluations, their curves and Optuna's trials are as the model has them."""
        mine = self.workers["w0"]
        with self.store.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT architecture_id, state, attempt, number, id FROM nas_evaluations"
            ).all()
            curves = {row.id: {p.epoch for p in queries.curve(connection, row.id)} for row in rows}
            running = queries.counts(connection, mine.info.id).running
        assert {row[0]: (*row[1:4], curves[row.id]) for row in rows} == {
            name: (model.state, model.attempt, model.number, model.epochs)
            for name, model in self.model.items()
        }
        own = [model for model in self.model.values() if model.number is not None]
        assert running == sum(model.state == "running" for model in own)
        assert spent(mine) == len(own)


Leases.TestCase.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
TestLeases = Leases.TestCase
