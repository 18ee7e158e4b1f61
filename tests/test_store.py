"""The store as a database: URLs, opening, migrations, studies, what is recorded beside trials."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_kit import CONFIG, file_url, opened, point, proposal
from store_kit import trials as trials_of

from nas.cost import Cost
from nas.errors import StoreError
from nas.store import engine, queries
from nas.store.schema import ARTIFACTS, RECIPES, VERSION_TABLE
from nas.store.store import Store


def test_opening_again_changes_nothing(url: str) -> None:
    """A store that is up to date is opened as it is."""
    with opened(url) as store:
        trials_of(store)
    with opened(url) as store, store.read() as connection:
        assert [study.name for study in queries.studies(connection)] == ["s"]


def test_a_newer_store_is_refused(url: str) -> None:
    """A revision this version doesn't know says so instead of guessing."""
    with opened(url) as store, store.write() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'future'"))
    with pytest.raises(StoreError, match="newer nas"):
        Store.open(url)


def test_sqlite_is_in_wal_mode(tmp_path: Path) -> None:
    """Both engines write ahead, without an fsync per commit, and wait a minute for each other."""
    with opened(file_url(tmp_path)) as store:
        for each in (store.engine, store.batched.engine):
            with each.connect() as connection:
                pragmas = [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "busy_timeout")
                ]
            assert pragmas == ["wal", 1, 60_000]


def test_the_folder_is_made_for_writing_only(tmp_path: Path) -> None:
    """Reading a store that isn't there is an error and leaves no trace; writing makes it."""
    url = file_url(tmp_path / "deep" / "er")
    with pytest.raises(StoreError, match="no such file"), queries.connect(url):
        pass
    assert list(tmp_path.iterdir()) == []
    with opened(url):
        assert (tmp_path / "deep" / "er" / "nas.db").is_file()


def test_reading_a_database_without_our_tables_is_an_error(tmp_path: Path) -> None:
    """A database of something else is no store."""
    path = tmp_path / "other.db"
    path.touch()
    with pytest.raises(StoreError, match="no nas tables"), queries.connect(f"sqlite:///{path}"):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nas.db", "database URL"),
        (
            "oracle://root:secret@host/db",
            "A store is SQLite or PostgreSQL, not 'oracle': write sqlite:///",
        ),
        ("mysql://root:secret@host/db", "A store is SQLite or PostgreSQL, not 'mysql'"),
        ("mariadb://root:secret@host/db", "A store is SQLite or PostgreSQL, not 'mariadb'"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_what_is_no_store_is_refused(url: str, message: str) -> None:
    """The message says what a store is and never shows a password."""
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "text", "below a file"])
def test_a_file_that_cannot_be_a_database_is_refused(kind: str, tmp_path: Path) -> None:
    """A folder, a text file and a path below a file end in StoreError."""
    path = tmp_path / "nas.db"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("This is no database. " * 100)
    url = f"sqlite:///{path / 'nas.db' if kind == 'below a file' else path}"
    with pytest.raises(StoreError, match="Can't open the store"):
        Store.open(url)


def test_credentials_are_masked() -> None:
    """A server that doesn't answer is named without password and query."""
    url = "postgresql://me:hush@127.0.0.1:1/db?sslpassword=alsohush"
    assert engine.masked(url) == "postgresql+psycopg://me:***@127.0.0.1:1/db"
    with pytest.raises(StoreError, match=r"me:\*\*\*@127") as caught:
        Store.open(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush@h:port/db",
        "postgresql://u:a@hush:c@h/db",
        "postgresql://u:pa@hush@127.0.0.1/db",
        "postgresql://us@hush@127.0.0.1/db",
        "postgresql://u:pa@hu/hush@h/db",
        "postgresql://u:hush@[::1/db",
    ],
)
def test_an_ambiguous_url_is_refused(url: str) -> None:
    """Where it is not clear where a password ends, no part of it is shown."""
    with pytest.raises(StoreError, match="percent-encode") as caught:
        Store.open(url)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_encoded_password_is_read() -> None:
    """Percent-encoding says what the password is."""
    parsed = engine.parse("postgresql://u:pa%40ss@127.0.0.1/db")
    assert (parsed.password, parsed.host) == ("pa@ss", "127.0.0.1")


def test_a_study_is_found_again(url: str) -> None:
    """The same name with the same meaning is the same study; what may change is as given last."""
    with opened(url) as store:
        first = store.create_study("s", CONFIG | {"trials": 24, "data": "digits", "folder": "a"})
        again = store.create_study("s", CONFIG | {"trials": 48, "data": "digits/"})
    changed = CONFIG | {"trials": 48, "data": "digits/", "folder": "a"}
    assert (again.id, again.config) == (first.id, changed)
    with queries.connect(url) as connection:
        assert queries.study(connection, "s").config == changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"stage3.kernels": ["3", "5"]}}, "space: stage3.kernels has choices 3, "),
        (
            {"space": {"stage3": {"kernels": ["3"]}}},
            "space: stage3.kernels has choices 3, 3.5, now",
        ),
        ({"space": {"stage3": {}}}, "space: stage3.kernels is gone"),
        ({"objective": {"w": -0.1}}, "objective: w was -0.07, now -0.1"),
        ({"recipe_hash": "r2"}, "recipe: it was 'r1', now 'r2'"),
        ({"recipe_hash": "r2", "recipe": {"data": "b", "epochs": 6}}, "epochs was 3, now 6"),
    ],
)
def test_a_study_of_another_meaning_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    """The message names the first difference."""
    config = CONFIG | {"parameters": {"stage3.kernels": ["3", "3.5"]}, "recipe_hash": "r1"}
    if "recipe" in change:
        config["recipe"] = {"data": "a", "class_balance": 0.0, "epochs": 3}  # neutral, written
    with opened(file_url(tmp_path)) as store:
        store.create_study("s", config)
        fixed = ("parameters", "space", "objective", "recipe_hash")
        with pytest.raises(StoreError, match="'s' exists with another") as caught:
            store.create_study("s", config | change, fixed=fixed)
    assert message in str(caught.value)


def test_an_unknown_study_lists_the_known_ones(url: str) -> None:
    """The nearest name is proposed."""
    with opened(url) as store:
        store.create_study("digits", CONFIG)
    with queries.connect(url) as connection, pytest.raises(StoreError, match="'digits'"):
        queries.study(connection, "digit")


def test_looks_at_the_test_split_are_counted(url: str) -> None:
    """Each look is a row; the count comes back with it."""
    with opened(url) as store:
        mine = trials_of(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        counts = [
            store.look_at_test(mine.info.id, lease.evaluation_id, {"accuracy": 0.9, "auroc": nan})
            for nan in (float("nan"), 0.9)
        ]
        with store.read() as connection:
            looks = queries.test_looks(connection, mine.info.id)
    assert counts == [1, 2]
    assert looks[0] == (lease.evaluation_id, {"accuracy": 0.9, "auroc": None})


def test_artifacts_and_recipes_are_kept(url: str) -> None:
    """A file is recorded once however often it is written; recipes are found by hash."""
    with opened(url) as store:
        mine = trials_of(store)
        store.add_artifact(mine.info.id, "code", "best/model.py")
        store.add_artifact(mine.info.id, "code", "best/model.py")
        with store.read() as connection:
            files = connection.execute(sa.select(ARTIFACTS.c.kind, ARTIFACTS.c.path)).all()
            assert files == [("code", "best/model.py")]
            assert connection.execute(sa.select(RECIPES.c.json)).scalars().all() == [{"epochs": 3}]


def test_best_and_counts(url: str) -> None:
    """The best are complete, in order, one per architecture; every trial is counted once."""
    with opened(url) as store:
        mine = trials_of(store)
        for name, accuracy in (("a", 0.5), ("b", 0.9), ("c", 0.7)):
            lease = mine.start(proposal(name)).lease
            assert lease is not None
            mine.report(lease, point(1, accuracy))
            mine.finish(lease, "complete", metrics={"accuracy": accuracy, "predicted_classes": 1})
        for name, state in (("d", "pruned"), ("e", "failed")):
            lease = mine.start(proposal(name)).lease
            assert lease is not None
            mine.finish(lease, state, reason="because")  # type: ignore[arg-type]
        mine.start(proposal("f"))
        mine.start(proposal("b"))
    with queries.connect(url) as connection:
        study = queries.study(connection, "s")
        best = queries.best(connection, study.id, 2)
        counts = queries.counts(connection, study.id)
        failed = queries.trial(connection, study.id, 4)
        running = queries.running(connection, study.id)
        curve = queries.curve(connection, best[0].evaluation_id)
    assert [(info.architecture_id, info.score) for info in best] == [("b", 0.9), ("c", 0.7)]
    assert (best[0].cost.macs, best[0].reused_from, best[0].one_class) == (2_000_000, None, True)
    assert counts == queries.Counts(complete=3, pruned=1, failed=1, running=1, reused=1)
    assert (failed.state, failed.reason, counts.total) == ("fail", "because", 7)
    assert [info.number for info in running] == [5]
    assert curve == [point(1, 0.9)]


def test_of_equal_scores_the_cheapest_is_best(url: str) -> None:
    """Many trials have the best score: the cheapest comes first, whichever was begun first."""
    with opened(url) as store:
        mine = trials_of(store)
        for index, macs in enumerate((70, 30, 50, 20, 60, 40)):
            cost = Cost(macs, 1, 1, 1)
            lease = mine.start(replace(proposal(f"network{index}"), cost=cost)).lease
            assert lease is not None
            mine.finish(lease, "complete", metrics={"accuracy": 0.9})
        with store.read() as connection:
            best = queries.best(connection, mine.info.id, 1)
            three = queries.best(connection, mine.info.id, 3)
    assert [info.cost.macs for info in best] == [20]
    assert [info.cost.macs for info in three] == [20, 30, 40]


def test_reads_share_an_engine_until_the_store_is_another(url: str) -> None:
    """Its SQL is compiled once; what changes is seen, another revision and lost tables are told."""
    with opened(url) as store:
        with queries.connect(url) as first, queries.connect(url) as second:
            assert first.engine.pool is second.engine.pool
            assert queries.studies(first) == []
        store.create_study("s", CONFIG)
        with queries.connect(url) as connection:
            assert [study.name for study in queries.studies(connection)] == ["s"]
        with store.write() as connection:
            connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'future'"))
        with pytest.raises(StoreError, match="newer nas"), queries.connect(url):
            pass
        with store.write() as connection:
            connection.execute(sa.text(f"DROP TABLE {VERSION_TABLE}"))
            connection.execute(sa.text("ALTER TABLE nas_studies RENAME TO others"))
        with pytest.raises(StoreError, match="no nas tables"), queries.connect(url):
            pass


def test_another_file_of_the_name_is_read(tmp_path: Path) -> None:
    """No connection to a file is kept: one that takes its place is read, a lost one is told."""
    url = file_url(tmp_path)
    for name in ("first", "second"):
        with opened(url) as store:
            store.create_study(name, CONFIG)
        with queries.connect(url) as connection:
            assert [study.name for study in queries.studies(connection)] == [name]
        for file in tmp_path.glob("nas.db*"):
            file.unlink()
    with pytest.raises(StoreError, match="no such file"), queries.connect(url):
        pass


def test_a_forked_process_reads_by_itself(url: str) -> None:
    """A child that was forked makes an engine of its own; the parent's connections stay whole."""
    with opened(url) as store:
        store.create_study("s", CONFIG)
    with queries.connect(url) as connection:
        ours = connection.engine.pool
    if (child := os.fork()) == 0:
        with queries.connect(url) as connection:
            same = connection.engine.pool is ours
            found = [study.name for study in queries.studies(connection)]
        os._exit(0 if found == ["s"] and not same else 1)
    assert os.waitpid(child, 0)[1] == 0
    with queries.connect(url) as connection:
        assert [study.name for study in queries.studies(connection)] == ["s"]


def test_reading_imports_little() -> None:
    """`nas status` starts with the queries, so they import no torch, Optuna, Alembic or ORM."""
    code = (
        "import sys; from nas.store import queries; heavy = {'torch', 'optuna', 'alembic',"
        " 'numpy', 'sqlalchemy.orm'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path.cwd(),
        timeout=120,
    )
    assert done.stdout.strip() == "[]"
