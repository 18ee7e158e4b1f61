"""What is asked while a search goes on stays short however many trials there are: no timing here.

The plans of the hot queries use indexes, and a worker's trial takes so many statements at the
hundredth trial as at the tenth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from store_kit import opened

from benchmarks.scale.load import config, load
from benchmarks.throughput import STUDY, check, untrained
from nas.store import leases, queries
from nas.store.leases import Claimant
from nas.store.store import Store
from nas.study.worker import Worker as StudyWorker

STATEMENTS = 23  # of a trial, BEGIN and COMMIT not counted; one that rises is a cost for everybody
ORDERED = "ix_nas_optuna_trial_values_value"  # walked from the best down, as far as the limit
HOT = [
    queries.counts,
    queries.fidelities,
    queries.running,
    queries.ended_elsewhere,
    queries.failures,
    queries.epoch_seconds,
    queries.total,
    queries.spent,
    queries.best,
    lambda connection, study: leases.free(connection, Claimant("w", study, 60.0)),
    lambda connection, study: queries.trial(connection, study, 7),
    lambda connection, study: queries.tried(connection, study, 250),
    lambda connection, study: queries.rung_trials(connection, study, 250),
]


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect what is sent to a database, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(*event: Any) -> None:
        sent.append((event[2], event[3]))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def scans(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """Return the steps of a statement's plan that read a whole table."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        steps = [str(row[-1]) for row in rows]
        whole = [step for step in steps if step.startswith("SCAN ") and ORDERED not in step]
        return [step for step in whole if step.split()[1] in tables(connection)]
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
    return [str(row[0]).strip() for row in rows if "Seq Scan" in str(row[0])]


def tables(connection: sa.Connection) -> set[str]:
    """Return the names of the tables and the letters that stand for them in queries."""
    return {*sa.inspect(connection).get_table_names(), *"aefostuv", "later"}


def test_hot_queries_scan_no_table(url: str, tmp_path: Path) -> None:
    """What status, top, the driver and each worker's step ask is answered by indexes."""
    with opened(url) as store:
        load(store, "s", 300, str(tmp_path))
        with store.read() as connection, statements(store.engine) as sent:
            study = queries.study(connection, "s").id
            sent.clear()
            for query in HOT:
                query(connection, study)
        assert len(sent) >= len(HOT)
        with store.read() as connection:
            if connection.dialect.name == "postgresql":  # whose small tables are scanned sooner
                connection.execute(sa.text("SET enable_seqscan = off"))
            found = [(text, bad) for text, what in sent if (bad := scans(connection, text, what))]
    assert found == []


def test_an_index_that_is_missing_is_noticed(url: str, tmp_path: Path) -> None:
    """Without the index on states the same look at the plans finds a scan."""
    with opened(url) as store:
        load(store, "s", 60, str(tmp_path))
        with store.write() as connection:
            connection.execute(sa.text("DROP INDEX ix_trials_study_id"))
            connection.execute(sa.text("DROP INDEX ix_nas_optuna_trials_state"))
        with store.read() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SET enable_seqscan = off"))
            asked = "SELECT count(*) FROM trials WHERE study_id = 1"
            assert len(scans(connection, asked, ())) == 1


def test_opening_a_store_makes_the_indexes_on_optunas_tables_again(url: str) -> None:
    """Indexes that were dropped by hand are there after the next opening."""
    with opened(url) as store, store.write() as connection:
        connection.execute(sa.text("DROP INDEX ix_nas_optuna_trials_state"))
    with opened(url) as store:
        names = {index["name"] for index in sa.inspect(store.engine).get_indexes("trials")}
    assert "ix_nas_optuna_trials_state" in names


def test_what_the_loader_counts_is_what_it_wrote(url: str, tmp_path: Path) -> None:
    """Complete, pruned, failed, running, reused and promoted trials are all of a loaded study."""
    with opened(url) as store:
        made = load(store, "s", 300, str(tmp_path))
        with store.read() as connection:
            study = queries.study(connection, "s").id
            counts = queries.counts(connection, study)
            went_on = slow_promotions(connection, study)
            begun = sa.text("SELECT count(DISTINCT architecture_id) FROM nas_evaluations")
            spent = queries.spent(connection, study), connection.execute(begun).scalar()
    assert counts.total == made["trials"]
    assert counts.promoted == went_on > 10
    assert spent[0] == spent[1]


def test_trials_are_read_as_optunas_own_reader_reads_them(url: str, tmp_path: Path) -> None:
    """Every field of every trial, of all states, whole and in part, is what Optuna's ORM says."""
    with opened(url) as store:
        load(store, "s", 300, str(tmp_path))
        with store.read() as connection:
            study = queries.study(connection, "s").id
        for asked in (None, set(), -1), (None, {3, 7, 250}, 200), ({TrialState.FAIL}, set(), 20):
            theirs = RDBStorage._get_trials(store.batched, study, *asked)
            assert store.batched._get_trials(study, *asked) == theirs != []
        nobodys = store.batched._get_trials(study, {TrialState.WAITING}, set(), -1)
        with pytest.raises(KeyError):
            store.batched._get_trials(study + 1, None, set(), -1)
    assert nobodys == []


def slow_promotions(connection: sa.Connection, study: int) -> int:
    """Count pruned trials whose network the study has at a higher fidelity too, one by one."""
    statement = sa.text(
        "SELECT count(*) FROM nas_trials t JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE t.study_id = :study AND t.reused_from IS NULL AND o.state = 'PRUNED' AND EXISTS ("
        "SELECT 1 FROM nas_evaluations f JOIN nas_trials later ON later.evaluation_id = f.id"
        " WHERE f.architecture_id = e.architecture_id AND f.recipe_hash = e.recipe_hash"
        " AND f.fidelity > e.fidelity AND later.study_id = t.study_id)"
    )
    return int(connection.execute(statement, {"study": study}).scalar_one())


def worker(store: Store, folder: Path, trials: int, name: str = "w:1:1") -> StudyWorker:
    """Return a worker that trains nothing."""
    wanted = replace(config(str(folder)), sampler="random", pruner="none")
    recipes = {wanted.recipe.hash: wanted.recipe.to_json()}
    store.create_study(STUDY, wanted.to_json(), recipes=recipes)
    return untrained(store, name, trials)


def test_a_trial_takes_as_many_statements_late_as_early(url: str, tmp_path: Path) -> None:
    """The statements of a worker's trial are bounded, and do not grow with the study."""
    with opened(url) as store:
        worker(store, tmp_path, 10).run()
        with statements(store.engine) as early:
            worker(store, tmp_path, 20).run()
        worker(store, tmp_path, 90).run()
        with statements(store.engine) as late:
            worker(store, tmp_path, 100).run()
        assert check(store, 100) == []
    assert len(late) <= len(early) <= 10 * STATEMENTS
