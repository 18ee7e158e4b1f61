"""Copying studies between stores: whole, both ways, nothing doubled, all or nothing."""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna_dashboard import get_note, save_note
from store_kit import file_url, opened, point, proposal, ready, ready_file, trials

from nas.errors import StoreError
from nas.store import copying, plain, queries
from nas.store.history import TABLES
from nas.store.schema import ARTIFACTS, EVALUATIONS, JOBS, METADATA, RECIPES
from nas.store.store import Store

STUDY = "Übung ⅓ – 'ünïcode' 🧪"
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


ENDS = (*("sqlite to sqlite", "sqlite to postgresql", "postgresql to sqlite"),)


@pytest.fixture(params=ENDS)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Return the URLs of two stores without studies, of the same kind and of different kinds."""
    with ExitStack() as stack:
        urls = []
        for index, kind in enumerate(request.param.split(" to ")):
            (tmp_path / str(index)).mkdir()
            urls.append(stack.enter_context(ready(kind, tmp_path / str(index))))
        yield urls[0], urls[1]


def fill(store: Store, study: str = STUDY) -> None:
    """Write a study in which everything occurs that can be in a store."""
    mine = trials(store, study=study)
    mine.full = 3
    for name, fidelity, ending in (
        ("complete", 3, "complete"), ("pruned", 3, "pruned"), ("failed", 3, "failed"),
        ("rung", 1, "complete"), ("rung", 3, "complete"),
    ):  # fmt: skip
        promoted = 3 if (name, fidelity) == ("rung", 3) else None
        lease = mine.start(replace(proposal(name, fidelity=fidelity), promoted_from=promoted)).lease
        assert lease is not None
        mine.report(lease, replace(point(1, 0.4), metrics={"accuracy": 0.1 + 0.2, "loss": None}))
        mine.report(lease, point(2, 1 / 3))
        metrics = {} if ending == "failed" else {"accuracy": 1 / 3}
        reason = "größer als 🗄 Speicher\nline 2" if ending == "failed" else None
        mine.finish(lease, ending, metrics=metrics, reason=reason, seconds=0.1, checkpoint="a/ü")  # type: ignore[arg-type]
    mine.start(proposal("complete"))  # reused
    running = mine.start(proposal("running")).lease
    assert running is not None
    for step, value in enumerate((math.nan, math.inf, -math.inf, 1e-300, 5e-324), start=1):
        store.storage.set_trial_intermediate_value(running.trial_id, step, value)
    beside(store, study)


def beside(store: Store, study: str) -> None:
    """Write what a study has beside trials: notes, attributes, files, looks, a job."""
    told = optuna.load_study(study_name=study, storage=store.storage)
    told.set_user_attr("größe", {"a": [1, None, "ü"]})
    store.storage.set_study_system_attr(told._study_id, "study:metric_names", ["score"])
    save_note(told, "# Question\n" + "long " * 1000)
    running = next(t for t in told.get_trials() if t.state.name == "RUNNING")
    live = optuna.trial.Trial(told, running._trial_id)
    save_note(live, f"note of trial {running.number}")
    artifact = json.dumps({"artifact_id": "u1", "filename": "ü.png"})
    store.storage.set_trial_system_attr(running._trial_id, "artifacts:u1", artifact)
    key = f"dashboard:artifacts:{running._trial_id}:u2"
    store.storage.set_study_system_attr(told._study_id, key, {"artifact_id": "u2"})
    parents = [running._trial_id]
    store.storage.set_study_system_attr(told._study_id, "NSGAIISampler:parent:0", parents)
    store.look_at_test(told._study_id, _evaluations(store)["complete"].id, {"accuracy": math.nan})
    store.add_artifact(told._study_id, "code", "studies/ü/model.py")
    job = {"id": f"job-{study}", "address": "http://h:1", "state": "RUNNING"}
    with store.write() as connection:
        words = ["search", "--study", study]
        connection.execute(sa.insert(JOBS).values(job | {"words": words, "message": None}))


def _evaluations(store: Store) -> dict[str, Any]:
    with store.read() as connection:
        rows = connection.execute(sa.select(EVALUATIONS)).all()
    return {row.architecture_id: row for row in rows}


def content(url: str) -> dict[str, list[Any]]:
    """Return a store's rows but for the ids that nothing refers to, and what a copy must change."""
    found = {}
    tables = [*TABLES.values(), *METADATA.sorted_tables]
    with queries.connect(url, frozen=True) as connection:
        for table in tables:
            rows = [r for batch in plain.read(connection, plain.select(table)) for r in batch]
            free = copying._surrogate(table)
            for row in rows:
                if row.get("state") == "running":
                    row |= {"worker": "", "expires_at": 0.0}
                row.pop(free, None)
            found[table.name] = sorted(
                (tuple(row.items()) for row in rows if table.name != "version_info"), key=repr
            )
    return found


def logical(url: str, study: str) -> list[Any]:
    """Return a study as its readers see it, without any id."""
    with opened(url) as store, store.read() as connection:
        told = optuna.load_study(study_name=study, storage=store.storage)
        info = queries.study(connection, study)
        seen = []
        for one, shown in zip(told.get_trials(), queries.trials(connection, info.id), strict=True):
            attributes = {k: v for k, v in one.user_attrs.items() if k != "evaluation"}
            assert one.user_attrs["evaluation"] == shown.evaluation_id
            values = {k: str(v) for k, v in one.intermediate_values.items()}
            curve = queries.curve(connection, shown.evaluation_id)
            plainly = replace(shown, evaluation_id=0, worker="", stopped=False, reused_from=None)
            seen.append((one.number, one.state, one.params, values, one.datetime_start, plainly))
            seen.append((attributes.pop("reused_from", None) is None, attributes, curve))
            seen.append((one.system_attrs, _note(told, one)))
        return [*seen, info.config, told.user_attrs, told.directions, get_note(told)]


def _note(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> str:
    return str(get_note(optuna.trial.Trial(study, trial._trial_id)))


def test_a_round_trip_changes_nothing(tmp_path: Path) -> None:
    """SQLite to PostgreSQL and back: every row of every table is the same, ids and text too."""
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        ready("sqlite", tmp_path / "a") as first,
        ready("postgresql", tmp_path) as server,
        ready("sqlite", tmp_path / "b") as last,
    ):
        with opened(first) as store:
            fill(store)
        copying.copy(first, server)
        copying.copy(server, last)
        assert content(server) == content(first)
        assert content(last) == content(first)


def test_ids_that_are_taken_are_moved(ends: tuple[str, str]) -> None:
    """Into a store with a study of its own the copied one arrives under new ids, and is the same.

    Notes, files and parents of the dashboard and of Optuna's samplers follow their trials.
    """
    source, target = ends
    with opened(source) as store:
        fill(store)
    with opened(target) as store:
        trials(store, study="another").start(proposal("other"))
        for name in ("x", "y"):
            trials(store, study=name)
    before = logical(target, "another")
    copying.copy(source, target)
    assert logical(target, STUDY) == logical(source, STUDY)
    assert logical(target, "another") == before
    with opened(target) as store:
        study = optuna.load_study(study_name=STUDY, storage=store.storage)
        attributes = store.storage.get_study_system_attrs(study._study_id)
        copied = study.get_trials()
        running = next(t for t in copied if t.state.name == "RUNNING")
        assert f"dashboard:artifacts:{running._trial_id}:u2" in attributes
        assert attributes["NSGAIISampler:parent:0"] == [running._trial_id]
        lease = trials(store, study=STUDY, worker="w9").start(proposal("new")).lease
        assert lease is not None  # the server gives out ids above the copied ones
        assert lease.number == len(copied)


def test_what_runs_can_be_resumed_in_the_target(ends: tuple[str, str]) -> None:
    """A running trial arrives without a lease: a worker of the target goes on, nobody has died."""
    source, target = ends
    with opened(source) as store:
        fill(store)
    copying.copy(source, target)
    with opened(target) as store:
        started = trials(store, study=STUDY, worker="w2").adopt()
        assert started is not None
        assert started.lease is not None
        assert (started.lease.attempt, started.lease.number) == (2, 6)
        assert started.evaluation is not None
        assert started.evaluation.deaths == 0


def test_an_evaluation_that_is_known_is_not_doubled(ends: tuple[str, str]) -> None:
    """What the target has stands where it ended as well; a better end of the source replaces it.

    The better end raises the attempt, so that the worker that trains it there is refused.
    """
    source, target = ends
    endings = ("complete", "pruned", "failed", "running")
    with opened(source) as store, opened(target) as other:
        for study, into in (("s", store), ("t", other)):
            mine = trials(into, study=study, worker=study)
            for here in endings:
                for there in endings:
                    lease = mine.start(proposal(f"{here}-{there}")).lease
                    assert lease is not None
                    mine.report(lease, point(1, 0.25 if study == "s" else 0.75))
                    ending = here if study == "s" else there
                    if ending != "running":
                        mine.finish(lease, ending, metrics={"accuracy": 0.5})  # type: ignore[arg-type]
    done = copying.copy(source, target)
    with opened(target) as store, store.read() as connection:
        rows = _evaluations(store)
        curves = {
            n: queries.curve(connection, r.id)[0].metrics["accuracy"] for n, r in rows.items()
        }
    states = {name: row.state for name, row in rows.items()}
    assert done.known == len(states) == 16
    rank = {"failed": 0, "running": 1, "pruned": 2, "complete": 3}
    for name, state in states.items():
        here, there = name.split("-")
        takes = rank[here] > rank[there] and (there != "running" or here == "complete")
        assert state == (here if takes else there), name
        assert curves[name] == (0.25 if takes else 0.75)
        assert rows[name].attempt == (2 if takes else 1)


def test_a_trial_whose_network_has_ended_in_the_target_is_told(ends: tuple[str, str]) -> None:
    """A copied trial that runs ends at the next resume with what the target has measured."""
    source, target = ends
    with opened(source) as store:
        trials(store).start(proposal("a"))
    with opened(target) as store:
        mine = trials(store, study="t")
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        mine.finish(lease, "complete", metrics={"accuracy": 0.75})
    copying.copy(source, target)
    with opened(target) as store:
        assert trials(store).repair() == 1
        trial = optuna.load_study(study_name="s", storage=store.storage).get_trials()[0]
    assert (trial.value, trial.user_attrs["reused_from"]) == (0.75, "t/0")


def test_one_study_brings_what_is_its_own(ends: tuple[str, str]) -> None:
    """Of several studies one is copied with what it reused, its recipe and its jobs only."""
    source, target = ends
    with opened(source) as store:
        fill(store, "left")
        mine = trials(store, study="wanted")
        assert mine.start(proposal("complete")).outcome == "complete"
        assert mine.start(proposal("own")).outcome == "run"
    copying.copy(source, target, studies=["wanted"])
    with opened(target) as store, store.read() as connection:
        assert [info.name for info in queries.studies(connection)] == ["wanted"]
        rows = _evaluations(store)
        assert set(rows) == {"complete", "own"}
        assert (rows["complete"].study_id, rows["complete"].state) == (None, "complete")
        assert len(connection.execute(sa.select(RECIPES.c.hash)).all()) == 1
        assert connection.execute(sa.select(JOBS.c.id)).all() == []
        shown = queries.trials(connection, rows["own"].study_id)
    assert [trial.reused_from for trial in shown] == ["left/0", None]


def test_a_network_that_another_study_trains_is_left_to_be_tried_again(
    ends: tuple[str, str],
) -> None:
    """Where the study that trains it stays behind, its evaluation arrives as failed."""
    source, target = ends
    with opened(source) as store:
        mine = trials(store, study="s")
        lease = mine.start(proposal("a", fidelity=1)).lease
        assert lease is not None
        mine.finish(lease, "pruned", metrics={"accuracy": 0.5})
        other = trials(store, study="other", worker="w2")
        promoted = replace(proposal("a", fidelity=1), promoted_from=0)
        assert other.start(promoted).outcome == "run"
    copying.copy(source, target, studies=["s"])
    with opened(target) as store:
        row = _evaluations(store)["a"]
        assert (row.state, row.reason) == ("failed", copying.LEFT_BEHIND)


def test_a_taken_name_is_refused_unless_given_another(ends: tuple[str, str]) -> None:
    """The message names both ways out, nothing is written; under another name it is the same."""
    source, target = ends
    with opened(source) as store:
        fill(store)
    copying.copy(source, target)
    before = content(target)
    with pytest.raises(StoreError, match="--as OTHER"):
        copying.copy(source, target)
    assert content(target) == before
    done = copying.copy(source, target, studies=[STUDY], rename={STUDY: "again"})
    assert (done.known, done.improved) == (6, 0)
    assert logical(target, "again")[:-4] == logical(target, STUDY)[:-4]
    with opened(target) as store, store.read() as connection:
        reused = queries.trials(connection, queries.study(connection, "again").id)[5]
    assert reused.reused_from == "again/0"


def test_an_unknown_study_is_refused(ends: tuple[str, str]) -> None:
    """The message lists the studies there are."""
    source, target = ends
    with opened(source) as store:
        trials(store, study="mine")
    with pytest.raises(StoreError, match="mine"):
        copying.copy(source, target, studies=["minne"])


def test_a_copy_that_fails_writes_nothing(
    ends: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the middle leaves the target as it was."""
    source, target = ends
    with opened(source) as store:
        fill(store)
    before = content(target)

    def break_off(table: str, *_: int) -> None:
        if table == "trial_params":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(source, target, watch=break_off)
    assert content(target) == before
    copying.copy(source, target)
    assert logical(target, STUDY) == logical(source, STUDY)


def test_a_copy_that_fails_leaves_no_file_and_names_the_side_at_fault(tmp_path: Path) -> None:
    """A target that was not there is not there afterwards; damage is the source's."""
    source, target = ready_file(tmp_path), file_url(tmp_path / "other", "target.db")
    with opened(source) as store:
        fill(store)
    engine = sa.create_engine(source)
    for broken in ("UPDATE nas_studies SET config = '{'", "DROP TABLE trial_params"):
        with engine.begin() as connection:
            connection.exec_driver_sql(broken)
        with pytest.raises(StoreError, match=f"Can't read the store {source}"):
            copying.copy(source, target)
        assert list(tmp_path.glob("other/*")) == []
    engine.dispose()


def test_a_copy_sees_one_instant_while_a_worker_writes(ends: tuple[str, str]) -> None:
    """What is written after the copy began is not in it, and the writer doesn't wait."""
    source, target = ends
    with opened(source) as store:
        fill(store)
        expected = content(source)
        mine = trials(store, study=STUDY, worker="w2")

        def write_meanwhile(table: str, *_: int) -> None:
            if table == "nas_recipes":
                assert mine.start(proposal("late")).outcome == "run"

        copying.copy(source, target, watch=write_meanwhile)
    assert content(target) == expected


def test_an_older_source_is_refused(ends: tuple[str, str]) -> None:
    """A copy reads the tables it knows: an older store is upgraded first, a newer one refused."""
    source, target = ends
    for revision, message in (("0001", "nas store upgrade"), ("future", "newer nas")):
        made = sa.create_engine(source)
        with made.begin() as connection:
            set_to = sa.text("UPDATE nas_alembic_version SET version_num = :revision")
            connection.execute(set_to, {"revision": revision})
        made.dispose()
        with pytest.raises(StoreError, match=message):
            copying.copy(source, target)


def test_studies_that_are_none_of_ours_go_along(ends: tuple[str, str]) -> None:
    """A study that another program keeps in the same database is copied as Optuna's rows."""
    source, target = ends
    with opened(source) as store:
        study = optuna.create_study(
            study_name="theirs", storage=store.storage, directions=["minimize", "maximize"]
        )
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), 2.0), n_trials=3)
        expected = [(t.values, t.params, t.distributions) for t in study.get_trials()]
    copying.copy(source, target)
    with opened(target) as store:
        found = optuna.load_study(study_name="theirs", storage=store.storage)
        assert [(t.values, t.params, t.distributions) for t in found.get_trials()] == expected
        assert found.directions == study.directions


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of one PostgreSQL store for many examples."""
    with ready("postgresql", tmp_path_factory.mktemp("server")) as url:
        yield url


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES, values=st.lists(NUMBERS, max_size=4), attributes=st.dictionaries(NAMES, NUMBERS))
def test_any_content_survives_a_round_trip(
    name: str,
    values: list[float],
    attributes: dict[str, float],
    server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Names, values and attributes of any kind come back from PostgreSQL as they were."""
    folder = tmp_path_factory.mktemp("example")
    for each in "ab":
        (folder / each).mkdir()
    with ready("sqlite", folder / "a") as first, ready("sqlite", folder / "b") as last:
        with opened(first) as store:
            mine = trials(store, study=name)
            lease = mine.start(proposal(f"arch-{folder.name}")).lease
            assert lease is not None
            for step, value in enumerate(values):
                store.storage.set_trial_intermediate_value(lease.trial_id, step, value)
            for key, value in attributes.items():
                store.storage.set_trial_user_attr(lease.trial_id, f"a {key}", value)
            accuracy = values[0] if values else None
            mine.report(lease, replace(point(9), metrics={"accuracy": 0.5, name: accuracy}))
        stored = folder.name  # the server keeps the studies of earlier examples
        copying.copy(first, server, studies=[name], rename={name: stored})
        copying.copy(server, last, studies=[stored], rename={stored: name})
        assert repr(logical(last, name)) == repr(logical(first, name))


def test_files_are_listed_once(ends: tuple[str, str]) -> None:
    """The list of a study's files arrives with it."""
    source, target = ends
    with opened(source) as store:
        fill(store)
    copying.copy(source, target)
    with opened(target) as store, store.read() as connection:
        paths = connection.execute(sa.select(ARTIFACTS.c.path)).scalars().all()
    assert paths == ["studies/ü/model.py"]
