"""Notes, figures and files of a study, written where Optuna's dashboard looks for them.

optuna-dashboard 0.21 keeps notes and figures in the system attributes of the study, a trial's note
too, and a trial's artifacts in its own; both may be written whatever the trial's state. It cuts
texts into parts of 2,045 letters and reads any number of parts, so one part is written here: for
each trial that it shows, it walks over all of these rows. Neither optuna-dashboard nor plotly is
needed to write.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from nas.store import history, leases, schema
from nas.store.dialects import upsert
from nas.store.optuna_storage import lock_study
from nas.store.queries import SCORED
from nas.store.records import Lease
from nas.store.store import Store

YOURS = "*What you write below this line stays.*"
ARTIFACT = "artifacts:"
FOLDER = "artifacts"  # of their files, beside the studies' folders
METRIC_NAMES = "study:metric_names"
EXPORTED = "**Exported:**"  # begins a paragraph
PARTS = 32  # of a note that was edited in the dashboard: 65 kB
_t, _e, _a = schema.TRIALS.c, schema.EVALUATIONS.c, schema.ARCHITECTURES.c
_o, _u = schema.OPTUNA_TRIALS.c, schema.OPTUNA_USER_ATTRIBUTES.c
_STUDY, _TRIAL = history.TABLES["study_system_attributes"], history.SYSTEM_ATTRIBUTES


@dataclass(frozen=True)
class Artifact:
    """A file in the artifacts folder, which has the name `artifact_id` there."""

    artifact_id: str
    filename: str
    mimetype: str
    encoding: str | None = None


def show_trial(
    store: Store, study_id: int, lease: Lease, body: str | None, artifacts: Iterable[Artifact] = ()
) -> None:
    """Give a running trial its note, unless it is None, and its artifacts, in one transaction.

    Raises LostLease, and writes nothing, when another worker has taken the trial over.
    """
    with store.write() as connection:
        leases.fenced(connection, lease, attempt=lease.attempt)
        if body is not None:
            _write_note(connection, study_id, lease.trial_id, body)
        for artifact in artifacts:
            key = {"trial_id": lease.trial_id, "key": ARTIFACT + artifact.artifact_id}
            _replace(connection, _TRIAL, key, json.dumps(asdict(artifact)))


def show_finished(
    store: Store, study_id: int, number: int, body: str | None, artifacts: Iterable[Artifact] = ()
) -> None:
    """Give a trial that is told already its note, unless it is None, and its artifacts.

    A told trial's own attributes are frozen: the artifacts go where older dashboards kept them.
    """
    with store.write() as connection:
        mine = (_t.study_id == study_id) & (_t.number == number)
        trial_id = connection.execute(sa.select(_t.trial_id).where(mine)).scalar()
        if trial_id is None:
            return
        if body is not None:
            _write_note(connection, study_id, trial_id, body)
        for artifact in artifacts:
            name = f"dashboard:artifacts:{trial_id}:{artifact.artifact_id}"
            key = {"study_id": study_id, "key": name}
            _replace(connection, _STUDY, key, json.dumps(asdict(artifact)))


def show_study(
    store: Store,
    study_id: int,
    body: str,
    figures: Mapping[str, Mapping[str, Any]],
    artifacts: Iterable[Artifact] = (),
) -> None:
    """Give a study its note, plotly figures by their ids, artifacts, and its score's name."""
    values: dict[str, Any] = {METRIC_NAMES: ["score"]}
    values |= {ARTIFACT + each.artifact_id: json.dumps(asdict(each)) for each in artifacts}
    with store.write() as connection:
        lock_study(connection, study_id)  # one writer at a time
        _write_note(connection, study_id, None, body)
        for name, figure in figures.items():
            _write_figure(connection, study_id, f"dashboard:plot_data:{name}:", json.dumps(figure))
        for key, value in values.items():
            _replace(connection, _STUDY, {"study_id": study_id, "key": key}, value)


def show_exports(store: Store, study_id: int, words: str) -> None:
    """Say in a study's note, if it has one, what its networks were exported as."""
    with store.write() as connection:
        lock_study(connection, study_id)
        _, stored = _stored_note(connection, study_id, "dashboard:")
        stored.pop("dashboard:note_ver", None)
        body = "".join(stored.values()).partition(f"\n\n---\n{YOURS}")[0]
        if body:
            kept = [each for each in body.split("\n\n") if not each.startswith(EXPORTED)]
            _write_note(connection, study_id, None, "\n\n".join([*kept, f"{EXPORTED} {words}"]))


def spots(
    connection: sa.Connection, study_id: int, metric: str, *, timed: bool
) -> list[tuple[int, str, str, int, float, float, float | None, str]]:
    """Return the trials that have the metric, by number, for the figure of metric over cost.

    Each is its number, state, architecture, fidelity, metric, cost, score and recipe's hash. The
    cost is macs, or with `timed` the latency that was predicted, in milliseconds.
    """
    source = SCORED.join(schema.ARCHITECTURES, _a.id == _e.architecture_id)
    if timed:
        predicted = (_u.trial_id == _t.trial_id) & (_u.key == "latency_ms")
        source = SCORED.join(schema.OPTUNA_USER_ATTRIBUTES, predicted)
    statement = (
        sa.select(_t.number, _o.state, _e.architecture_id, _e.recipe_hash, _e.fidelity, _e.metrics)
        .add_columns((_u.value_json if timed else _a.macs).label("cost"))
        .add_columns(schema.OPTUNA_VALUES.c.value.label("score"))
        .select_from(source)
        .where(_t.study_id == study_id, _o.state.in_(("COMPLETE", "PRUNED")))
        .order_by(_t.number)
    )
    measured = []
    for row in connection.execute(statement):
        value = (row.metrics or {}).get(metric)
        if value is not None and row.cost is not None:
            trial = (row.number, row.state.lower(), row.architecture_id, row.fidelity)
            measured.append((*trial, value, float(row.cost), row.score, row.recipe_hash))
    return measured


def has_artifact(store: Store, study_id: int, number: int, artifact_id: str) -> bool:
    """Tell whether a trial has an artifact."""
    statement = (
        sa.select(_TRIAL.c.key)
        .join_from(schema.TRIALS, _TRIAL, _TRIAL.c.trial_id == _t.trial_id)
        .where(_t.study_id == study_id, _t.number == number)
        .where(_TRIAL.c.key == ARTIFACT + artifact_id)
    )
    with store.read() as connection:
        return connection.execute(statement).first() is not None


def artifact_ids(connection: sa.Connection, study_id: int) -> set[str]:
    """Return the ids of all artifacts of a study and its trials."""
    of_trials = (
        sa.select(_TRIAL.c.key)
        .join_from(schema.TRIALS, _TRIAL, _TRIAL.c.trial_id == _t.trial_id)
        .where(_t.study_id == study_id)
    )
    rows = of_trials.union_all(sa.select(_STUDY.c.key).where(_STUDY.c.study_id == study_id))
    return {key.rpartition(":")[2] for key in connection.execute(rows).scalars()}


def _write_note(connection: sa.Connection, study_id: int, trial_id: int | None, body: str) -> None:
    """Write a note as its next version, and keep what a person has written under its line.

    A paragraph on exports is kept too, unless there is a new one.
    """
    of = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    here, stored = _stored_note(connection, study_id, of)
    number = stored.pop(f"{of}note_ver", 0) + 1
    before, line, yours = "".join(stored.values()).partition(YOURS)
    if stored:
        connection.execute(_STUDY.delete().where(here))
    if EXPORTED not in body:
        old = (each for each in before.split("\n\n") if each.startswith(EXPORTED))
        body = "\n\n".join([body.rstrip(), *old])
    text = f"{body.rstrip()}\n\n---\n{YOURS}{yours if line else ''}"
    for key, value in {f"{of}note_ver": number, f"{of}note_str:0": text}.items():
        _replace(connection, _STUDY, {"study_id": study_id, "key": key}, value)


def _stored_note(
    connection: sa.Connection, study_id: int, of: str
) -> tuple[sa.ColumnElement[bool], dict[str, Any]]:
    """Return the condition of a note's rows, and their values: the version, then the parts."""
    keys = [f"{of}note_ver", *(f"{of}note_str:{number}" for number in range(PARTS))]
    here = (_STUDY.c.study_id == study_id) & _STUDY.c.key.in_(keys)  # by the index: no LIKE
    rows = connection.execute(sa.select(_STUDY.c.key, _STUDY.c.value_json).where(here)).all()
    found = {row.key: json.loads(row.value_json) for row in rows}
    return here, {key: found[key] for key in keys if key in found}


def _write_figure(connection: sa.Connection, study_id: int, part: str, text: str) -> None:
    """Write a figure, and remove the further parts of an older one."""
    _replace(connection, _STUDY, {"study_id": study_id, "key": f"{part}0"}, text)
    place, mine = 1, _STUDY.c.study_id == study_id
    while connection.execute(
        _STUDY.delete().where(mine, _STUDY.c.key == f"{part}{place}")
    ).rowcount:
        place += 1


def _replace(
    connection: sa.Connection, table: sa.Table, key: Mapping[str, Any], value: Any
) -> None:
    """Write one attribute, whether it is there or not."""
    upsert(connection, table, tuple(key), [{**key, "value_json": json.dumps(value)}])
