"""Every read of the store, as plain SELECTs over Optuna's tables and ours.

Imports neither Optuna nor Alembic nor SQLAlchemy's ORM: `nas status` and `nas top` start here.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nas.cost import Cost
from nas.errors import StoreError, unknown
from nas.store import engine as engines
from nas.store.records import CurvePoint, Evaluation, Metrics


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """A study's name, what it searches, and when it was created (UTC)."""

    id: int
    name: str
    config: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many trials of a study are in which state; each trial is counted once."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    reused: int = 0

    @property
    def total(self) -> int:
        """Return the number of all trials."""
        return self.complete + self.pruned + self.failed + self.running + self.reused


@dataclass(frozen=True, kw_only=True)
class TrialInfo:
    """One trial with what was measured; `score` is Optuna's value, None while it runs.

    stopped: it runs in Optuna's eyes, but its worker died or let go and none has taken it over.
    """

    number: int
    state: str
    score: float | None
    evaluation_id: int
    architecture_id: str
    notation: str
    cost: Cost
    metrics: Metrics
    reason: str | None
    seconds: float | None
    fidelity: int
    attempt: int
    worker: str
    reused_from: str | None
    stopped: bool

    @property
    def one_class(self) -> bool:
        """Tell whether the model predicts a single class."""
        return self.metrics.get("predicted_classes") == 1


@contextmanager
def connect(url: str) -> Iterator[sa.Connection]:
    """Open a store for reading; raise StoreError when there is none."""
    parsed = engines.parse(url)
    engine = engines.read_engine(parsed)
    try:
        with engines.translated(parsed, "read"), engine.connect() as connection:
            if not sa.inspect(connection).has_table("nas_studies"):
                raise StoreError(
                    f"No store at {engines.masked(parsed)}: the database has no nas tables. "
                    "Name another with --store or NAS_STORE, or run a search first."
                )
            yield connection
    finally:
        engine.dispose()


def studies(connection: sa.Connection) -> list[StudyInfo]:
    """Return all studies, the oldest first."""
    rows = connection.execute(
        sa.text("SELECT id, name, config, created FROM nas_studies ORDER BY id")
    )
    return [_study_info(row) for row in rows]


def study(connection: sa.Connection, name: str) -> StudyInfo:
    """Return one study by its name; raise StoreError with the names there are."""
    statement = sa.text("SELECT id, name, config, created FROM nas_studies WHERE name = :name")
    row = connection.execute(statement, {"name": name}).one_or_none()
    if row is None:
        raise StoreError(unknown("study", name, [each.name for each in studies(connection)]))
    return _study_info(row)


def _study_info(row: Any) -> StudyInfo:
    created = row.created if isinstance(row.created, datetime) else _datetime(row.created)
    return StudyInfo(id=row.id, name=row.name, config=_json(row.config), created=created)


def counts(connection: sa.Connection, study_id: int) -> Counts:
    """Count a study's trials by state; a reused one is counted as reused, whatever its state."""
    statement = sa.text(
        "SELECT CASE WHEN t.reused_from IS NULL THEN CAST(o.state AS VARCHAR(16)) ELSE 'REUSED' END"
        " AS state, count(*) AS trials FROM trials o LEFT JOIN nas_trials t"
        " ON t.trial_id = o.trial_id WHERE o.study_id = :study GROUP BY 1"
    )
    found = {row.state: row.trials for row in connection.execute(statement, {"study": study_id})}
    return Counts(
        complete=found.get("COMPLETE", 0),
        pruned=found.get("PRUNED", 0),
        failed=found.get("FAIL", 0),
        running=found.get("RUNNING", 0),
        reused=found.get("REUSED", 0),
    )


def total(connection: sa.Connection, study_id: int) -> int:
    """Count a study's trials, whatever their state."""
    statement = sa.text("SELECT count(*) FROM trials WHERE study_id = :study")
    return int(connection.execute(statement, {"study": study_id}).scalar_one())


_TRIAL = (
    "SELECT t.number, CAST(o.state AS VARCHAR(16)) AS state, v.value AS score,"
    " t.evaluation_id, e.architecture_id, a.notation, a.macs, a.params, a.activations,"
    " a.peak_activation_bytes, e.metrics, e.reason, e.seconds, e.fidelity, e.attempt, e.worker,"
    " t.reused_from, (o.state = 'RUNNING' AND e.state = 'running' AND e.expires_at < {now})"
    " AS stopped FROM nas_trials t"
    " JOIN trials o ON o.trial_id = t.trial_id"
    " JOIN nas_evaluations e ON e.id = t.evaluation_id"
    " JOIN nas_architectures a ON a.id = e.architecture_id"
    " LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0"
)


def _trial_sql(connection: sa.Connection) -> str:
    """Return the SELECT of trials, with the database's own clock in it."""
    return _TRIAL.format(now=engines.database_seconds(connection))


def best(connection: sa.Connection, study_id: int, n: int = 5) -> list[TrialInfo]:
    """Return the n best complete trials of different architectures, the best first."""
    direction = (
        "SELECT CAST(direction AS VARCHAR(16)) FROM study_directions WHERE study_id = :study"
    )
    minimise = connection.execute(sa.text(direction), {"study": study_id}).scalar() == "MINIMIZE"
    order = "ASC" if minimise else "DESC"
    statement = sa.text(
        f"{_trial_sql(connection)} WHERE t.trial_id IN (SELECT o.trial_id FROM trials o"
        " JOIN trial_values v ON v.trial_id = o.trial_id"
        " WHERE o.study_id = :study AND o.state = 'COMPLETE' AND v.objective = 0"
        f" ORDER BY v.value {order}, o.trial_id LIMIT :limit) ORDER BY v.value {order}, t.trial_id"
    )
    limit = 4 * n  # reused trials repeat an architecture
    while True:
        rows = connection.execute(statement, {"study": study_id, "limit": limit}).all()
        found: dict[str, TrialInfo] = {}
        for row in rows:
            found.setdefault(row.architecture_id, _trial_info(row))
        if len(found) >= n or len(rows) < limit:
            return list(found.values())[:n]
        limit *= 8


def trial(connection: sa.Connection, study_id: int, number: int) -> TrialInfo:
    """Return one trial by its number; raise StoreError when there is none."""
    statement = sa.text(
        _trial_sql(connection) + " WHERE t.study_id = :study AND t.number = :number"
    )
    row = connection.execute(statement, {"study": study_id, "number": number}).one_or_none()
    if row is None:
        raise StoreError(f"No trial {number} in this study; it has {counts(connection, study_id)}.")
    return _trial_info(row)


def trials(connection: sa.Connection, study_id: int) -> list[TrialInfo]:
    """Return all trials of a study, by number."""
    statement = sa.text(_trial_sql(connection) + " WHERE t.study_id = :study ORDER BY t.number")
    return [_trial_info(row) for row in connection.execute(statement, {"study": study_id})]


def running(connection: sa.Connection, study_id: int) -> list[TrialInfo]:
    """Return the trials that run in Optuna's eyes, by number; some may be `stopped`."""
    statement = sa.text(
        _trial_sql(connection)
        + " WHERE o.study_id = :study AND o.state = 'RUNNING' ORDER BY t.number"
    )
    return [_trial_info(row) for row in connection.execute(statement, {"study": study_id})]


def _trial_info(row: Any) -> TrialInfo:
    return TrialInfo(
        number=row.number,
        state=row.state.lower(),
        score=row.score,
        evaluation_id=row.evaluation_id,
        architecture_id=row.architecture_id,
        notation=row.notation,
        cost=Cost(row.macs, row.params, row.activations, row.peak_activation_bytes),
        metrics=_json(row.metrics) or {},
        reason=row.reason,
        seconds=row.seconds,
        fidelity=row.fidelity,
        attempt=row.attempt,
        worker=row.worker,
        reused_from=row.reused_from,
        stopped=bool(row.stopped),
    )


def evaluation(connection: sa.Connection, evaluation_id: int) -> Evaluation:
    """Return one evaluation with its architecture; raise KeyError when there is none."""
    statement = sa.text(
        "SELECT e.id, e.state, e.architecture_id, a.json AS architecture, a.notation, a.macs,"
        " a.params, a.activations, a.peak_activation_bytes, e.recipe_hash, e.fidelity,"
        " s.name AS study, e.number, e.worker, e.attempt, e.deaths, e.metrics, e.reason,"
        " e.seconds, e.checkpoint FROM nas_evaluations e"
        " JOIN nas_architectures a ON a.id = e.architecture_id"
        " LEFT JOIN nas_studies s ON s.id = e.study_id WHERE e.id = :id"
    )
    row = connection.execute(statement, {"id": evaluation_id}).one_or_none()
    if row is None:
        raise KeyError(f"No evaluation {evaluation_id}.")
    return Evaluation(
        id=row.id,
        state=row.state,
        architecture_id=row.architecture_id,
        architecture=_json(row.architecture),
        notation=row.notation,
        cost=Cost(row.macs, row.params, row.activations, row.peak_activation_bytes),
        recipe_hash=row.recipe_hash,
        fidelity=row.fidelity,
        study=row.study,
        number=row.number,
        worker=row.worker,
        attempt=row.attempt,
        deaths=row.deaths,
        metrics=_json(row.metrics) or {},
        reason=row.reason,
        seconds=row.seconds,
        checkpoint=row.checkpoint,
    )


def curve(connection: sa.Connection, evaluation_id: int) -> list[CurvePoint]:
    """Return an evaluation's metrics after each epoch so far."""
    statement = sa.text(
        "SELECT epoch, metrics, train_loss, seconds, learning_rate FROM nas_curve_points"
        " WHERE evaluation_id = :id ORDER BY epoch"
    )
    return [
        CurvePoint(
            epoch=row.epoch,
            metrics=_json(row.metrics),
            train_loss=row.train_loss,
            seconds=row.seconds,
            learning_rate=row.learning_rate,
        )
        for row in connection.execute(statement, {"id": evaluation_id})
    ]


def failures(connection: sa.Connection, study_id: int) -> dict[str, int]:
    """Count a study's failed evaluations by reason, the most frequent first."""
    statement = sa.text(
        "SELECT reason, count(*) AS trials FROM nas_evaluations"
        " WHERE study_id = :study AND state = 'failed' GROUP BY reason ORDER BY count(*) DESC"
    )
    rows = connection.execute(statement, {"study": study_id})
    return {row.reason or "unknown": row.trials for row in rows}


def recipe(connection: sa.Connection, recipe_hash: str) -> Mapping[str, Any]:
    """Return a recipe's JSON by its hash; raise KeyError when there is none."""
    statement = sa.text("SELECT json FROM nas_recipes WHERE hash = :hash")
    row = connection.execute(statement, {"hash": recipe_hash}).one_or_none()
    if row is None:
        raise KeyError(f"No recipe {recipe_hash!r}.")
    found: Mapping[str, Any] = _json(row.json)
    return found


def test_looks(connection: sa.Connection, study_id: int) -> list[tuple[int, Metrics]]:
    """Return each look at the test split: the evaluation and what it showed, in order."""
    statement = sa.text(
        "SELECT evaluation_id, metrics FROM nas_test_looks WHERE study_id = :study ORDER BY id"
    )
    rows = connection.execute(statement, {"study": study_id})
    return [(row.evaluation_id, _json(row.metrics)) for row in rows]


test_looks.__test__ = False  # type: ignore[attr-defined]  # its name is no invitation to pytest


def artifacts(connection: sa.Connection, study_id: int) -> list[tuple[str, str]]:
    """Return the kind and the path of each file that a study made, in order."""
    statement = sa.text("SELECT kind, path FROM nas_artifacts WHERE study_id = :study ORDER BY id")
    return [(row.kind, row.path) for row in connection.execute(statement, {"study": study_id})]


def spent(connection: sa.Connection, study_id: int) -> int:
    """Count the evaluations that a study began itself: what its budget of trials has paid for.

    A claim whose worker died before its trial was made is not counted.
    """
    now = engines.database_seconds(connection)
    statement = sa.text(
        "SELECT count(*) FROM nas_evaluations WHERE study_id = :study AND"
        f" (number IS NOT NULL OR expires_at >= {now})"
    )
    return int(connection.execute(statement, {"study": study_id}).scalar_one())


def unlinked(
    connection: sa.Connection, study_id: int, *, only_running: bool = False
) -> list[dict[str, Any]]:
    """Return the trials whose link to their evaluation was lost in a crash, as rows to insert."""
    state = " AND o.state = 'RUNNING'" if only_running else ""
    statement = sa.text(
        "SELECT o.trial_id, o.number, u.key, u.value_json FROM trials o"
        " JOIN trial_user_attributes u ON u.trial_id = o.trial_id"
        " LEFT JOIN nas_trials t ON t.trial_id = o.trial_id WHERE o.study_id = :study"
        f" AND t.trial_id IS NULL AND u.key IN ('evaluation', 'reused_from'){state}"
    )
    rows: dict[int, dict[str, Any]] = {}
    for row in connection.execute(statement, {"study": study_id}):
        made = {"trial_id": row.trial_id, "study_id": study_id, "number": row.number}
        name = "evaluation_id" if row.key == "evaluation" else row.key
        rows.setdefault(row.trial_id, made)[name] = json.loads(row.value_json)
    return [row for row in rows.values() if "evaluation_id" in row]


def running_links(
    connection: sa.Connection, study_id: int
) -> list[tuple[int, int, int, datetime | None]]:
    """Return each trial that runs in Optuna's eyes: its id, number, evaluation id, and end (UTC).

    The end is that of the evaluation: there is one where Optuna hasn't been told, yet or ever.
    """
    statement = sa.text(
        "SELECT t.trial_id, t.number, t.evaluation_id, e.finished FROM nas_trials t"
        " JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE o.study_id = :study AND o.state = 'RUNNING' ORDER BY t.number"
    ).columns(finished=sa.DateTime())
    rows = connection.execute(statement, {"study": study_id})
    return [(row.trial_id, row.number, row.evaluation_id, row.finished) for row in rows]


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _datetime(value: str) -> datetime:
    return datetime.fromisoformat(value)
