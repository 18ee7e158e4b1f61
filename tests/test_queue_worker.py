"""Workers of the queue: searches that run, are stopped, killed, taken over, and deleted.

A test with processes, which take long to begin, runs on one kind of database: the statements are
tested on each in `test_queue.py`, and a worker in this process on each here.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import postgres_kit
import pytest
from search_kit import command, write_inputs
from store_kit import opened

from nas.errors import StoreAway
from nas.search_space import load
from nas.service import worker
from nas.service.searching import in_time
from nas.service.worker import QueueWorker
from nas.store import queries, searches, tokens
from nas.store.searches import Search, Wanted
from nas.store.store import Store
from nas.store.tokens import Token

TRIALS = 4
WAITED = 120.0  # seconds, on a busy machine


@pytest.fixture
def me(store: Store) -> Token:
    """Return a token that may have three searches running."""
    return token(store, running=3)


def token(store: Store, running: int) -> Token:
    """Make a token and return it."""
    with store.write() as connection:
        quotas = tokens.Quotas(running=running)
        return tokens.create(connection, "me", ["submit"], quotas=quotas)[0]


def submit(store: Store, by: Token, folder: Path, **given: Any) -> str:
    """Put a tiny search into the queue, its space as JSON."""
    space, data = write_inputs(folder)
    asked = {"data": "tones", "target_flops": "50k", "trials": TRIALS, "epochs": 2, **given}
    asked |= {"pruner": "none", "finalists": 0, "folds": 1}
    run = {"space": load(space).to_json(), "data": data}
    with store.write() as connection:
        wanted = Wanted("mine", asked, {**asked, **run, **given})
        return searches.add(connection, by, wanted)[0].id


@contextmanager
def process(url: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `nas worker` beside the test; it is killed at the end."""
    ours = [*command("worker"), "--out", str(folder / "studies"), "--workers", "0"]
    environment = os.environ | {"NAS_STORE": url}
    with open(folder / "worker.log", "ab") as log:
        begun = subprocess.Popen(ours, env=environment, stderr=log, start_new_session=True)
    try:
        yield begun
    finally:
        with suppress(ProcessLookupError):
            os.killpg(begun.pid, signal.SIGKILL)
        begun.wait(30)


def here(store: Store, url: str, folder: Path) -> QueueWorker:
    """Return a worker inside this process."""
    where = {"out": str(folder / "studies"), "workers": 0}
    return QueueWorker(store, url, where, threading.Event())


def get(store: Store, search_id: str) -> Search:
    """Return a search as it is now."""
    with store.read() as connection:
        return searches.get(connection, search_id)


def until(holds: Callable[[], bool], told: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + WAITED
    while not holds():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def wait_for(store: Store, search_id: str, *states: str) -> Search:
    """Wait until a search is in one of these states."""
    until(lambda: get(store, search_id).state in states, lambda: get(store, search_id))
    return get(store, search_id)


def said(folder: Path) -> str:
    """Return what the workers beside the test have said."""
    return (folder / "worker.log").read_text()


def ended(store: Store, search_id: str) -> bool:
    """Tell whether a search has ended; the database may be away."""
    with suppress(StoreAway):
        return get(store, search_id).has_ended
    return False


def begun(store: Store, search_id: str) -> bool:
    """Tell whether an epoch of a search's study is done."""
    with store.read() as connection:
        if search_id not in {study.name for study in queries.studies(connection)}:
            return False
        info = queries.study(connection, search_id)
        counts = queries.counts(connection, info.id)
        return counts.complete > 0


def ended_whole(store: Store, search_id: str) -> bool:
    """Tell whether a search's study has its trials, each evaluated once, and one look at test."""
    with store.read() as connection:
        info = queries.study(connection, search_id)
        trials = queries.trials(connection, info.id)
        looks = queries.test_look_count(connection, info.id)
    ours = [each for each in trials if each.reused_from is None]
    networks = {each.architecture_id for each in ours}
    return (len(ours), len(networks), looks) == (TRIALS, TRIALS, 1)


def test_a_worker_runs_a_search_to_its_end(
    store: Store, url: str, me: Token, tmp_path: Path
) -> None:
    """The study is named by the search's id; a mistake is told in its owner's words; both go."""
    search, wrong = submit(store, me, tmp_path), submit(store, me, tmp_path, data="no/such")
    mine = here(store, url, tmp_path)
    assert mine.run(once=True) == 1
    over = get(store, search)
    assert (over.state, over.message, over.attempt) == ("succeeded", None, 1), over
    assert over.seconds > 0
    assert ended_whole(store, search)
    folder = tmp_path / "studies" / search
    assert (folder / "best" / "model.py").is_file()
    assert [*(folder.parent / "artifacts").iterdir()] != []
    assert mine.run(once=True) == 1
    assert get(store, wrong).state == "failed"
    assert "no/such" in str(get(store, wrong).message)
    with store.write() as connection:
        for each in (search, wrong):
            searches.begin_to_delete(connection, each)
    assert mine.run(once=True) == 0
    with store.read() as connection:
        assert queries.studies(connection) == []
        assert searches.to_delete(connection) == []
    assert not folder.exists()
    assert [*(folder.parent / "artifacts").iterdir()] == []
    assert not (folder.parent / worker.LOGS / f"{search}.log").exists()


@pytest.mark.parametrize(
    ("url", "victim"), [("sqlite", "worker"), ("postgresql", "search")], indirect=["url"]
)
def test_a_killed_search_goes_on(
    store: Store, url: str, me: Token, tmp_path: Path, victim: str
) -> None:
    """`kill -9` of the worker, or of the search's process: another attempt ends it; none double."""
    search = submit(store, me, tmp_path, epochs=20)
    with process(url, tmp_path) as first:
        until(lambda: begun(store, search), lambda: said(tmp_path))
        if victim == "worker":
            first.kill()
            first.wait(30)
            with process(url, tmp_path):
                over = wait_for(store, search, "succeeded", "failed")
        else:
            words = ["pgrep", "-P", str(first.pid)]
            found = subprocess.run(words, capture_output=True, text=True, timeout=60)
            (child,) = map(int, found.stdout.split())
            os.kill(child, signal.SIGKILL)
            over = wait_for(store, search, "succeeded", "failed")
    assert (over.state, over.attempt) == ("succeeded", 2), (over, said(tmp_path))
    assert ended_whole(store, search)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_search_is_paused_goes_on_and_is_cancelled(
    store: Store, url: str, me: Token, tmp_path: Path
) -> None:
    """Its process stops, its trials stay, and the worker lets go at SIGTERM without a death."""
    search = submit(store, me, tmp_path, epochs=400)
    with process(url, tmp_path) as running:
        until(lambda: begun(store, search), lambda: said(tmp_path))
        with store.write() as connection:
            assert searches.pause(connection, search).state == "pausing"
        assert wait_for(store, search, "paused").deaths == 0
        with store.write() as connection:
            assert searches.resume(connection, search).state == "queued"
        wait_for(store, search, "running")
        running.terminate()
        assert running.wait(60) == 0
        assert (get(store, search).state, get(store, search).deaths) == ("queued", 0)
    with process(url, tmp_path):
        wait_for(store, search, "running")
        with store.write() as connection:
            searches.cancel(connection, search)
        assert wait_for(store, search, "cancelled").attempt == 3


def test_a_search_of_a_worker_that_was_replaced_stops(
    store: Store, url: str, me: Token, tmp_path: Path
) -> None:
    """A worker that has lost its lease ends its process and writes nothing."""
    search = submit(store, me, tmp_path, epochs=200)
    mine = here(store, url, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(mine.run, once=True)
        wait_for(store, search, "running")
        with store.write() as connection:
            searches.expire(connection, [mine.name])
            heir = searches.take(connection, "another:1", 60.0)
            assert heir is not None
        assert taken.result(WAITED) == 1
    assert get(store, search) == heir


def test_a_worker_that_can_t_begin_a_search_gives_it_back(
    store: Store, url: str, me: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without space for its log nobody has died over it; the next try runs it."""
    monkeypatch.setattr(worker, "PAUSE", 0.0)
    search, mine = submit(store, me, tmp_path), here(store, url, tmp_path)
    (tmp_path / "studies").mkdir()
    full = tmp_path / "studies" / worker.LOGS
    full.symlink_to("/dev/full")
    assert mine.run(once=True) == 1
    given_back = get(store, search)
    assert (given_back.state, given_back.attempt, given_back.deaths) == ("queued", 1, 0)
    assert "This worker can't begin it: " in str(given_back.message)


def test_a_search_that_can_t_be_deleted_stops_no_worker(
    store: Store, url: str, me: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once and left to others; the next one is deleted."""
    ids, gone = [submit(store, me, tmp_path) for _ in range(2)], worker.delete

    def fail(store: Store, search: Search) -> None:
        if search.id == ids[0]:
            raise PermissionError("not ours")
        gone(store, search)

    monkeypatch.setattr(worker, "delete", fail)
    with store.write() as connection:
        for each in ids:
            searches.begin_to_delete(connection, each)
    mine = here(store, url, tmp_path)
    assert mine.run(once=True) == 0
    with store.read() as connection:
        assert [each.id for each in searches.to_delete(connection)] == ids[:1]
    assert mine.stuck == {ids[0]}


def test_a_time_limit_counts_over_all_attempts() -> None:
    """What has run before is taken off; a search by trials alone has no limit."""
    assert in_time({"time": "30m"}, 0.0) == {"time": "30m"}
    assert in_time({"time": "30m"}, 600.0) == {"time": 1200.0, "trials": None}
    assert in_time({"trials": 3}, 600.0) == {"trials": 3}
    assert in_time({}, 600.0) == {"time": 1200.0, "trials": 24}
    assert in_time({"time": 60, "trials": 3}, 600.0) == {"time": 1.0, "trials": 3}


def test_three_searches_outlive_a_worker_and_the_database(tmp_path: Path) -> None:
    """`kill -9` of one of two workers and of the database: nothing is lost, nothing is double."""
    os.chmod(tmp_path, 0o755)
    with postgres_kit.started() as server, opened(server.url) as store:
        owners = [token(store, running=2) for _ in range(2)]
        ids = [submit(store, owner, tmp_path) for owner in (*owners, owners[0])]
        with process(server.url, tmp_path) as first, process(server.url, tmp_path):
            until(lambda: any(begun(store, each) for each in ids), lambda: said(tmp_path))
            first.kill()
            server.kill()
            server.control("start")
            until(lambda: all(ended(store, each) for each in ids), lambda: said(tmp_path))
        over = [get(store, each) for each in ids]
        assert [each.state for each in over] == ["succeeded"] * 3, (over, said(tmp_path))
        assert all(ended_whole(store, each) for each in ids)
