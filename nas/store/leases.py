"""Who may write to an evaluation: claims, leases, fencing, taking over from the dead.

Functions on an open transaction. Time is the database's, so that workers' clocks don't matter.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple, cast

import sqlalchemy as sa

from nas.errors import LostLease
from nas.store import queries
from nas.store.dialects import DatabaseSeconds, insert_new
from nas.store.records import Lease, Outcome, Proposal
from nas.store.schema import ARCHITECTURES, EVALUATIONS, RECIPES, TRIALS

_t, _e = TRIALS.c, EVALUATIONS.c


class Claimant(NamedTuple):
    """Who asks for leases, for which study, and for how many seconds at a time."""

    name: str
    study_id: int
    seconds: float


class Claim(NamedTuple):
    """The answer to a claim; `trial` is (trial id, number) of a trial that goes on, if any."""

    outcome: Outcome
    evaluation_id: int = 0
    attempt: int = 0
    trial: tuple[int, int] | None = None


def claim(
    connection: sa.Connection,
    worker: Claimant,
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
            return Claim("elsewhere", other.id, other.attempt)
        if is_spent():
            return Claim("budget")
        evaluation_id = _begin(connection, worker, proposal, number, row.now)
        if evaluation_id is not None:
            return Claim("run", evaluation_id, 1)
        row = _find(connection, proposal)  # another study's worker was first
    dead = row.state == "running" and row.expires_at < row.now
    own = row.study_id == worker.study_id
    failed_elsewhere = row.state == "failed" and not own  # for reasons of that search
    given_up = row.state == "pruned" and proposal.promoted_from is not None  # by another's pruner
    if not (dead or failed_elsewhere or given_up):
        return Claim("elsewhere" if row.state == "running" else row.state, row.id, row.attempt)
    paid = own and row.number is not None
    if not paid and is_spent():
        return Claim("budget")
    trial = None
    if paid and row.state == "running":  # a trial of this study goes on
        mine = sa.select(_t.trial_id).where(_t.study_id == row.study_id, _t.number == row.number)
        trial = (connection.execute(mine).scalar_one(), row.number)
    if not _raise_attempt(connection, worker, row, trial[1] if trial else number):
        return Claim("elsewhere", row.id, row.attempt)
    return Claim("run", row.id, row.attempt + 1, trial)


def _running(connection: sa.Connection, worker: Claimant, proposal: Proposal, now: float) -> Any:
    """Find a proposed network at another fidelity, where the study's other workers train it now."""
    if proposal.promoted_from is not None:
        return None
    statement = sa.select(_e.id, _e.attempt).where(
        _e.architecture_id == proposal.architecture_id,
        _e.recipe_hash == proposal.recipe_hash,
        _e.study_id == worker.study_id,
        _e.state == "running",
        _e.expires_at >= now,
    )
    return connection.execute(statement).first()


def adopt(connection: sa.Connection, worker: Claimant, number: int | None = None) -> Claim | None:
    """Take over the study's oldest running trial that nobody holds; None if there is none.

    Its lease has expired, or this very worker holds it: the worker asks for work, so the database
    must have lost the connection when it gave the lease. `number` wants one trial and no other.
    """
    for row in free(connection, worker, number):
        if _raise_attempt(connection, worker, row, row.number):
            return Claim("run", row.id, row.attempt + 1, (row.trial_id, row.number))
    return None


def free(connection: sa.Connection, worker: Claimant, number: int | None = None) -> Sequence[Any]:
    """Return the study's running trials that nobody holds, or the one of this number."""
    statement = _FREE if number is None else _FREE.where(_t.number == number)
    return connection.execute(statement, worker._asdict()).all()


_FREE = (
    sa.select(_e.id, _e.attempt, _t.trial_id, _t.number)
    .join_from(EVALUATIONS, TRIALS, (_t.study_id == _e.study_id) & (_t.number == _e.number))
    .where(_e.study_id == sa.bindparam("study_id"), _e.state == "running")
    .where((_e.expires_at < DatabaseSeconds()) | (_e.worker == sa.bindparam("name")))
    .order_by(_t.number)
)


def fenced(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    """Update a leased evaluation; raise LostLease when the attempt is no longer the lease's.

    `expires_at` is given as seconds from now.
    """
    key = {"evaluation": lease.evaluation_id, "of_attempt": lease.attempt}
    statement = _fencing(*values)
    if connection.execute(statement, key | values).rowcount != 1:
        raise LostLease(
            f"Trial {lease.number}: attempt {lease.attempt} of {lease.worker} is over; "
            "another worker has taken the trial over or finished it."
        )


@cache
def _fencing(*names: str) -> Any:
    changed: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    if "expires_at" in names:
        changed["expires_at"] = DatabaseSeconds() + sa.bindparam("expires_at", type_=sa.Double())
    return (
        EVALUATIONS.update()
        .where(_e.id == sa.bindparam("evaluation"), _e.state == "running")
        .where(_e.attempt == sa.bindparam("of_attempt"))
        .values(changed)
    )


_KEY = ("architecture_id", "recipe_hash", "fidelity")
_CLOCK = sa.select(DatabaseSeconds().label("now")).subquery("clock")
_FIND = (  # always one row, for the time is in it
    sa.select(_CLOCK.c.now, _e.id, _e.state, _e.attempt, _e.study_id, _e.number, _e.expires_at)
    .select_from(_CLOCK)
    .outerjoin(EVALUATIONS, sa.and_(*(_e[name] == sa.bindparam(name) for name in _KEY)))
)


def _find(connection: sa.Connection, proposal: Proposal) -> Any:
    return connection.execute(_FIND, {name: getattr(proposal, name) for name in _KEY}).one()


def _begin(
    connection: sa.Connection, worker: Claimant, proposal: Proposal, number: int, now: float
) -> int | None:
    architecture = {
        "id": proposal.architecture_id,
        "json": proposal.architecture.to_json(),
        "notation": proposal.notation,
        **proposal.cost._asdict(),
    }
    insert_new(connection, ARCHITECTURES, architecture)
    if proposal.recipe is not None:
        recipe = {"hash": proposal.recipe_hash, "json": dict(proposal.recipe)}
        insert_new(connection, RECIPES, recipe)
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
    return cast("int | None", insert_new(connection, EVALUATIONS, evaluation))


def _raise_attempt(connection: sa.Connection, worker: Claimant, row: Any, number: int) -> bool:
    """Make an evaluation this worker's if nobody else has done so since `row` was read."""
    free = sa.or_(
        _e.state.in_(("failed", "pruned")),
        _e.expires_at < DatabaseSeconds(),
        _e.worker == worker.name,
    )
    statement = (
        EVALUATIONS.update()
        .where(_e.id == row.id, _e.attempt == row.attempt, free)
        .values(
            attempt=row.attempt + 1,
            deaths=_DEATHS,
            state="running",
            worker=worker.name,
            study_id=worker.study_id,
            number=number,
            reason=None,
            finished=None,
            expires_at=DatabaseSeconds() + worker.seconds,
        )
    )
    return connection.execute(statement).rowcount == 1


# One more death, unless the holder let go (worker '') or the evaluation had ended.
_DEATHS = sa.case((_e.state != "running", 0), (_e.worker == "", _e.deaths), else_=_e.deaths + 1)
