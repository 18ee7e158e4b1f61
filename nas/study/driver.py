"""The driver: starts workers, restarts those that die, and shows how far the search is.

It holds no state that matters; when it dies, the same command goes on.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nas.config import Config
from nas.errors import NasError, StoreError, UserError
from nas.executors import MISTAKE, Executor, Handle, Work
from nas.store import queries
from nas.store.engine import BACK, WAITING, patient
from nas.store.store import Store
from nas.study import worker as study_worker
from nas.study.progress import Progress, Run, Watch, progress
from nas.study.worker import WorkOrder

log = logging.getLogger("nas")
TICK = 0.25  # seconds between two looks at the workers
SHOWN = 1.0  # seconds between two looks at the study
SHARE = 0.02  # of the time, at most, that looking takes
PATIENCE = 30.0  # seconds that workers get to stop when asked
MAX_RESTARTS = 20  # without the study coming further
MAX_WAIT = 10  # seconds before a worker is replaced, more each time


@dataclass
class Driver:
    """Runs the workers of one study, as many at once as the executor has.

    `estimate` is the seconds of one trial until some have ended, `deadline` the end of the time by
    the monotonic clock: a clock that is set meanwhile makes no search longer or shorter. A worker
    process runs `module`: a module with another evaluator calls `main` and `run` of
    `nas.study.worker` with it.
    """

    order: WorkOrder
    config: Config
    executor: Executor
    estimate: float
    watch: Watch
    deadline: float | None = None
    module: str = study_worker.__name__
    is_away: bool = False  # the database, at the last look

    def run(self) -> bool:
        """Run workers until there is nothing left to do; return False when a person stopped them.

        Raises the UserError a worker ended with, and NasError when workers die again and again.
        """
        handles: dict[str, Handle] = {}
        try:
            patient(self._expire)(is_dead)
            for n in range(1, self.executor.workers + 1):
                name = f"{socket.gethostname()}:{os.getpid()}:{n}"
                handles[name] = self.executor.start(self._work(name))
            self._supervise(handles)
        except BaseException as error:
            _stop(handles.values())
            if isinstance(error, KeyboardInterrupt):
                return False
            raise
        return True

    def _supervise(self, handles: dict[str, Handle]) -> None:
        """Watch the workers; one that died is replaced, and its trial is free for others."""
        began, is_late = time.monotonic(), False
        next_look = began + SHOWN
        done, restarts = patient(self.read)(began).done, 0  # since the study last came further
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
            if not is_late and self.deadline is not None and time.monotonic() > self.deadline:
                is_late = True  # workers know their time, but those that wait for a place don't
                for handle in handles.values():
                    handle.stop()
            if (look := time.monotonic()) >= next_look:
                now_done = self._show(began)
                shown = time.monotonic()
                next_look = shown + max(SHOWN, (shown - look) / SHARE)
                if now_done is not None and now_done > done:
                    done, restarts = now_done, 0
            time.sleep(TICK)
        self._show(began)

    def _show(self, began: float) -> float | None:
        """Show the progress; return how many trials are done, None while the database is away."""
        try:
            now = self.read(began)
        except StoreError as error:  # it shows itself again a second later; workers wait for it
            if not self.is_away:
                log.warning("%s the database: %s", WAITING, error)
            self.is_away = True
            return None
        if self.is_away:
            log.warning(BACK)
        self.is_away = False
        self.watch(now)
        return now.done

    def read(self, began: float) -> Progress:
        """Read the study's progress, under the limits of a run that began at a monotonic time."""
        each = self.estimate / self.executor.workers
        run = Run(began=began, trials=self.order.trials, deadline=self.deadline, estimate=each)
        with queries.connect(self.order.store) as connection:
            return progress(connection, queries.study(connection, self.order.study), run)

    def _expire(self, dead: Callable[[str], bool]) -> None:
        with closing(Store.open(self.order.store)) as store:
            with store.read() as connection:
                info = queries.study(connection, self.order.study)
            store.expire(info.id, dead)

    def _work(self, name: str) -> Work:
        left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        order = replace(self.order, worker=name, driver=os.getpid(), seconds=left)
        return Work(
            module=self.module,
            order=order.to_json(),
            log=str(Path(self.config.folder, "logs", f"worker{name.rpartition(':')[2]}.log")),
            threads=order.threads,
        )


def is_dead(worker: str) -> bool:
    """Tell whether a worker was started on this machine by a driver that is gone."""
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


def _stop(handles: Collection[Handle]) -> None:
    """Ask all workers to stop, wait for them, and end those that do not."""
    try:
        for handle in handles:
            handle.stop()
        for handle in handles:
            handle.wait(PATIENCE)
    finally:  # a second Ctrl-C ends the waiting
        for handle in handles:
            handle.kill()
