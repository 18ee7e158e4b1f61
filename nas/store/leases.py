"""Who may write to an evaluation: claims, leases, fencing, taking over from the dead.

Functions on an open transaction. Time is the database's, so that workers' clocks don't matter.
"""

from functools import cache, partial
from typing import Any, NamedTuple, cast

import sqlalchemy as sa

from nas.errors import LostLease
from nas.store import queries
from nas.store.engine import database_seconds, seconds_on
from nas.store.models import ArchitectureRow, EvaluationRow, TrialRow
from nas.store.records import Lease, Outcome, Proposal
from nas.store.tables import insert_new


class Worker(NamedTuple):
    """Who asks for leases, for which study, and for how many seconds at a time."""

    name: str
    study_id: int
    seconds: float


class Claim(NamedTuple):
    """What a claim found: `trial` is (trial id, number) of a trial that goes on, if any."""

    outcome: Outcome
    evaluation_id: int = 0
    attempt: int = 0
    trial: tuple[int, int] | None = None


def claim(
    connection: sa.Connection,
    worker: Worker,
    proposal: Proposal,
    *,
    number: int,
    budget: int | None,
) -> Claim:
    """Begin a proposal's evaluation, or find that it is done, running elsewhere, or over budget.

    `number` is that of the study's next trial. On a transaction that holds the study's lock, so
    that it and the budget hold.
    """
    is_spent = partial(queries.is_spent, connection, worker.study_id, number, budget)
    row = _find(connection, proposal)
    if row.id is None:
        other = _running(connection, worker, proposal, row.now)
        if other is not None:
            return other
        if is_spent():
            return Claim("budget")
        evaluation_id = _begin(connection, worker, proposal, number, row.now)
        if evaluation_id is not None:
            return Claim("run", evaluation_id, 1)
        row = _find(connection, proposal)  # another study's worker was first
    dead = row.state == "running" and row.expires_at < row.now
    elsewhere = row.study_id != worker.study_id  # where it failed for reasons of that search
    given_up = row.state == "pruned" and proposal.promoted_from is not None  # by another's pruner
    if not dead and not given_up and not (row.state == "failed" and elsewhere):
        return Claim("elsewhere" if row.state == "running" else row.state, row.id, row.attempt)
    paid = row.study_id == worker.study_id and row.number is not None
    if not paid and is_spent():
        return Claim("budget")
    return _take_over(connection, worker, row)


def _running(
    connection: sa.Connection, worker: Worker, proposal: Proposal, now: float
) -> Claim | None:
    """Find a proposed network at another fidelity, where the study's other workers train it now."""
    if proposal.promoted_from is not None:
        return None
    table = EvaluationRow
    statement = sa.select(table.id, table.attempt).where(
        table.architecture_id == proposal.architecture_id,
        table.recipe_hash == proposal.recipe_hash,
        table.study_id == worker.study_id,
        table.state == "running",
        table.expires_at >= now,
    )
    found = connection.execute(statement).first()
    return None if found is None else Claim("elsewhere", found.id, found.attempt)


def adopt(connection: sa.Connection, worker: Worker) -> Claim | None:
    """Take over the study's oldest running trial that nobody holds; None if there is none.

    That is one whose lease has expired, or which this very worker holds: it asks for work, so the
    database must have lost its connection to it when it gave the lease.
    """
    for row in connection.execute(_free(connection.dialect.name), worker._asdict()).all():
        if _raise_attempt(connection, worker, row, row.number):
            return Claim("run", row.id, row.attempt + 1, (row.trial_id, row.number))
    return None


def has_free(connection: sa.Connection, worker: Worker) -> bool:
    """Tell whether there is a running trial that nobody holds; takes no lock."""
    found = connection.execute(_free(connection.dialect.name), worker._asdict()).first()
    return found is not None


@cache
def _free(dialect: str) -> Any:
    evaluation, trial = EvaluationRow, TrialRow
    unheld = sa.or_(
        evaluation.expires_at < seconds_on(dialect), evaluation.worker == sa.bindparam("name")
    )
    return (
        sa.select(evaluation.id, evaluation.attempt, trial.trial_id, trial.number)
        .join(trial, (trial.study_id == evaluation.study_id) & (trial.number == evaluation.number))
        .where(evaluation.study_id == sa.bindparam("study_id"), evaluation.state == "running")
        .where(unheld)
        .order_by(trial.number)
    )


def fenced(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    """Update a leased evaluation; raise LostLease when the attempt is no longer the lease's.

    `expires_at` is given as seconds from now.
    """
    key = {"evaluation": lease.evaluation_id, "of_attempt": lease.attempt}
    statement = _fencing(connection.dialect.name, tuple(values))
    if connection.execute(statement, key | values).rowcount != 1:
        raise LostLease(
            f"Trial {lease.number}: attempt {lease.attempt} of {lease.worker} is over; "
            "another worker has taken the trial over or finished it."
        )


@cache
def _fencing(dialect: str, names: tuple[str, ...]) -> Any:
    table = EvaluationRow
    changed: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    if "expires_at" in names:
        changed["expires_at"] = seconds_on(dialect) + sa.bindparam("expires_at", type_=sa.Double())
    return (
        sa.update(table)
        .where(table.id == sa.bindparam("evaluation"), table.state == "running")
        .where(table.attempt == sa.bindparam("of_attempt"))
        .values(changed)
    )


@cache
def _finding(dialect: str) -> Any:
    """Return the SELECT of an evaluation by its key: always one row, for the time is in it."""
    table = EvaluationRow
    columns = (table.id, table.state, table.attempt, table.study_id, table.number, table.expires_at)
    key = (
        (table.architecture_id == sa.bindparam("architecture_id"))
        & (table.recipe_hash == sa.bindparam("recipe_hash"))
        & (table.fidelity == sa.bindparam("fidelity"))
    )
    clock = sa.select(seconds_on(dialect).label("now")).subquery("clock")
    return sa.select(clock.c.now, *columns).select_from(clock).outerjoin(table, key)


def _find(connection: sa.Connection, proposal: Proposal) -> Any:
    key = {
        "architecture_id": proposal.architecture_id,
        "recipe_hash": proposal.recipe_hash,
        "fidelity": proposal.fidelity,
    }
    return connection.execute(_finding(connection.dialect.name), key).one()


def _begin(
    connection: sa.Connection, worker: Worker, proposal: Proposal, number: int, now: float
) -> int | None:
    architecture = {
        "id": proposal.architecture_id,
        "json": proposal.architecture.to_json(),
        "notation": proposal.notation,
        **proposal.cost._asdict(),
    }
    insert_new(connection, ArchitectureRow, architecture)
    evaluation = {
        "architecture_id": proposal.architecture_id,
        "recipe_hash": proposal.recipe_hash,
        "fidelity": proposal.fidelity,
        "state": "running",
        "study_id": worker.study_id,
        "number": number,
        "worker": worker.name,
        "attempt": 1,
        "expires_at": now + worker.seconds,
    }
    return cast("int | None", insert_new(connection, EvaluationRow, evaluation))


def _take_over(connection: sa.Connection, worker: Worker, row: Any) -> Claim:
    """Raise the attempt number; a trial of this study goes on, another study's is left to it."""
    trial = None
    if row.study_id == worker.study_id and row.number is not None and row.state == "running":
        key = (TrialRow.study_id == row.study_id) & (TrialRow.number == row.number)
        trial = (
            connection.execute(sa.select(TrialRow.trial_id).where(key)).scalar_one(),
            row.number,
        )
    if not _raise_attempt(connection, worker, row, trial[1] if trial else None):
        return Claim("elsewhere", row.id, row.attempt)
    return Claim("run", row.id, row.attempt + 1, trial)


def _raise_attempt(connection: sa.Connection, worker: Worker, row: Any, number: int | None) -> bool:
    """Make an evaluation this worker's if nobody else has done so since `row` was read."""
    table = EvaluationRow
    free = sa.or_(
        table.state.in_(("failed", "pruned")),
        table.expires_at < database_seconds(connection),
        table.worker == worker.name,
    )
    statement = (
        sa.update(table)
        .where(table.id == row.id, table.attempt == row.attempt, free)
        .values(
            attempt=row.attempt + 1,
            deaths=_deaths(),
            state="running",
            worker=worker.name,
            study_id=worker.study_id,
            number=number,
            reason=None,
            finished=None,
            expires_at=database_seconds(connection) + worker.seconds,
        )
    )
    return connection.execute(statement).rowcount == 1


def _deaths() -> sa.ColumnElement[int]:
    """Count one more death, unless the holder let go (worker '') or the evaluation had ended."""
    table = EvaluationRow
    return sa.case(
        (table.state != "running", 0), (table.worker == "", table.deaths), else_=table.deaths + 1
    )


def take(connection: sa.Connection, worker: Worker, number: int) -> Claim | None:
    """Take over this running trial of the study; None where it has ended or somebody holds it."""
    evaluation = EvaluationRow
    statement = (
        sa.select(evaluation.id, evaluation.attempt, TrialRow.trial_id)
        .join(TrialRow, TrialRow.evaluation_id == evaluation.id)
        .where(TrialRow.study_id == worker.study_id, TrialRow.number == number)
        .where(evaluation.study_id == worker.study_id, evaluation.number == number)
        .where(evaluation.state == "running")
    )
    row = connection.execute(statement).first()
    if row is None or not _raise_attempt(connection, worker, row, number):
        return None
    return Claim("run", row.id, row.attempt + 1, (row.trial_id, number))
