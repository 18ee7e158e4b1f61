"""The rows that tell how fast a study goes: who holds its trials, its pace, its pauses.

Plain SELECTs over our tables, as in `nas.store.queries`. Times are UTC; "now" is the database's
clock, the rows' times are the workers' own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from nas.store import dialects, queries
from nas.store import engine as engines

WINDOW = 900.0  # seconds that "the last while" is
NEWEST = 1000  # trainings that tell of the last while and of pauses: no look reads all of them
SHORTEST_PAUSE = 60.0  # seconds; below it, proposing and loading data look like a pause
LONG_EPOCHS = 3.0  # times the longest epoch without any progress: nobody was at work

_NEWEST = (
    "WITH newest AS (SELECT id, state, fidelity, architecture_id, recipe_hash, created, finished"
    " FROM nas_evaluations WHERE study_id = :study ORDER BY id DESC LIMIT :newest)"
)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A worker that trains a trial, and the lease that it holds.

    `name` is '' after a release, `trial` None while the trial is being made; `epoch` of `epochs`
    are stored; `lease_left` is in seconds, below 0 after the lease has run out.
    """

    name: str
    trial: int | None
    epoch: int
    epochs: int
    attempt: int
    lease_left: float

    @property
    def host(self) -> str:
        """Return the machine's name: a worker is called HOST:PROCESS:NUMBER."""
        return self.name.partition(":")[0]

    @property
    def trained(self) -> float:
        """Return the share of the trial's epochs that is trained."""
        return min(1.0, self.epoch / max(1, self.epochs))

    @property
    def lives(self) -> bool:
        """Tell whether it was heard of in time."""
        return bool(self.name) and self.lease_left >= 0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The trials that ended in a time, and the epochs that were trained."""

    seconds: float
    trials: int
    epochs: int

    @property
    def trials_per_hour(self) -> float:
        """Return how many trials ended in an hour."""
        return 3600.0 * self.trials / max(1.0, self.seconds)

    @property
    def epochs_per_hour(self) -> float:
        """Return how many epochs were trained in an hour."""
        return 3600.0 * self.epochs / max(1.0, self.seconds)


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A time in which no worker was at work on the study."""

    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """Return how long it was."""
        return (self.until - self.since).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The workers of a study, its pace and its pauses.

    `recent` covers the last quarter of an hour or the time since the last pause, `overall` the
    whole search without its pauses, which are looked for in the newest 1,000 trainings. `began` is
    the start of the run that goes on now: the end of the last pause.
    """

    now: datetime
    began: datetime
    holders: tuple[Holder, ...]
    recent: Pace
    overall: Pace
    pauses: tuple[Pause, ...]
    last_progress: datetime | None

    @property
    def working(self) -> int:
        """Count the workers that are heard of."""
        return sum(holder.lives for holder in self.holders)


def activity(connection: sa.Connection, info: queries.StudyInfo) -> Activity:
    """Read the activity of a study."""
    now = _now(connection)
    holders = tuple(_holders(connection, info.id))
    totals, newest = _totals(connection, info.id), _newest(connection, info.id)
    last = max((time for time in (newest.ended, newest.stored) if time is not None), default=None)
    pauses = tuple(_pauses(connection, info.id))
    began = pauses[-1].until if pauses else info.created
    works = any(holder.lives for holder in holders)
    whole = between(info.created, now if works or last is None else last)
    worked = max(0.0, whole - sum(pause.seconds for pause in pauses))
    since = max(now - timedelta(seconds=WINDOW), began)
    if newest.trainings == NEWEST:  # before the first of them others ended
        since = max(since, newest.begun)
    return Activity(
        now=now,
        began=began,
        holders=holders,
        recent=_recent(connection, info.id, since, now),
        overall=_overall(connection, info.id, totals, worked),
        pauses=pauses,
        last_progress=last,
    )


def between(since: datetime, until: datetime) -> float:
    """Return the seconds from one time to another; clocks of several machines may cross."""
    return max(0.0, (until - since).total_seconds())


def _now(connection: sa.Connection) -> datetime:
    seconds = connection.execute(sa.select(engines.database_seconds(connection))).scalar_one()
    return datetime.fromtimestamp(float(seconds), UTC).replace(tzinfo=None)


def _holders(connection: sa.Connection, study_id: int) -> list[Holder]:
    statement = sa.text(
        "SELECT e.worker, e.number, e.fidelity, e.attempt,"
        f" e.expires_at - {engines.database_seconds(connection)} AS lease_left,"
        " (SELECT max(c.epoch) FROM nas_curve_points c WHERE c.evaluation_id = e.id) AS epoch"
        " FROM nas_evaluations e WHERE e.study_id = :study AND e.state = 'running'"
        " ORDER BY e.number, e.id"
    )
    return [
        Holder(
            name=row.worker,
            trial=row.number,
            epoch=row.epoch or 0,
            epochs=row.fidelity,
            attempt=row.attempt,
            lease_left=float(row.lease_left or 0.0),
        )
        for row in connection.execute(statement, {"study": study_id})
    ]


def _totals(connection: sa.Connection, study_id: int) -> Any:
    """Count the trainings that ended, and return the lowest and the highest fidelity of all."""
    statement = sa.text(
        "SELECT min(fidelity) AS lowest, max(fidelity) AS highest,"
        " sum(CASE WHEN state = 'running' THEN 0 ELSE 1 END) AS ended"
        " FROM nas_evaluations WHERE study_id = :study"
    )
    return connection.execute(statement, {"study": study_id}).one()


def _newest(connection: sa.Connection, study_id: int) -> Any:
    """Return of the newest trainings: how many, when the first began and the last came further."""
    statement = sa.text(
        f"{_NEWEST} SELECT count(*) AS trainings, min(created) AS begun, max(finished) AS ended,"
        " (SELECT max(c.created) FROM nas_evaluations e JOIN nas_curve_points c"
        " ON c.evaluation_id = e.id WHERE e.study_id = :study AND e.state = 'running') AS stored"
        " FROM newest"
    ).columns(begun=sa.DateTime(), ended=sa.DateTime(), stored=sa.DateTime())
    return connection.execute(statement, {"study": study_id, "newest": NEWEST}).one()


_AGAIN = (  # a training that goes on from a shorter one of the same network
    " EXISTS (SELECT 1 FROM nas_evaluations s WHERE s.architecture_id = e.architecture_id"
    " AND s.recipe_hash = e.recipe_hash AND s.fidelity < e.fidelity AND s.state = 'complete'"
)


def _overall(connection: sa.Connection, study_id: int, totals: Any, seconds: float) -> Pace:
    """Return the pace of a whole study; a promoted network's trainings and epochs count once.

    What is complete has as many epochs as its fidelity says: their rows need no counting.
    """
    key = {"study": study_id}
    epochs = connection.execute(
        sa.text(
            "SELECT (SELECT coalesce(sum(fidelity), 0) FROM nas_evaluations"
            " WHERE study_id = :study AND state = 'complete')"
            " + (SELECT count(*) FROM nas_evaluations e JOIN nas_curve_points c"
            " ON c.evaluation_id = e.id WHERE e.study_id = :study AND e.state <> 'complete')"
        ),
        key,
    ).scalar_one()
    trials, brought = totals.ended or 0, 0
    if totals.lowest != totals.highest:  # what a promotion brings along was counted before
        row = connection.execute(
            sa.text(
                "SELECT sum(f.fidelity) AS epochs, sum(CASE WHEN e.state <> 'running' THEN 1"
                " ELSE 0 END) AS trials FROM nas_trials t"
                " JOIN nas_evaluations e ON e.id = t.evaluation_id"
                " JOIN nas_trials o ON o.study_id = t.study_id AND o.number = t.promoted_from"
                " JOIN nas_evaluations f ON f.id = o.evaluation_id WHERE t.study_id = :study"
                " AND t.promoted_from IS NOT NULL AND t.reused_from IS NULL"
            ),
            key,
        ).one()
        trials, brought = trials - (row.trials or 0), row.epochs or 0
    return Pace(seconds=seconds, trials=int(trials), epochs=max(0, int(epochs - brought)))


def _recent(connection: sa.Connection, study_id: int, since: datetime, now: datetime) -> Pace:
    """Return the pace since a time, from the newest trainings and those that run."""
    statement = sa.text(
        f"{_NEWEST}, touched AS (SELECT * FROM newest WHERE finished >= :since UNION"
        " SELECT id, state, fidelity, architecture_id, recipe_hash, created, finished"
        " FROM nas_evaluations WHERE study_id = :study AND state = 'running')"
        " SELECT (SELECT count(*) FROM touched e WHERE e.state <> 'running'"
        f" AND NOT {_AGAIN} AND s.study_id = :study)) AS trials,"
        " (SELECT count(*) FROM touched e JOIN nas_curve_points c ON c.evaluation_id = e.id"
        f" WHERE c.created >= :since AND NOT {_AGAIN} AND s.fidelity >= c.epoch)) AS epochs"
    ).bindparams(sa.bindparam("since", since, sa.DateTime()))
    row = connection.execute(statement, {"study": study_id, "newest": NEWEST}).one()
    return Pace(seconds=between(since, now), trials=row.trials, epochs=row.epochs)


def _pauses(connection: sa.Connection, study_id: int) -> list[Pause]:
    """Return the times without any progress that were too long for an epoch."""
    points = (
        f"{_NEWEST}, points AS (SELECT c.created, c.seconds FROM newest n"
        " JOIN nas_curve_points c ON c.evaluation_id = n.id)"
    )
    key = {"study": study_id, "newest": NEWEST}
    longest = sa.text(f"{points} SELECT max(seconds) FROM points")
    epoch = float(connection.execute(longest, key).scalar() or 0.0)
    statement = sa.text(
        f"{points}, happened AS (SELECT created AS moment FROM newest UNION ALL SELECT finished"
        " FROM newest WHERE finished IS NOT NULL UNION ALL SELECT created FROM points),"
        " gaps AS (SELECT moment AS ended, LAG(moment) OVER (ORDER BY moment) AS begun"
        f" FROM happened) SELECT begun, ended FROM gaps WHERE {dialects.of(connection).gap} > :long"
        " ORDER BY ended"
    ).columns(begun=sa.DateTime(), ended=sa.DateTime())
    long = max(SHORTEST_PAUSE, LONG_EPOCHS * epoch)
    rows = connection.execute(statement, {**key, "long": long})
    return [Pause(since=row.begun, until=row.ended) for row in rows]
