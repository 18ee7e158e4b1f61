"""What Optuna's dashboard shows beside a study's numbers, written where the dashboard looks for it.

optuna-dashboard 0.21 keeps notes and figures in the system attributes of the study, a trial's note
too, and a trial's artifacts in its own; both may be written whatever the trial's state. It cuts
texts into parts of 2,045 letters and reads however many parts there are, so one is written here, on
MariaDB as few as it holds: for each trial that it shows, it walks over all of these rows. Neither
optuna-dashboard nor plotly is needed to write.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from nas.store import leases, mariadb
from nas.store.records import Lease
from nas.store.store import Store

YOURS = "*What you write below this line stays.*"
ARTIFACT = "artifacts:"
METRIC_NAMES = "study:metric_names"
PARTS = 32  # of a note that was edited in the dashboard: 65 kB
CUT = "\n\n*The rest is cut: MariaDB holds no longer note.*"

# Optuna's, of which only these columns matter here; importing its models would import Optuna.
_STUDY = sa.table(
    "study_system_attributes", sa.column("study_id"), sa.column("key"), sa.column("value_json")
)
_TRIAL = sa.table(
    "trial_system_attributes", sa.column("trial_id"), sa.column("key"), sa.column("value_json")
)


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
        for one in artifacts:
            key = {"trial_id": lease.trial_id, "key": ARTIFACT + one.artifact_id}
            _replace(connection, _TRIAL, key, json.dumps(asdict(one)))


def show_finished(
    store: Store, study_id: int, number: int, body: str | None, artifacts: Iterable[Artifact] = ()
) -> None:
    """Give a trial that is told already its note, unless it is None, and its artifacts.

    A told trial's own attributes are frozen: the artifacts go where older dashboards kept them.
    """
    with store.write() as connection:
        statement = sa.text(
            "SELECT trial_id FROM nas_trials WHERE study_id = :study AND number = :number"
        )
        trial_id = connection.execute(statement, {"study": study_id, "number": number}).scalar()
        if trial_id is None:
            return
        if body is not None:
            _write_note(connection, study_id, trial_id, body)
        for one in artifacts:
            key = f"dashboard:artifacts:{trial_id}:{one.artifact_id}"
            _replace(
                connection, _STUDY, {"study_id": study_id, "key": key}, json.dumps(asdict(one))
            )


def show_study(
    store: Store,
    study_id: int,
    body: str,
    figures: Mapping[str, Mapping[str, Any]],
    artifacts: Iterable[Artifact] = (),
) -> None:
    """Give a study its note, plotly figures by their ids, artifacts, and its score's name."""
    texts = {ARTIFACT + one.artifact_id: json.dumps(asdict(one)) for one in artifacts}
    with store.write() as connection:
        if connection.dialect.name != "sqlite":  # one at a time
            row = sa.text("SELECT id FROM nas_studies WHERE id = :study FOR UPDATE")
            connection.execute(row, {"study": study_id})
        _write_note(connection, study_id, None, body)
        for name, one in figures.items():
            _write_figure(connection, study_id, f"dashboard:plot_data:{name}:", json.dumps(one))
        for key, text in texts.items():
            _replace(connection, _STUDY, {"study_id": study_id, "key": key}, text)
        _replace(connection, _STUDY, {"study_id": study_id, "key": METRIC_NAMES}, ["score"])


def spots(
    connection: sa.Connection, study_id: int, metric: str, *, timed: bool
) -> list[tuple[int, str, str, int, float, float, float | None]]:
    """Return the trials that measured something, in order, for the figure of metric over cost.

    Each is its number, state, architecture, fidelity, metric, cost and score. The cost is macs,
    or with `timed` the latency that was predicted, in milliseconds.
    """
    latency = (
        " LEFT JOIN trial_user_attributes u ON u.trial_id = t.trial_id AND u.key = 'latency_ms'"
    )
    statement = sa.text(
        "SELECT t.number, o.state, e.architecture_id, e.fidelity, e.metrics, v.value AS score,"
        f" {'u.value_json' if timed else 'a.macs'} AS cost FROM nas_trials t"
        " JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " JOIN nas_architectures a ON a.id = e.architecture_id"
        " LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0"
        f"{latency if timed else ''} WHERE t.study_id = :study"
        " AND o.state IN ('COMPLETE', 'PRUNED') ORDER BY t.number"
    )
    found = []
    for row in connection.execute(statement, {"study": study_id}):
        metrics = json.loads(row.metrics) if isinstance(row.metrics, str) else row.metrics
        value = (metrics or {}).get(metric)
        if value is not None and row.cost is not None:
            trial = (row.number, row.state.lower(), row.architecture_id, row.fidelity)
            found.append((*trial, value, float(row.cost), row.score))
    return found


def has_artifact(store: Store, study_id: int, number: int, artifact_id: str) -> bool:
    """Tell whether a trial has an artifact."""
    statement = sa.text(
        "SELECT count(*) FROM trial_system_attributes a JOIN nas_trials t"
        " ON t.trial_id = a.trial_id WHERE t.study_id = :study AND t.number = :number"
        " AND a.key = :key"
    )
    key = {"study": study_id, "number": number, "key": ARTIFACT + artifact_id}
    with store.read() as connection:
        return bool(connection.execute(statement, key).scalar_one())


def _write_note(connection: sa.Connection, study_id: int, trial_id: int | None, body: str) -> None:
    """Write a note as its next version, and keep what a person has written under its line."""
    of = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    version, part = f"{of}note_ver", f"{of}note_str:"
    keys = [version, *(f"{part}{number}" for number in range(PARTS))]  # by the index: no LIKE
    here = (_STUDY.c.study_id == study_id) & _STUDY.c.key.in_(keys)
    found = connection.execute(sa.select(_STUDY.c.key, _STUDY.c.value_json).where(here)).all()
    stored = {row.key: json.loads(row.value_json) for row in found}
    number = stored.pop(version, 0) + 1
    parts = sorted(stored, key=lambda key: int(key.removeprefix(part)))
    _, line, yours = "".join(stored[key] for key in parts).partition(YOURS)
    if stored:
        connection.execute(sa.delete(_STUDY).where(here))
    end = f"\n\n---\n{YOURS}{yours if line else ''}"
    texts = _parts(connection, _cut(connection, body.rstrip(), len(end)) + end)
    values = {version: number} | {f"{part}{place}": text for place, text in enumerate(texts)}
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
        for key, value in values.items()
    ]
    connection.execute(sa.insert(_STUDY), rows)


def _write_figure(connection: sa.Connection, study_id: int, part: str, text: str) -> None:
    """Write a figure, and nothing is left of a longer one."""
    texts = _parts(connection, text)
    for place, one in enumerate(texts):
        _replace(connection, _STUDY, {"study_id": study_id, "key": f"{part}{place}"}, one)
    place, mine = len(texts), _STUDY.c.study_id == study_id
    while connection.execute(
        sa.delete(_STUDY).where(mine, _STUDY.c.key == f"{part}{place}")
    ).rowcount:
        place += 1


def _parts(connection: sa.Connection, text: str) -> list[str]:
    """Return a text in as few parts as the database holds."""
    return mariadb.parts(text) if connection.dialect.name == mariadb.NAME else [text]


def _cut(connection: sa.Connection, body: str, beside: int) -> str:
    """Return a note as long as its parts hold on MariaDB, with what stands beside it."""
    room = PARTS * mariadb.LETTERS - beside
    if connection.dialect.name != mariadb.NAME or len(body) <= room:
        return body
    return body[: max(0, room - len(CUT))] + CUT


def _replace(
    connection: sa.Connection, table: sa.TableClause, key: Mapping[str, Any], value: Any
) -> None:
    """Write one attribute, whether it is there or not, on any database."""
    where = [table.c[name] == wanted for name, wanted in key.items()]
    text = json.dumps(value)
    changed = connection.execute(sa.update(table).where(*where).values(value_json=text))
    if changed.rowcount == 0:
        connection.execute(sa.insert(table).values(**key, value_json=text))
