"""What is MariaDB's own: its URLs, what it asks of a database, its errors, Optuna's limit there."""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from mariadb_kit import FOUND, WHY_NOT, Server, administer, own_server, scratch_database
from mariadb_kit import server as any_server
from optuna.trial import Trial
from optuna_dashboard import get_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from store_kit import opened, point, proposal, ready, trials, write_while_it_is_away

from nas.errors import StoreAway, StoreError
from nas.store import copying, engine, mariadb, migrate, queries, showcase
from nas.store.models import VERSION_TABLE, Base
from nas.store.retry import patiently
from nas.store.store import Store

LONG = "ü" * 100_000
CHANGING = ("CREATE", "ALTER", "INSERT", "UPDATE")
FIGURE = {"data": [{"y": list(range(40_000))}], "layout": {}}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a store without studies."""
    with ready("mariadb", tmp_path) as made:
        yield made


@pytest.fixture
def empty() -> Iterator[str]:
    """Return the URL of a database without tables."""
    if any_server() is None:
        pytest.skip(WHY_NOT)
    with scratch_database() as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a server that may be killed; skip the test where MariaDB is not installed."""
    if None in FOUND:
        pytest.skip("MariaDB is not installed")
    with own_server() as made:
        yield made


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+mysqldb", "mariadb+pymysql"])
def test_every_spelling_means_the_same_driver(scheme: str) -> None:
    """The driver is PyMySQL, whatever the URL says; its options in the URL win over ours."""
    parsed = engine.parse(f"{scheme}://u:p%40ss@h/d?connect_timeout=3")
    assert (parsed.drivername, parsed.password) == ("mariadb+pymysql", "p@ss")
    options = engine.engine_options(parsed)
    assert "connect_timeout" not in options["connect_args"]
    assert options["connect_args"]["read_timeout"] == 120
    assert options["isolation_level"] == "READ COMMITTED"


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyMySQL the message names the extra that brings it, and no password."""
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(StoreError, match=r"pip install 'nas\[mariadb\]'") as caught:
        engine.write_engine(engine.parse("mariadb://u:hush@h/d"))
    assert "hush" not in str(caught.value)


def test_a_missing_database_is_told(empty: str) -> None:
    """The message has the statement that makes it, and that statement makes one that is taken."""
    missing = empty + "_not"
    with pytest.raises(StoreError, match=r"CREATE DATABASE `nas_.*utf8mb4_nopad_bin;"):
        Store.open(missing)


def test_a_wrong_password_is_no_passing_error_and_is_not_shown(empty: str) -> None:
    """Access that is denied is told at once, not waited for."""
    wrong = empty.replace("root@", "nobody:hush@")
    with pytest.raises(StoreError, match="Access denied") as caught:
        Store.open(wrong)
    assert "hush" not in str(caught.value)
    assert not isinstance(caught.value, StoreAway)


@pytest.mark.parametrize("collation", ["utf8mb4_general_ci", "latin1_bin", "utf8mb3_bin"])
def test_a_database_that_confuses_texts_is_refused(collation: str, empty: str) -> None:
    """The message has the statement that helps, and no table was made."""
    name = empty.rpartition("/")[2]
    administer(
        empty,
        f"ALTER DATABASE {name} CHARACTER SET {collation.partition('_')[0]} COLLATE {collation}",
    )
    with pytest.raises(StoreError, match=f"collation {collation}.* ALTER DATABASE `{name}`"):
        Store.open(empty)
    assert administer(empty, "SHOW TABLES") == []


class Power(Exception):
    """It failed."""


def test_a_migration_that_was_interrupted_goes_on(empty: str) -> None:
    """Wherever it was cut off, again and again, the last opening makes what is missing."""
    parsed, allowed, revision = engine.parse(empty), 0, None
    while revision != migrate.head():
        made, left = engine.write_engine(parsed), iter(range(allowed))

        def count(*event: Any, left: Iterator[int] = left) -> None:
            if event[2].split()[0] in CHANGING and next(left, None) is None:
                raise Power

        sa.event.listen(made, "before_cursor_execute", count)
        with suppress(Power):
            migrate.upgrade(made)
        with made.connect() as connection:
            before, revision = revision, migrate.revision(connection)
        allowed = allowed + 1 if before == revision else 0
        made.dispose()
    with made.connect() as connection:
        options = {"include_name": migrate.is_ours, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    made.dispose()


def test_two_that_migrate_do_so_one_after_the_other(empty: str) -> None:
    """While somebody else makes the tables one waits, and is told after a while."""
    made = engine.write_engine(engine.parse(empty))
    with made.connect() as first, made.connect() as second:
        with mariadb.alone(first):
            lock = "SELECT get_lock(concat('nas ', md5(database())), 0)"
            assert second.exec_driver_sql(lock).scalar() == 0
        assert second.exec_driver_sql(lock).scalar() == 1
    made.dispose()


def test_the_clock_has_no_time_zone(url: str) -> None:
    """The database's clock is Unix seconds with fractions, on a server of any time zone."""
    with opened(url) as store, store.read() as connection:
        assert connection.exec_driver_sql("SELECT @@time_zone").scalar() == "+00:00"
        now = connection.execute(sa.select(engine.database_seconds(connection))).scalar_one()
        assert abs(now - time.time()) < 30
        assert now % 1 != 0


def test_who_only_reads_cannot_write(url: str) -> None:
    """A connection of nas status or nas top is refused by the server when it writes."""
    with queries.connect(url) as connection, pytest.raises(sa.exc.DBAPIError, match="READ ONLY"):
        connection.execute(sa.text("DELETE FROM nas_jobs"))


@pytest.mark.parametrize(
    ("number", "passes"),
    [(2006, True), (2013, True), (1205, True), (1213, True), (1040, True), (1053, True),
     (1927, True), (1045, False), (1049, False), (1406, False), (1146, False)],
)  # fmt: skip
def test_what_may_be_over_soon_is_told_by_its_number(number: int, passes: bool) -> None:
    """A lost connection, a deadlock or a full server passes; a wrong password does not."""
    from pymysql.err import OperationalError

    from_driver = OperationalError(number, "what it says", sqlstate="HY000")
    told = engine.translated(engine.parse("mariadb://u@h/d"), "write")
    with pytest.raises(StoreError, match="what it says") as caught, told:
        raise sa.exc.OperationalError("SELECT 1", {}, from_driver)
    assert isinstance(caught.value, StoreAway) == passes


def test_connections_that_the_server_ends_are_made_again(url: str) -> None:
    """After all of a store's connections were ended, the next steps of a worker work."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        others = (
            "SELECT id FROM information_schema.processlist"
            " WHERE db = database() AND id <> connection_id()"
        )
        while held := administer(url, others):  # it takes a moment, and some go by themselves
            for row in held:
                with suppress(sa.exc.DBAPIError):
                    administer(url, f"KILL {row[0]}")
        mine.report(lease, point(1))
        assert mine.optuna_study().get_trials()[0].intermediate_values == {1: 0.5}


def test_steps_of_a_worker_wait_for_a_server_that_was_killed(server: Server) -> None:
    """An epoch and the end of a trial that come while it is down are stored once when it is up."""
    with scratch_database(server.url) as url, opened(url) as store:
        write_while_it_is_away(store, server.kill, server.start)


def test_a_deadlock_is_tried_again(url: str) -> None:
    """Of two steps that wait for each other one is ended by the server, and taken once more."""
    with opened(url) as store:
        first, second = trials(store, study="a"), trials(store, study="b")
        leases = [each.start(proposal(each.info.name)).lease for each in (first, second)]
        lock = sa.text("UPDATE nas_evaluations SET deaths = 0 WHERE id = :id")
        held, tries = threading.Barrier(2, timeout=30), []

        def both(own: int, other: int, again: bool) -> None:
            with store.write() as connection:
                tries.append(own)
                connection.execute(lock, {"id": own})
                if not again:
                    held.wait()
                connection.execute(lock, {"id": other})

        ids = [lease.evaluation_id for lease in leases if lease is not None]
        threads = [
            threading.Thread(target=patiently, args=(partial(both, *each),))
            for each in (ids, ids[::-1])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(tries) == 3


def test_a_long_reason_is_cut_for_optuna_and_whole_in_ours(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No worker fails of it; the log says so once; our own table has the whole of it."""
    mariadb._told.clear()
    with opened(url) as store, caplog.at_level(logging.WARNING, "nas"):
        mine = trials(store)
        for name in "ab":
            lease = mine.start(proposal(name)).lease
            assert lease is not None
            mine.finish(lease, "failed", reason=LONG)
        told = mine.optuna_study().trials[0].user_attrs["reason"]
        with store.read() as connection:
            assert queries.trial(connection, mine.info.id, 0).reason == LONG
    assert told.endswith("(cut: Optuna keeps at most 64 kB of it on MariaDB)")
    assert len([one for one in caplog.messages if "64 kB" in one]) == 1


def test_a_long_attribute_that_is_no_text_is_left_out(url: str) -> None:
    """Half a list would be worse than none."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        store.storage.set_trial_user_attr(lease.trial_id, "list", list(range(50_000)))
        store.storage.set_trial_user_attr(lease.trial_id, "short", [1])
        attributes = mine.optuna_study().trials[0].user_attrs
    assert "list" not in attributes
    assert attributes["short"] == [1]


def test_long_notes_and_figures_are_kept_in_parts(url: str) -> None:
    """The dashboard reads them whole, and a shorter one that comes later as well."""
    with opened(url) as store:
        mine = trials(store)
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        for body, figure in ((LONG, FIGURE), ("short", {"data": []})):
            showcase.show_study(store, mine.info.id, body, {"plot": figure})
            showcase.show_trial(store, mine.info.id, lease, body)
            study = mine.optuna_study()
            for shown in (study, Trial(study, lease.trial_id)):
                assert get_note(shown).partition("\n\n---")[0] == body
            system = store.storage.get_study_system_attrs(study._study_id)
            assert json.loads(get_plotly_graph_objects(system)["plot"]) == figure
        showcase.show_study(store, mine.info.id, LONG * 3, {})
        assert showcase.CUT in get_note(study)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_other_databases_hold_in_one_row_is_copied_in_parts(
    kind: str, url: str, tmp_path: Path
) -> None:
    """Notes and figures arrive whole, and go back whole; a long reason is cut."""
    with ready(kind, tmp_path) as source, ready(kind, tmp_path) as back:
        with opened(source) as store:
            mine = trials(store)
            lease = mine.start(proposal("a")).lease
            assert lease is not None
            mine.finish(lease, "failed", reason=LONG)
            showcase.show_study(store, mine.info.id, LONG, {"plot": FIGURE})
        copying.copy(source, url)
        for where in (url, back):
            if where == back and kind == "sqlite":
                break  # one file
            if where == back:
                copying.copy(url, back)
            with opened(where) as store:
                study = trials(store).optuna_study()
                system = store.storage.get_study_system_attrs(study._study_id)
                assert get_note(study).startswith(LONG)
                assert json.loads(get_plotly_graph_objects(system)["plot"]) == FIGURE
                assert "(cut: " in study.trials[0].user_attrs["reason"]


def test_a_study_arrives_while_others_begin_trials(url: str, tmp_path: Path) -> None:
    """Ids that a copy has reserved are given to nobody else."""
    with ready("sqlite", tmp_path) as source, opened(url) as target:
        with opened(source) as store:
            mine = trials(store, study="copied")
            for index in range(5):
                mine.start(proposal(f"old{index}"))
        there = trials(target, study="there")
        assert there.start(proposal("first")).outcome == "run"

        def begin(table: str, *_: int) -> None:
            if table in ("studies", "trials"):
                assert there.start(proposal(f"new {table}")).outcome == "run"

        copying.copy(source, url, watch=begin)
        with target.read() as connection:
            found = [
                queries.counts(connection, queries.study(connection, name).id).running
                for name in ("copied", "there")
            ]
    assert found == [5, 3]
