"""nas store init, check, upgrade, backup and copy: the verbs on a whole store."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from store_kit import (
    SERVER,
    delete_study,
    file_url,
    has_postgresql,
    opened,
    point,
    proposal,
    ready,
    scratch_database,
    trials,
)
from typer.testing import CliRunner, Result

from nas.cli import app
from nas.errors import StoreError, UserError
from nas.store import backup, checking, migrate, places, plain, queries
from nas.store.history import TABLES
from nas.store.schema import (
    AUDIT,
    EVALUATIONS,
    JOBS,
    METADATA,
    SEARCHES,
    TOKENS,
    UPLOADS,
    VERSION_TABLE,
)
from nas.store.store import Store

OLD = Path(__file__).parent / "store_0001.sql"  # written by the nas of revision 0001


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a store of revision 0001 with a study in it, on each kind of database."""
    first = file_url(tmp_path, "old.db")
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(OLD.read_text())
    if request.param == "sqlite":
        yield first
        return
    with ready(request.param, tmp_path) as made:
        go_back(made, "0001")
        engine = sa.create_engine(made)
        with queries.connect(first, frozen=True) as source, engine.begin() as target:
            for table in [*TABLES.values(), *METADATA.sorted_tables]:
                if table not in (JOBS, TOKENS, SEARCHES, UPLOADS, AUDIT):
                    there = sa.Table(
                        table.name, sa.MetaData(), autoload_with=target, resolve_fks=False
                    )
                    for batch in plain.read(source, plain.select(there)):
                        plain.insert(target, there, batch, unless_known=True)
        engine.dispose()
        yield made


def go_back(url: str, revision: str) -> None:
    """Undo the migrations after a revision."""
    undo = {
        "0004": tuple(
            f"DROP TABLE nas_{name}" for name in ("searches", "uploads", "tokens", "audit")
        ),
        "0003": (
            "DROP INDEX ix_nas_evaluations_study_id_state_fidelity",
            "DROP INDEX ix_nas_trials_promoted",
            "DROP INDEX ix_nas_trials_reused",
            "ALTER TABLE nas_trials DROP COLUMN promoted_from",
        ),
        "0002": ("DROP TABLE nas_jobs",),
    }
    for later, statements in undo.items():
        if later > revision:
            change(url, *statements)
    change(url, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")


def run(*words: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["store", *words])


def printed(*words: str) -> Any:
    """Return the JSON that a command prints."""
    ended = run(*words, "--json")
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


def health(url: str) -> checking.Health:
    """Check a store whose content is made up: what it says is not compared."""
    return checking.check(url, lambda _: iter(()))


def found(url: str) -> dict[str, int]:
    """Return what a check finds wrong, and how often."""
    return {each.what: each.count for each in health(url).findings if each.wrong}


def change(url: str, *statements: str) -> None:
    """Break a store by hand, as no program of ours would."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def fill(store: Store) -> None:
    """Write a complete, a pruned, a failed, a reused and a running trial."""
    mine = trials(store)
    for name, ending in {"a": "complete", "b": "pruned", "c": "failed"}.items():
        lease = mine.start(proposal(name)).lease
        assert lease is not None
        mine.report(lease, point(1))
        metrics = {} if ending == "failed" else {"accuracy": 0.5}
        mine.finish(lease, ending, metrics=metrics)  # type: ignore[arg-type]
    mine.start(proposal("a"))
    lease = mine.start(proposal("d")).lease
    assert lease is not None
    mine.report(lease, point(1))


def test_init_makes_the_tables_and_says_which(tmp_path: Path) -> None:
    """The first call makes Optuna's tables and ours, the second none."""
    url = file_url(tmp_path / "deep")
    first, second = printed("init", "--store", url), printed("init", "--store", url)
    assert {"trials", "nas_trials", "nas_alembic_version"} <= set(first["tables"])
    assert second == {"store": url, "tables": []}


def test_init_says_how_to_create_a_missing_database() -> None:
    """A database that a server lacks is not made, and the message has the command that makes it."""
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    ended = run("init", "--store", f"{SERVER}/nas_no_such")
    assert ended.exit_code == 2
    assert "createdb --host=127.0.0.1 nas_no_such" in ended.stderr
    assert 'CREATE DATABASE "nas_no_such"' in ended.stderr


def test_init_in_a_schema_that_is_not_ours_leaves_nothing() -> None:
    """Where the user may not create tables, the message says so and there are none afterwards."""
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    with scratch_database() as url:
        name = url.rpartition("/")[2]
        change(url, f"CREATE ROLE {name} LOGIN")
        try:
            stranger = url.replace("postgres@", f"{name}@")
            ended = run("init", "--store", stranger)
            assert ended.exit_code == 2
            assert "permission denied for schema public" in ended.stderr
            engine = sa.create_engine(url)
            assert sa.inspect(engine).get_table_names() == []
            engine.dispose()
        finally:
            change(url, f"DROP ROLE {name}")


def test_a_store_that_was_written_properly_is_well(url: str) -> None:
    """All that workers leave behind, a running trial and a stopped one too, is nothing wrong."""
    with opened(url) as store:
        fill(store)
        stopped = trials(store, worker="w2")
        lease = stopped.start(proposal("e")).lease
        assert lease is not None
        stopped.release(lease)
    seen = health(url)
    assert seen.is_well, seen.findings
    assert [each.what for each in seen.findings] == ["running trials whose worker is gone"]
    assert seen.rows["nas_trials"] == 6
    assert seen.revision == (migrate.head(), migrate.head())
    assert seen.optuna[0] == seen.optuna[1]
    assert seen.journal == ("wal" if url.startswith("sqlite") else None)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("DELETE FROM nas_trials WHERE number = 1", "trials without evaluation"),
        ("DELETE FROM nas_trials WHERE number = 1", "evaluations without trial"),
        (
            "UPDATE trials SET state = 'RUNNING' WHERE number = 0",
            "trials that have ended and were not told so",
        ),
        (
            "UPDATE trials SET state = 'FAIL' WHERE number = 0",
            "trials that were told another end than their evaluation has",
        ),
        (
            "UPDATE trials SET number = 7 WHERE number = 3",
            "studies whose trials' numbers have gaps",
        ),
        ("UPDATE trials SET number = 0 WHERE number = 1", "trials that share a number"),
        (
            "UPDATE trials SET number = 9 WHERE number = 1",
            "trials with another number in our tables than in Optuna's",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(broken: str, what: str, tmp_path: Path) -> None:
    """Each rule that rows can break is found, once."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        change(url, broken)
        assert found(url).get(what) == 1


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store's content be made up, as that of `fill` is."""
    monkeypatch.setattr("nas.study.contents.compare", lambda _: iter(()))


@pytest.mark.usefixtures("made_up")
def test_the_exit_code_says_whether_something_is_wrong(tmp_path: Path) -> None:
    """0 for a store that is well, 1 for one that is not, with what is wrong and what helps."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        assert run("check", "--store", url).exit_code == 0
        change(url, "UPDATE trials SET state = 'RUNNING' WHERE number = 0")
        ended = run("check", "--store", url)
    assert ended.exit_code == 1
    assert "wrong: 1 trials that have ended and were not told so (s/0); helps:" in ended.stdout


def test_every_rule_runs_on_both_kinds(url: str) -> None:
    """A store in which most is wrong is looked over to the end, with examples by study/number."""
    with opened(url) as store:
        fill(store)
    change(
        url,
        "UPDATE trials SET state = 'RUNNING' WHERE number = 0",
        "DELETE FROM nas_trials WHERE number = 1",
        "UPDATE trials SET number = 9 WHERE number = 2",
    )
    seen = {each.what: each.examples for each in health(url).findings}
    assert seen["trials that have ended and were not told so"] == ("s/0",)
    assert len(seen) >= 5


def test_orphans_of_a_file_are_found(tmp_path: Path) -> None:
    """SQLite lets a program without foreign keys delete what others refer to: that is told."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        change(url, "PRAGMA foreign_keys = OFF", "DELETE FROM nas_recipes")
        assert found(url) == {"rows that refer to rows that are gone": 4}


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    """A file in which bytes have changed is told as damaged, or as no database at all."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        path = tmp_path / "nas.db"
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 3 + 2000] = b"\xff" * 2000
        path.write_bytes(content)
        ended = run("check", "--store", url)
    assert ended.exit_code in (1, 2)
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("made_up")
def test_repair_mends_what_can_be(tmp_path: Path) -> None:
    """A study that Optuna deleted is forgotten; then nothing is left to say."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        delete_study(url, "s")
        notes = [each.what for each in health(url).findings if not each.wrong]
        assert "studies that were deleted in Optuna" in notes
        mended = printed("check", "--repair", "--store", url)
        assert (mended["well"], mended["findings"]) == (True, [])


def test_what_is_no_store_can_not_be_checked(tmp_path: Path) -> None:
    """A missing file and a database of something else are a user's mistakes: exit code 2."""
    (tmp_path / "other.db").touch()
    for name in ("none.db", "other.db"):
        ended = run("check", "--store", file_url(tmp_path, name))
        assert ended.exit_code == 2
        assert "No store at" in ended.stderr
    assert not (tmp_path / "none.db").exists()


def test_a_store_of_the_first_revision_is_upgraded_with_its_rows(old: str) -> None:
    """What the first nas wrote is there after the upgrade, and is well; a second one does nothing.

    The rows are those that the program of that revision wrote: tests/store_0001.sql.
    """
    assert {f.what for f in health(old).findings} >= {
        f"nas's tables have revision 0001, not {migrate.head()}"
    }
    assert migrate.upgrade(old)[0] == ("0001", migrate.head())
    assert migrate.upgrade(old)[0] == (migrate.head(), migrate.head())
    assert found(old) == {}
    with queries.connect(old) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        changes = compare_metadata(context, METADATA)
        ours = [each for each in changes if "nas_" in str(each) and "_optuna_" not in str(each)]
        assert ours == []
    with opened(old) as store, store.read() as connection:
        info = queries.study(connection, "übung")
        shown = queries.trials(connection, info.id)
        assert [t.state for t in shown] == ["complete", "pruned", "fail", "complete", "running"]
        assert shown[3].reused_from == "übung/0"
        assert [p.metrics["accuracy"] for p in queries.curve(connection, 1)] == [0.25, 0.5]
        assert queries.test_looks(connection, info.id) == [(1, {"accuracy": 0.5})]
        change(old, "UPDATE nas_evaluations SET expires_at = 0 WHERE state = 'running'")
        started = trials(store, study="übung", worker="new").adopt()
    assert started is not None
    assert started.number == 4


@pytest.mark.parametrize("revision", [r for r in migrate.revisions() if r != migrate.head()])
def test_every_revision_is_upgraded_with_its_rows(revision: str, url: str) -> None:
    """From each released revision the rows come through unchanged."""
    with opened(url) as store:
        fill(store)
    go_back(url, revision)
    before = evaluations(url)
    assert migrate.upgrade(url)[0] == (revision, migrate.head())
    assert evaluations(url) == before
    assert found(url) == {}


def evaluations(url: str) -> list[plain.Row]:
    """Return the evaluations of a store as they are stored."""
    with queries.connect(url, frozen=True) as connection:
        read = plain.read(connection, plain.select(EVALUATIONS))
        return [row for batch in read for row in batch]


def test_optunas_tables_are_upgraded_too(tmp_path: Path) -> None:
    """Tables of an older Optuna are refused for a search, and upgraded with their rows."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        # what that revision lacks of the next is an index that Optuna makes only when it upgrades
        change(url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
        with pytest.raises(StoreError, match="nas store upgrade"):
            Store.open(url)
        done = printed("upgrade", "--store", url)
        assert done["optuna"] == ["v3.0.0.d", "v3.2.0.a"]
        assert found(url) == {}


def test_an_upgrade_makes_no_store_and_goes_not_back(url: str, tmp_path: Path) -> None:
    """A file that isn't there stays away; tables of a newer nas are refused."""
    with pytest.raises(StoreError, match="no such file"):
        migrate.upgrade(file_url(tmp_path, "none.db"))
    change(url, "UPDATE nas_alembic_version SET version_num = 'future'")
    with pytest.raises(StoreError, match="newer nas"):
        migrate.upgrade(url)


def while_writing(url: str, do: Callable[[], object]) -> int:
    """Do something while a worker writes trials; return how many it had written by then."""
    stop, written = threading.Event(), []

    def write() -> None:
        with opened(url) as store:
            mine = trials(store, study="busy")
            while not stop.is_set():
                lease = mine.start(proposal(f"n{len(written)}")).lease
                assert lease is not None
                mine.report(lease, point())
                mine.finish(lease, "complete", metrics={"accuracy": 0.5})
                written.append(lease.number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 5 and thread.is_alive():
            stop.wait(0.05)
        do()
        return len(written)
    finally:
        stop.set()
        thread.join(60)


def test_a_backup_is_whole_while_a_worker_writes(url: str, tmp_path: Path) -> None:
    """It is a store of its own at one instant: nothing wrong in it, and what had ended is there."""
    with opened(url) as store:
        fill(store)
    path = tmp_path / "backups" / "nas.backup"
    while_writing(url, lambda: backup.backup(url, path))
    assert [each.name for each in path.parent.iterdir()] == ["nas.backup"]
    kept = f"sqlite:///{path}"
    assert found(kept) == {}
    with opened(kept) as store, store.read() as connection:
        states = [t.state for t in queries.trials(connection, queries.study(connection, "s").id)]
        busy = queries.trials(connection, queries.study(connection, "busy").id)
    assert states == ["complete", "pruned", "fail", "complete", "running"]
    assert len(busy) >= 5
    study = optuna.load_study(study_name="busy", storage=kept)
    assert [t.number for t in study.get_trials()] == list(range(len(busy)))


def test_a_backup_overwrites_only_when_told(url: str, tmp_path: Path) -> None:
    """A file that exists is kept; with --force a whole new one takes its place."""
    path = tmp_path / "kept.db"
    path.write_text("precious")
    with pytest.raises(UserError, match="--force"):
        backup.backup(url, path)
    with pytest.raises(StoreError, match="No store at"):
        backup.backup(file_url(tmp_path, "none.db"), path, force=True)
    assert path.read_text() == "precious"
    backup.backup(url, path, force=True)
    assert found(f"sqlite:///{path}") == {}


def test_a_backup_is_not_the_store(tmp_path: Path) -> None:
    """A store can't be backed up onto itself."""
    with ready("sqlite", tmp_path) as url, pytest.raises(UserError, match="the store itself"):
        backup.backup(url, tmp_path / "nas.db", force=True)


def test_copy_and_backup_on_the_command_line(tmp_path: Path) -> None:
    """Both say what they did; --as without one --study is a user's mistake."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        target = file_url(tmp_path, "target.db")
        assert printed("copy", url, target)["studies"] == ["s"]
        done = printed("copy", url, target, "--study", "s", "--as", "t")
        assert (done["studies"], done["known"]) == (["t"], 4)
        assert run("copy", url, target, "--as", "u").exit_code == 2
        for name in ("a/b", "n" * 300):  # as in a search
            assert run("copy", url, target, "--study", "s", "--as", name).exit_code == 2
        path = str(tmp_path / "backup.db")
        assert printed("backup", path, "--store", url) == {"backup": path, "how": "page by page"}


def test_a_store_of_a_newer_nas_is_refused_by_every_verb(tmp_path: Path) -> None:
    """Reading it may mean something else: exit code 2, and no file is written."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        change(url, "UPDATE nas_alembic_version SET version_num = 'future'")
        before = sorted(tmp_path.iterdir())
        out = str(tmp_path / "x")
        for words in (
            ["status"], ["top"], ["show"], ["logs"], ["rescore", "--target-flops", "1M"],
            ["export", "--out", out], ["resume", "--study", "s"], ["store", "backup", out],
            ["store", "init"], ["store", "upgrade"],
        ):  # fmt: skip
            at = ["--store", url]
            ended = CliRunner().invoke(app, [*words, *at])
            assert (ended.exit_code, words) == (2, words)
            assert "newer nas" in ended.stderr
        assert sorted(tmp_path.iterdir()) == before
        assert run("check", "--store", url).exit_code == 1


def not_writable(path: Path, mode: int, ask: Callable[[Path, int], bool] = os.access) -> bool:
    """Answer as on a read-only medium."""
    return mode != os.W_OK and ask(path, mode)


def test_a_store_on_a_read_only_medium_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is made beside it, which SQLite's readers otherwise do."""
    with ready("sqlite", tmp_path) as url:
        with opened(url) as store:
            fill(store)
        before = sorted(tmp_path.iterdir())
        monkeypatch.setattr("nas.store.dialects.os.access", not_writable)
        kept = tmp_path / "elsewhere" / "kept.db"
        with queries.connect(url) as connection:
            assert len(queries.trials(connection, queries.study(connection, "s").id)) == 5
            assert sorted(tmp_path.iterdir()) == before
        backup.backup(url, kept)
        assert found(f"sqlite:///{kept}") == {}


def test_a_store_on_a_read_only_medium_is_read_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a store that was copied while it was written to, what only the log has is read too."""
    live, medium = tmp_path / "live", tmp_path / "medium"
    live.mkdir()
    medium.mkdir()
    with opened(f"sqlite:///{live / 'nas.db'}") as store:
        fill(store)
        for name in ("nas.db", "nas.db-wal"):
            shutil.copy(live / name, medium)
    assert (medium / "nas.db-wal").stat().st_size
    before, url = sorted(medium.iterdir()), f"sqlite:///{medium / 'nas.db'}"
    monkeypatch.setattr("nas.store.dialects.os.access", not_writable)
    with queries.connect(url) as connection:
        assert len(queries.trials(connection, queries.study(connection, "s").id)) == 5
        assert places.home(connection) == str(medium)
    backup.backup(url, tmp_path / "kept.db")
    assert found(f"sqlite:///{tmp_path / 'kept.db'}") == {}
    assert sorted(medium.iterdir()) == before
