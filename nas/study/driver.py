"""The driver: starts workers, restarts those that die, and shows how far the search is.

It holds no state that matters; when it dies, the same command goes on.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.config import Config
from nas.errors import NasError, StoreError, UserError
from nas.executors import MISTAKE, Executor, Handle, Work
from nas.store import queries
from nas.store.store import Store
from nas.study import worker as study_worker
from nas.study.disk import little_space
from nas.study.worker import WorkOrder

TICK = 0.25  # seconds between two looks at the workers
SHOWN = 1.0  # seconds between two snapshots
PATIENCE = 30.0  # seconds that workers get to stop when asked
MAX_RESTARTS = 20  # without the study coming further
MAX_WAIT = 10  # seconds before a worker is replaced, more each time
SEEN_ENOUGH = 0.5  # trials, until the pace is believed


@dataclass(frozen=True)
class Snapshot:
    """How far a search is, for whoever shows it. Times in seconds."""

    study: str
    budget: int | None
    counts: queries.Counts
    best: queries.TrialInfo | None
    running: tuple[tuple[int, int], ...]  # (trial number, epochs done)
    epochs: int
    elapsed: float
    remaining: float | None
    metric: str
    notice: str | None = None  # why the search waits, if it does
    fidelities: Mapping[int, int] = field(default_factory=dict)  # epochs: complete evaluations

    @property
    def done(self) -> float:
        """Trials that have ended, and what share of the others was trained."""
        counts = self.counts
        ended = counts.complete + counts.pruned + counts.failed
        return ended + sum(epochs / self.epochs for _, epochs in self.running)


Watch = Callable[[Snapshot], None]


@dataclass
class Driver:
    """Runs the workers of one study, as many at once as the executor has.

    `estimate` is the seconds of one trial until some are seen. `module` is the module that a worker
    process runs: one with another evaluator calls `main` and `run` of `nas.study.worker` with it.
    """

    order: WorkOrder
    config: Config
    executor: Executor
    estimate: float
    watch: Watch
    module: str = study_worker.__name__

    def run(self) -> bool:
        """Run workers until there is nothing left to do; return False when a person stopped them.

        Raises the UserError a worker ended with, and NasError when workers die again and again.
        """
        mine = f"{socket.gethostname()}:{os.getpid()}"
        names = [f"{mine}:{n}" for n in range(1, self.executor.workers + 1)]
        handles: dict[str, Handle] = {}
        try:
            self._expire(is_dead)
            for name in names:
                handles[name] = self.executor.start(self._work(name))
            self._supervise(handles)
        except KeyboardInterrupt:
            _stop(handles.values())
            return False
        except BaseException:
            _stop(handles.values())
            raise
        return True

    def _supervise(self, handles: dict[str, Handle]) -> None:
        """Watch the workers; one that died is replaced, its trial free for others at once."""
        started = shown = time.time()
        before = seen = self._snapshot(started, 0.0).done
        restarts = 0  # since the study last came further
        while True:
            ended = {name: handle.poll() for name, handle in handles.items()}
            for name, status in ended.items():
                if status:
                    restarts += 1
                    _check_death(handles[name], status, restarts)
                    with suppress(StoreError):  # else its lease runs out by itself
                        self._expire(lambda worker, dead=name: worker == dead)  # type: ignore[misc]
                    time.sleep(min(restarts, MAX_WAIT))
                    handles[name] = self.executor.start(self._work(name))
            if all(status == 0 for status in ended.values()):
                break
            if time.time() - shown >= SHOWN:
                shown = time.time()
                done = self._show(started, before)
                if done is not None and done > seen:
                    seen, restarts = done, 0
            time.sleep(TICK)
        self._show(started, before)

    def _show(self, started: float, before: float) -> float | None:
        """Show how far the search is; return it, None while the database is away."""
        try:
            snapshot = self._snapshot(started, before)
        except StoreError:  # it shows itself again a second later
            return None
        self.watch(snapshot)
        return snapshot.done

    def _expire(self, dead: Callable[[str], bool]) -> None:
        store = Store.open(self.order.store)
        try:
            with store.read() as connection:
                info = queries.study(connection, self.order.study)
            store.expire(info.id, dead)
        finally:
            store.close()

    def _work(self, name: str) -> Work:
        order = replace(self.order, worker=name, driver=os.getpid())
        return Work(
            module=self.module,
            order=order.to_json(),
            log=str(Path(self.config.folder, "logs", f"worker{name.rpartition(':')[2]}.log")),
            threads=order.threads,
            deadline=order.deadline,
        )

    def _snapshot(self, started: float, before: float) -> Snapshot:
        with queries.connect(self.order.store) as connection:
            study = queries.study(connection, self.order.study)
            counts = queries.counts(connection, study.id)
            running = [
                (trial.number, len(queries.curve(connection, trial.evaluation_id)))
                for trial in queries.running(connection, study.id)
            ]
            best = queries.best(connection, study.id, 1)
            fidelities = queries.fidelities(connection, study.id)
        space = little_space(self.config.checkpoints or self.config.folder)
        snapshot = Snapshot(
            study=self.order.study,
            budget=self.order.trials,
            counts=counts,
            best=best[0] if best else None,
            running=tuple(running),
            epochs=self.config.recipe.epochs,
            elapsed=time.time() - started,
            remaining=None,
            metric=self.config.recipe.metric,
            notice=None if space is None else f"paused: {space}",
            fidelities=fidelities,
        )
        return replace(snapshot, remaining=self._remaining(snapshot, before))

    def _remaining(self, now: Snapshot, before: float) -> float | None:
        """Return the seconds left: by the pace so far once it can be told, or the deadline."""
        limits = (
            [] if self.order.deadline is None else [max(0.0, self.order.deadline - time.time())]
        )
        if self.order.trials is not None:
            seen = now.done - before
            each = (
                now.elapsed / seen if seen > SEEN_ENOUGH else self.estimate / self.executor.workers
            )
            if each:
                limits.append(max(0.0, (self.order.trials - now.done) * each))
        return min(limits, default=None)


def is_dead(worker: str) -> bool:
    """Say whether a worker was started on this machine by a driver that is gone."""
    host, _, rest = worker.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()  # nobody works for this driver yet


def _check_death(handle: Handle, status: int, restarts: int) -> None:
    words = handle.last_words()
    if words.startswith(MISTAKE):
        raise UserError(words.removeprefix(MISTAKE))
    if restarts > MAX_RESTARTS:
        raise NasError(f"{restarts} workers died, the last with status {status}: {words}")


def _stop(handles: Iterable[Handle]) -> None:
    """Ask all workers to stop, wait for them, and end those that do not."""
    stopping = list(handles)
    try:
        for handle in stopping:
            handle.stop()
        for handle in stopping:
            handle.wait(PATIENCE)
    finally:  # a second Ctrl-C ends the waiting
        for handle in stopping:
            handle.kill()
