"""`nas worker`: takes searches from the store's queue, one after the other, and runs them.

It holds a lease on the search while a process of its own runs it: it sees there when somebody wants
the search paused or cancelled, and when it dies another worker goes on with it.
"""

import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.errors import LostLease, StoreAway, StoreError
from nas.executors import Work
from nas.executors.local import LocalProcesses, WorkerProcess
from nas.files import check_folder
from nas.service import searching
from nas.service.searching import SearchOrder
from nas.service.serve import SERVER
from nas.store import dashboard, queries, searches
from nas.store.engine import masked, patient, resolve
from nas.store.searches import Search
from nas.store.store import Store
from nas.study import options
from nas.study.driver import is_dead

log = logging.getLogger("nas")
LEASE = 30.0  # seconds that a search is held without a sign of life
RENEWED = 5.0  # seconds between two signs
TICK = 0.5  # seconds between two looks at a search that runs, and at an empty queue
PAUSE = 10.0  # seconds after a search that can't begin here
PATIENCE = 60.0  # seconds that a search gets to stop when asked
LOGS = ".searches"  # folder of the processes' last words, beside the studies
STOPPED = (searching.STOPPED, -signal.SIGINT)  # the last: before Python was ready for it


def work(
    store: str | None = None,
    where: Mapping[str, Any] | None = None,
    *,
    once: bool = False,
    stop: threading.Event | None = None,
) -> int:
    """Take searches and run them until `stop` is set, with `once` at most one; return how many.

    `where` has the options of a search that its worker decides. Raises UserError, before anything
    is taken, for one of them that is wrong, and StoreError for a store that can't be opened.
    """
    url, given = resolve(store), {"out": options.declared()["out"].default, **(where or {})}
    asked = options.read(given)
    asked.new_executor()
    check_folder(Path(asked.out))
    with closing(patient(Store.open)(url)) as opened:
        worker = QueueWorker(opened, url, given, stop or threading.Event())
        log.info("a worker of %s", masked(url))
        return worker.run(once=once)


@dataclass
class QueueWorker:
    """One worker; `stop` ends it, and lets its search go on elsewhere.

    `stuck` are the searches that it could not delete.
    """

    store: Store
    url: str
    where: Mapping[str, Any]
    stop: threading.Event
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    stuck: set[str] = field(default_factory=set)

    def run(self, *, once: bool) -> int:
        """Work until asked to stop; return how many searches were taken."""
        taken = 0
        while not self.stop.is_set():
            try:
                search = patient(self._next)()
            except StoreAway as error:
                log.warning("still waiting for the database: %s", error)
                continue
            if search is not None:
                taken += 1
                self.run_search(search)
            if once:
                break
            if search is None:
                self.stop.wait(TICK)
        return taken

    def _next(self) -> Search | None:
        """Take a search; without one to take nothing is locked."""
        with self.store.read() as connection:
            deleted = searches.to_delete(connection)
            dead = {holder for holder in searches.holders(connection) if is_dead(holder)}
            waits = searches.waits(connection)
        for search in deleted:
            self._delete(search)
        if not (waits or dead):
            return None
        with self.store.write() as connection:
            searches.expire(connection, dead)
            return searches.take(connection, self.name, LEASE)

    def _delete(self, search: Search) -> None:
        """Delete a search; where that fails here another worker, or this one's next start, may."""
        if search.id in self.stuck:
            return
        try:
            delete(self.store, search)
        except (OSError, StoreError) as error:
            self.stuck.add(search.id)
            log.warning("search %s is not deleted: %s", search.id, error)

    def run_search(self, search: Search) -> None:
        """Run a search that was taken, until its end or until somebody wants it stopped."""
        log.info("search %s: attempt %d begins", search.id, search.attempt)
        try:
            process = self._start(search)
        except OSError as error:  # no space for its log, too many processes
            self._give_back(search, f"This worker can't begin it: {error.strerror}.")
            self.stop.wait(PAUSE)
            return
        try:
            since = self._watch(search, process)
            self._end(search, process, since)
        except (LostLease, StoreAway) as error:  # another worker goes on with it
            log.warning("%s", error)
        finally:
            _stopped(process)

    def _give_back(self, search: Search, why: str) -> None:
        """Let another try to run a search; in vain where the lease is lost."""
        log.warning("search %s: %s", search.id, why)
        with suppress(LostLease, StoreAway), self.store.write() as connection:
            searches.release(connection, search, message=why)

    def _start(self, search: Search) -> WorkerProcess:
        given = {**search.options, **self.where}
        order = SearchOrder(search.id, self.url, given, search.seconds, os.getpid())
        text = str(Path(self.where["out"], LOGS, f"{search.id}.log"))
        here = LocalProcesses(1)
        return here.start(Work(searching.__name__, order.to_json(), text, here.threads))

    def _watch(self, search: Search, process: WorkerProcess) -> float:
        """Hold the search until its process ends; return when it was last held.

        Raises LostLease. While the database is away the process goes on, as its workers do.
        """
        asked, renewed = None, time.monotonic()
        while process.poll() is None:
            process.wait(TICK)
            wanted, now = self.stop.is_set(), time.monotonic()
            with suppress(StoreAway):
                wanted |= self._seen(search) in searches.STOPPING
                if now > renewed + RENEWED:
                    with self.store.write() as connection:
                        searches.renew(connection, search, LEASE, now - renewed)
                    renewed = now
            if asked is None and wanted:
                asked = now
                process.stop()
            if asked is not None and now > asked + PATIENCE:
                process.kill()
        return renewed

    def _seen(self, search: Search) -> str:
        """Return a search's state; raise LostLease where it is another worker's."""
        with self.store.read() as connection:
            return searches.held_state(connection, search)

    def _shown(self, search: Search, words: str) -> str:
        """Return last words with the options as their owner gave them, without our folder."""
        for name, value in search.options.items():
            asked = search.asked.get(name)
            if isinstance(value, str) and isinstance(asked, str) and value != asked:
                words = words.replace(value, asked)
        return words.replace(f"{os.path.abspath(self.where['out'])}/", "")

    def _end(self, search: Search, process: WorkerProcess, since: float) -> None:
        """Record how a search's process has ended."""
        status, more = process.poll(), time.monotonic() - since
        words = self._shown(search, process.last_words())

        def record(connection: sa.Connection) -> Search:
            now = searches.renew(connection, search, LEASE, more)
            if status == searching.DONE:
                return searches.finish(connection, now, "succeeded")
            if status in (searching.MISTAKE, searching.NO_RESULT):
                return searches.finish(connection, now, "failed", words)
            died = status not in (*STOPPED, searching.AWAY) and not self.stop.is_set()
            asked = now.state in searches.STOPPING
            message = None if status in STOPPED else words
            return searches.release(connection, now, died=died and not asked, message=message)

        def step() -> Search:
            with self.store.write() as connection:
                return record(connection)

        ended = patient(step)()
        log.info("search %s: attempt %d is over: %s", search.id, search.attempt, ended.state)


def _stopped(process: WorkerProcess) -> None:
    """End a process that still runs: first it is asked."""
    if process.poll() is None:
        process.stop()
        process.wait(PATIENCE)
    process.kill()


def delete(store: Store, search: Search) -> None:
    """Delete a search whose deletion has begun: its studies, their files here, its row."""
    with store.read() as connection:
        infos = [s for s in queries.studies(connection) if search.id in (s.name, s.search)]
        shown = {info.id: dashboard.artifact_ids(connection, info.id) for info in infos}
    for info in infos:
        folder = Path(info.folder or "")
        for artifact in shown[info.id]:
            (folder.parent / dashboard.FOLDER / artifact).unlink(missing_ok=True)
        if folder.name == info.name:  # the worker that made it has named it so
            shutil.rmtree(folder, ignore_errors=True)
            (folder.parent / LOGS / f"{search.id}.log").unlink(missing_ok=True)
    store.delete_studies([info.name for info in infos])
    with store.write() as connection:
        searches.forget(connection, search.id)


def _stop_without(server: int, stop: threading.Event) -> None:
    """Stop when the server that has begun this process is gone."""
    while os.getppid() == server and not stop.wait(TICK):
        pass
    stop.set()


def command(store: str | None, where: Mapping[str, Any], *, once: bool) -> None:
    """Work until SIGTERM or Ctrl-C, and say on standard error what happens."""
    stop = threading.Event()
    if server := os.environ.get(SERVER):
        threading.Thread(target=_stop_without, args=(int(server), stop), daemon=True).start()
    with _told(), _set_by(stop, signal.SIGTERM, signal.SIGINT):
        work(store, where, once=once, stop=stop)


@contextmanager
def _told() -> Iterator[None]:
    """Log what `nas` does on standard error."""
    handler, level = logging.StreamHandler(), log.level
    handler.setFormatter(logging.Formatter(searching.LOG_FORMAT))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _set_by(event: threading.Event, *numbers: signal.Signals) -> Iterator[None]:
    """Let signals set an event."""
    before = {each: signal.signal(each, lambda *_: event.set()) for each in numbers}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
