"""Connections to a server: what breaks while nobody looks is made again."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_kit import Server, started
from store_kit import (
    has_postgresql,
    opened,
    point,
    proposal,
    ready,
    trials,
    write_while_it_is_away,
)

from nas.errors import StoreError
from nas.store import dialects, engine
from nas.store.store import Store


@pytest.fixture
def server() -> Iterator[Server]:
    """Start a PostgreSQL; skip the test where its programs are missing."""
    with started() as made:
        yield made


def test_a_store_outlives_a_restart_of_its_server(server: Server) -> None:
    """A store that was open while the server restarted goes on, Optuna's connections too."""
    with opened(server.url) as store:
        mine = trials(store)
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        mine.report(lease, point(1))
        server.control("restart", "-m", "fast")
        mine.report(lease, point(2))
        mine.finish(lease, "complete", metrics={"accuracy": 0.5})
        server.control("restart", "-m", "immediate")
        trial = mine.optuna_study().get_trials()[0]
    assert (trial.value, list(trial.intermediate_values)) == (0.5, [1, 2])


def test_steps_of_a_worker_wait_for_a_server_that_was_killed(server: Server) -> None:
    """An epoch and the end of a trial that come while it is down are stored once when it is up."""
    with opened(server.url) as store:
        write_while_it_is_away(store, server.kill, partial(server.control, "start"))


def test_a_server_that_is_down_is_an_error_that_names_it(server: Server) -> None:
    """While the server is stopped a write is refused; once it runs again the same store works."""
    with opened(server.url) as store:
        mine = trials(store)
        server.control("stop", "-m", "fast")
        try:
            with pytest.raises(StoreError, match=f"127.0.0.1:{server.port}"):
                store.forget_deleted()
        finally:
            server.control("start")
        assert mine.start(proposal("b")).outcome == "run"


def test_connections_that_the_server_ends_are_made_again(tmp_path: Path) -> None:
    """After all of a store's idle connections were terminated, the next calls work."""
    with ready("postgresql", tmp_path) as url, opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        assert terminate(url) >= 1
        mine.report(lease, point(1))
        assert terminate(url) >= 1
        assert mine.optuna_study().get_trials()[0].intermediate_values == {1: 0.5}


def terminate(url: str) -> int:
    """End every other connection to a database; return how many there were."""
    other = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    ending = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with other.connect() as connection:
            return int(connection.exec_driver_sql(ending).scalar_one())
    finally:
        other.dispose()


def test_a_host_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing costs the connect timeout, not for ever."""
    monkeypatch.setitem(dialects.CONNECT, "connect_timeout", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(StoreError, match="Can't open the store"):
            Store.open(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db")
    assert time.monotonic() - begun < 60


def test_what_the_url_says_of_a_connection_stands() -> None:
    """Options in the URL win over those that every connection gets; the others stay."""
    options = engine.engine_options(engine.parse("postgresql://u@h/d?connect_timeout=3"))
    assert "connect_timeout" not in options["connect_args"]
    assert options["connect_args"]["keepalives_idle"] == 30
    assert options["pool_pre_ping"]
    assert options["pool_recycle"] == dialects.RECYCLE_SECONDS


@pytest.mark.skipif(not has_postgresql(), reason="no PostgreSQL answers at 127.0.0.1:5432")
def test_threads_share_a_stores_connections(tmp_path: Path) -> None:
    """Eight threads that write through one store at once lose nothing."""
    with ready("postgresql", tmp_path) as url, opened(url) as store:
        mine = trials(store)
        started: list[int | None] = []

        def start(name: str) -> None:
            started.append(mine.start(proposal(name)).number)

        threads = [threading.Thread(target=start, args=(f"n{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(number for number in started if number is not None) == list(range(8))
