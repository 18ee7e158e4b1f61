"""Every read of the store, as plain SELECTs over Optuna's tables and ours.

Imports neither Optuna nor Alembic nor SQLAlchemy's ORM: `nas status` and `nas top` start here.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas.cost import Cost
from nas.errors import StoreError, unknown
from nas.pruners.ladder import Seen
from nas.store import engine as engines
from nas.store.records import CurvePoint, Evaluation, Metrics, StoredArchitecture


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """A study's name, what it searches, and when it was created (UTC)."""

    id: int
    name: str
    config: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many trials of a study are in which state; each trial is counted once.

    promoted: it stopped at a rung, and another trial has gone on from there.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    reused: int = 0
    promoted: int = 0

    @property
    def total(self) -> int:
        """Return the number of all trials."""
        return (
            self.complete + self.pruned + self.failed + self.running + self.reused + self.promoted
        )


@dataclass(frozen=True, kw_only=True)
class TrialInfo:
    """One trial with what was measured; `score` is Optuna's value, None while it runs.

    `latency_ms` is what the study's table predicts, None in a study without one.

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
    latency_ms: float | None = None

    @property
    def one_class(self) -> bool:
        """Tell whether the model predicts a single class."""
        return self.metrics.get("predicted_classes") == 1

    def summary(self) -> dict[str, Any]:
        """Return what a search's result says of the trial, as plain data."""
        return {
            "trial": self.number, "score": self.score, **self.metrics, "macs": self.cost.macs,
            "params": self.cost.params, "latency_ms": self.latency_ms,
            "notation": self.notation.split("\n"),
        }  # fmt: skip


@contextmanager
def connect(url: str) -> Iterator[sa.Connection]:
    """Open a store for reading; raise StoreError when there is none."""
    parsed = engines.parse(url)
    engine = engines.read_engine(parsed)
    try:
        with engines.translated(parsed, "read"), engine.connect() as connection:
            if not sa.inspect(connection).has_table("nas_studies"):
                raise no_tables(parsed)
            yield connection
    finally:
        engine.dispose()


def no_tables(url: sa.URL) -> StoreError:
    """Return the error of a database that is no store."""
    return StoreError(
        f"No store at {engines.masked(url)}: the database has no nas tables. "
        "Name another with --store or NAS_STORE, or run a search first."
    )


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
    found = _states(connection, _BY_STATE, study_id)
    reused = _states(connection, _REUSED_BY_STATE, study_id)
    promoted = promotions(connection, study_id)
    return Counts(
        complete=found["COMPLETE"] - reused["COMPLETE"],
        pruned=found["PRUNED"] - reused["PRUNED"] - promoted,
        failed=found["FAIL"] - reused["FAIL"],
        running=found["RUNNING"] - reused["RUNNING"],
        reused=reused.total(),
        promoted=promoted,
    )


_BY_STATE = "SELECT state, count(*) AS trials FROM trials WHERE study_id = :study GROUP BY state"
_REUSED_BY_STATE = (
    "SELECT o.state, count(*) AS trials FROM nas_trials t"
    " JOIN trials o ON o.trial_id = t.trial_id"
    " WHERE t.study_id = :study AND t.reused_from IS NOT NULL GROUP BY o.state"
)


def _states(connection: sa.Connection, statement: str, study_id: int) -> Counter[str]:
    rows = connection.execute(sa.text(statement), {"study": study_id})
    return Counter({row.state: row.trials for row in rows})


def promotions(connection: sa.Connection, study_id: int) -> int:
    """Count the trials of a study's own that stopped at a rung and went on in another trial."""
    going_on = (
        "SELECT count(DISTINCT promoted_from) FROM nas_trials"
        " WHERE study_id = :study AND promoted_from IS NOT NULL"
    )
    from_reused = (
        "SELECT count(DISTINCT later.promoted_from) FROM nas_trials t JOIN nas_trials later"
        " ON later.study_id = t.study_id AND later.promoted_from = t.number"
        " WHERE t.study_id = :study AND t.reused_from IS NOT NULL"
    )
    statement = sa.text(f"SELECT ({going_on}) - ({from_reused})")
    return int(connection.execute(statement, {"study": study_id}).scalar_one())


def fidelities(connection: sa.Connection, study_id: int) -> dict[int, int]:
    """Count a study's complete evaluations, reused ones too, at each fidelity, the lowest first."""
    statement = sa.text(
        "SELECT fidelity, count(*) AS evaluations FROM nas_evaluations"
        " WHERE study_id = :study AND state = 'complete' GROUP BY fidelity UNION ALL"
        " SELECT e.fidelity, count(DISTINCT e.id) FROM nas_trials t"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE t.study_id = :study AND t.reused_from IS NOT NULL AND e.state = 'complete'"
        " AND (e.study_id IS NULL OR e.study_id <> :study) GROUP BY e.fidelity"
    )
    found: Counter[int] = Counter()
    for row in connection.execute(statement, {"study": study_id}):
        found[row.fidelity] += row.evaluations
    return dict(sorted(found.items()))


def seen(connection: sa.Connection, study_id: int, first: int = 0) -> list[Seen]:
    """Return the networks of a study's trials, from a number on, at their fidelities."""
    statement = sa.text(
        "SELECT t.number, t.evaluation_id, e.architecture_id, e.fidelity, v.value AS score,"
        " o.state FROM nas_trials t"
        " JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0"
        " WHERE t.study_id = :study AND t.number >= :first ORDER BY t.number"
    )
    return [
        Seen(
            architecture_id=row.architecture_id,
            fidelity=row.fidelity,
            ended=row.state != "RUNNING",
            score=None if row.state == "RUNNING" else row.score,
            number=row.number,
            evaluation_id=row.evaluation_id,
        )
        for row in connection.execute(statement, {"study": study_id, "first": first})
    ]


def epoch_seconds(connection: sa.Connection, study_id: int) -> float:
    """Return the mean seconds of an epoch in a study's longest complete evaluations, 0 of none.

    A thousand of them say it.
    """
    statement = sa.text(
        "SELECT avg(seconds / fidelity) AS epoch FROM (SELECT seconds, fidelity"
        " FROM nas_evaluations WHERE study_id = :study AND state = 'complete'"
        " AND seconds IS NOT NULL AND fidelity = (SELECT max(fidelity) FROM nas_evaluations"
        " WHERE study_id = :study AND state = 'complete') LIMIT 1000) AS thousand"
    )
    return float(connection.execute(statement, {"study": study_id}).scalar() or 0.0)


def trained(
    connection: sa.Connection, architecture_id: str, recipe_hash: str
) -> list[tuple[int, str | None]]:
    """Return how far a network's training has come in any study: fidelity and checkpoint folder.

    Of what is complete or was pruned, the longest first; what was pruned has the fidelity 0.
    """
    statement = sa.text(
        "SELECT CASE state WHEN 'complete' THEN fidelity ELSE 0 END AS reached, checkpoint"
        " FROM nas_evaluations WHERE architecture_id = :architecture AND recipe_hash = :recipe"
        " AND state IN ('complete', 'pruned') ORDER BY 1 DESC"
    )
    key = {"architecture": architecture_id, "recipe": recipe_hash}
    return [(row.reached, row.checkpoint) for row in connection.execute(statement, key)]


def total(connection: sa.Connection, study_id: int) -> int:
    """Count a study's trials, whatever their state: Optuna numbers them from 0, without gaps."""
    statement = sa.text(
        "SELECT number FROM trials WHERE study_id = :study ORDER BY trial_id DESC LIMIT 1"
    )
    newest = connection.execute(statement, {"study": study_id}).scalar()
    return 0 if newest is None else int(newest) + 1


_TRIAL = (
    "SELECT t.number, o.state, v.value AS score,"
    " t.evaluation_id, e.architecture_id, a.notation, a.macs, a.params, a.activations,"
    " a.peak_activation_bytes, e.metrics, e.reason, e.seconds, e.fidelity, e.attempt, e.worker,"
    " t.reused_from, u.value_json AS latency_ms,"
    " (o.state = 'RUNNING' AND e.state = 'running' AND e.expires_at < {now}) AS stopped"
    " FROM nas_trials t"
    " JOIN trials o ON o.trial_id = t.trial_id"
    " JOIN nas_evaluations e ON e.id = t.evaluation_id"
    " JOIN nas_architectures a ON a.id = e.architecture_id"
    " LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0"
    " LEFT JOIN trial_user_attributes u ON u.trial_id = t.trial_id AND u.key = 'latency_ms'"
)


def _trial_sql(connection: sa.Connection) -> str:
    """Return the SELECT of trials, with the database's own clock in it."""
    return _TRIAL.format(now=engines.database_seconds(connection))


def best(connection: sa.Connection, study_id: int, n: int = 5) -> list[TrialInfo]:
    """Return the n best complete trials of different architectures, the best first."""
    direction = "SELECT direction FROM study_directions WHERE study_id = :study"
    minimise = connection.execute(sa.text(direction), {"study": study_id}).scalar() == "MINIMIZE"
    order = "ASC" if minimise else "DESC"
    statement = sa.text(
        f"{_trial_sql(connection)} WHERE t.trial_id IN (SELECT trial_id FROM ("
        "SELECT o.trial_id FROM trial_values v"
        " CROSS JOIN trials o"  # from the best value down: SQLite keeps the order of a cross join
        " WHERE o.trial_id = v.trial_id AND v.objective = 0"
        " AND o.study_id = :study AND o.state = 'COMPLETE'"
        f" ORDER BY v.value {order}, o.trial_id LIMIT :limit) first)"  # two: MariaDB asks for it
        f" ORDER BY v.value {order}, t.trial_id"
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


def endings(connection: sa.Connection, study_id: int) -> list[tuple[int, float]]:
    """Return each ended trial in the order of their ends: its number, its seconds of training.

    A reused one took none; nor did the epochs that a shorter training of the network had done.
    """
    done = (
        "SELECT 1 FROM nas_evaluations shorter JOIN nas_curve_points d"
        " ON d.evaluation_id = shorter.id AND d.epoch = c.epoch"
        " WHERE shorter.architecture_id = e.architecture_id"
        " AND shorter.recipe_hash = e.recipe_hash AND shorter.fidelity < e.fidelity"
    )
    statement = sa.text(
        "SELECT t.number, (SELECT sum(c.seconds) FROM nas_curve_points c WHERE"
        f" c.evaluation_id = e.id AND t.reused_from IS NULL AND NOT EXISTS ({done})) AS seconds"
        " FROM nas_trials t JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE o.study_id = :study AND o.datetime_complete IS NOT NULL"
        " ORDER BY o.datetime_complete, t.number"
    )
    rows = connection.execute(statement, {"study": study_id})
    return [(row.number, row.seconds or 0.0) for row in rows]


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
        latency_ms=_json(row.latency_ms),
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
        architecture_json=_json(row.architecture),
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


@dataclass(frozen=True, kw_only=True)
class Known(StoredArchitecture):
    """An architecture that was trained, and the metrics that it reached."""

    metrics: Metrics


def known(connection: sa.Connection, recipe_hash: str, fidelity: int, study_id: int) -> list[Known]:
    """Return what other studies completed under a recipe and this one has no trial of."""
    statement = sa.text(
        "SELECT a.json, a.macs, a.params, a.activations, a.peak_activation_bytes, e.metrics"
        " FROM nas_evaluations e JOIN nas_architectures a ON a.id = e.architecture_id"
        " WHERE e.recipe_hash = :recipe AND e.fidelity = :fidelity AND e.state = 'complete'"
        " AND NOT EXISTS (SELECT 1 FROM nas_trials t"
        " WHERE t.evaluation_id = e.id AND t.study_id = :study) ORDER BY e.id"
    )
    bound = {"recipe": recipe_hash, "fidelity": fidelity, "study": study_id}
    return [
        Known(
            architecture_json=_json(row.json),
            cost=Cost(row.macs, row.params, row.activations, row.peak_activation_bytes),
            metrics=_json(row.metrics) or {},
        )
        for row in connection.execute(statement, bound)
    ]


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
    """Count the networks that a study began to train: what its budget of trials has paid for.

    A network that is promoted was paid for when it began, one that is reused in its own study.
    """
    statement = sa.text(
        "SELECT (SELECT count(*) FROM nas_trials WHERE study_id = :study)"
        " - (SELECT count(*) FROM nas_trials"
        " WHERE study_id = :study AND reused_from IS NOT NULL)"
        " - (SELECT count(*) FROM nas_trials"
        " WHERE study_id = :study AND promoted_from IS NOT NULL AND reused_from IS NULL)"
    )
    return int(connection.execute(statement, {"study": study_id}).scalar_one())


def is_spent(connection: sa.Connection, study_id: int, number: int, budget: int | None) -> bool:
    """Tell whether a study's budget is spent, whose next trial gets this number.

    While it can't be, since there are fewer trials than that, what is spent is not counted.
    """
    return budget is not None and number >= budget and spent(connection, study_id) >= budget


def number_within(connection: sa.Connection, study_id: int, budget: int | None) -> int | None:
    """Return the number that a study's next trial gets; None where its budget is spent."""
    number = total(connection, study_id)
    return None if is_spent(connection, study_id, number, budget) else number


def untold(connection: sa.Connection, study_id: int) -> list[tuple[int, int, int]]:
    """Return each trial that runs in Optuna's eyes though its evaluation has ended.

    Its id, number and evaluation id. Another study took the evaluation over and finished it.
    """
    statement = sa.text(
        "SELECT t.trial_id, t.number, t.evaluation_id FROM nas_trials t"
        " JOIN trials o ON o.trial_id = t.trial_id"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE o.study_id = :study AND o.state = 'RUNNING' AND e.state <> 'running'"
        " ORDER BY t.number"
    )
    rows = connection.execute(statement, {"study": study_id})
    return [(row.trial_id, row.number, row.evaluation_id) for row in rows]


class Tried(NamedTuple):
    """A trial's network, and whether it was taken over as it had been trained before."""

    number: int
    architecture_id: str
    is_reused: bool


def tried(connection: sa.Connection, study_id: int, first: int) -> list[Tried]:
    """Return the study's trials from a number on."""
    statement = sa.text(
        "SELECT t.number, e.architecture_id, t.reused_from FROM nas_trials t"
        " JOIN nas_evaluations e ON e.id = t.evaluation_id"
        " WHERE t.study_id = :study AND t.number >= :first ORDER BY t.number"
    )
    rows = connection.execute(statement, {"study": study_id, "first": first})
    return [Tried(row[0], row[1], row[2] is not None) for row in rows]


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _datetime(value: str) -> datetime:
    return datetime.fromisoformat(value)
