"""The rows that tell how fast a study goes: who holds its trials, its pace, its pauses.

Plain SELECTs over our tables, as in `nas.store.queries`. Times are UTC; "now" is the database's
clock, the rows' times are the workers' own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from nas.store import dialects, queries, schema
from nas.store.dialects import DatabaseSeconds

WINDOW = 900.0  # seconds that "the last while" is
NEWEST = 1000  # trainings that tell of the last while and of pauses: no look reads all of them
SHORTEST_PAUSE = 60.0  # seconds; below it, proposing and loading data look like a pause
LONG_EPOCHS = 3.0  # times the longest epoch without any progress: nobody was at work

_t, _e, _c = schema.TRIALS.c, schema.EVALUATIONS.c, schema.CURVE_POINTS.c


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

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Activity":
        """Read the activity from the plain data of a study's progress."""
        last = plain["last_progress"]
        return cls(
            now=datetime.fromisoformat(plain["now"]),
            began=datetime.fromisoformat(plain["began"]),
            recent=_read(Pace, plain["recent"]),
            overall=_read(Pace, plain["overall"]),
            holders=tuple(_read(Holder, each) for each in plain["workers"]),
            pauses=tuple(
                Pause(**{name: datetime.fromisoformat(each[name]) for name in ("since", "until")})
                for each in plain["pauses"]
            ),
            last_progress=None if last is None else datetime.fromisoformat(last),
        )


Part = TypeVar("Part", Holder, Pace)


def _read(kind: type[Part], plain: Mapping[str, Any]) -> Part:
    """Read a part of an activity; its properties are in its plain data too."""
    return kind(**{each.name: plain[each.name] for each in fields(kind)})


def activity(connection: sa.Connection, info: queries.StudyInfo) -> Activity:
    """Read the activity of a study."""
    seconds = connection.execute(sa.select(DatabaseSeconds())).scalar_one()
    now = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    holders, pauses = _holders(connection, info.id), _pauses(connection, info.id)
    newest = _summary(connection, info.id)
    last = max((time for time in (newest.ended, newest.stored) if time is not None), default=None)
    began = pauses[-1].until if pauses else info.created
    works = any(holder.lives for holder in holders)
    whole = between(info.created, now if works or last is None else last)
    since = max(now - timedelta(seconds=WINDOW), began)
    if newest.trainings == NEWEST:  # before the first of them others ended
        since = max(since, newest.begun)
    return Activity(
        now=now,
        began=began,
        holders=holders,
        recent=_recent(connection, info.id, since, now),
        overall=_overall(
            connection, info.id, max(0.0, whole - sum(pause.seconds for pause in pauses))
        ),
        pauses=pauses,
        last_progress=last,
    )


def between(since: datetime, until: datetime) -> float:
    """Return the seconds from one time to another; clocks of several machines may cross."""
    return max(0.0, (until - since).total_seconds())


_MINE, _RUNNING = _e.study_id == sa.bindparam("study"), _e.state == "running"
_EPOCH = sa.select(sa.func.max(_c.epoch)).where(_c.evaluation_id == _e.id).scalar_subquery()
_HOLDERS = (
    sa.select(_e.worker.label("name"), _e.number.label("trial"), _e.fidelity.label("epochs"))
    .add_columns(_e.attempt, sa.func.coalesce(_EPOCH, 0).label("epoch"))
    .add_columns(sa.func.coalesce(_e.expires_at - DatabaseSeconds(), 0.0).label("lease_left"))
    .where(_MINE, _RUNNING)
    .order_by(_e.number, _e.id)
)
_NEWEST = (
    sa.select(_e.id, _e.state, _e.fidelity, _e.architecture_id, _e.recipe_hash)
    .add_columns(_e.created, _e.finished)
    .where(_MINE)
    .order_by(_e.id.desc())
    .limit(NEWEST)
    .cte("newest")
)
_newest = _NEWEST.c
_STORED = (
    sa.select(sa.func.max(_c.created))
    .join_from(schema.EVALUATIONS, schema.CURVE_POINTS)
    .where(_MINE, _RUNNING)
    .scalar_subquery()
)
_SUMMARY = sa.select(
    sa.func.count(_newest.id).label("trainings"),
    sa.func.min(_newest.created).label("begun"),
    sa.func.max(_newest.finished).label("ended"),
    _STORED.label("stored"),
)


def _holders(connection: sa.Connection, study_id: int) -> tuple[Holder, ...]:
    rows = connection.execute(_HOLDERS, {"study": study_id})
    return tuple(Holder(**row._mapping) for row in rows)


def _summary(connection: sa.Connection, study_id: int) -> Any:
    """Count the newest trainings; say when the first began, the last ended and stored an epoch."""
    return connection.execute(_SUMMARY, {"study": study_id}).one()


_ENDED = sa.func.count().filter(_e.state != "running").label("trials")
_TOTAL = sa.select(
    _ENDED, sa.func.sum(_e.fidelity).filter(_e.state == "complete").label("epochs")
).where(_MINE)
_POINTS = (
    sa.select(sa.func.count())
    .join_from(schema.EVALUATIONS, schema.CURVE_POINTS)
    .where(_MINE, _e.state != "complete")
)
_lower, _shorter = schema.TRIALS.alias("lower").c, schema.EVALUATIONS.alias("shorter").c
_PROMOTED = (
    sa.select(_ENDED, sa.func.sum(_shorter.fidelity).label("epochs"))
    .join_from(schema.TRIALS, schema.EVALUATIONS)
    .join(
        _lower.number.table,
        sa.and_(_lower.study_id == _t.study_id, _lower.number == _t.promoted_from),
    )
    .join(_shorter.id.table, _shorter.id == _lower.evaluation_id)
    .where(_t.study_id == sa.bindparam("study"))
    .where(_t.promoted_from.is_not(None), _t.reused_from.is_(None))
)


def _overall(connection: sa.Connection, study_id: int, seconds: float) -> Pace:
    """Return the pace of a whole study; a promoted network's trainings and epochs count once.

    A complete training has as many epochs as its fidelity says: their rows need no counting.
    """
    own, twice, points = (
        connection.execute(statement, {"study": study_id}).one()
        for statement in (_TOTAL, _PROMOTED, _POINTS)
    )
    epochs = (own.epochs or 0) + points[0] - (twice.epochs or 0)
    return Pace(seconds=seconds, trials=own.trials - twice.trials, epochs=max(0, int(epochs)))


_TOUCHED = sa.union_all(
    sa.select(_NEWEST).where(_newest.finished >= sa.bindparam("since")),
    sa.select(*(_e[column.name] for column in _newest)).where(_MINE, _RUNNING),
).cte("touched")
_touched = _TOUCHED.c
_AGAIN = sa.exists().where(  # it goes on from a shorter training of the same network
    _shorter.architecture_id == _touched.architecture_id,
    _shorter.recipe_hash == _touched.recipe_hash,
    _shorter.fidelity < _touched.fidelity,
    _shorter.state == "complete",
)
_RECENT_TRIALS = sa.select(sa.func.count(_touched.id)).where(
    _touched.state != "running", ~_AGAIN.where(_shorter.study_id == sa.bindparam("study"))
)
_RECENT_EPOCHS = (
    sa.select(sa.func.count(_touched.id))
    .join_from(_TOUCHED, schema.CURVE_POINTS, _c.evaluation_id == _touched.id)
    .where(_c.created >= sa.bindparam("since"), ~_AGAIN.where(_shorter.fidelity >= _c.epoch))
)
_RECENT = sa.select(_RECENT_TRIALS.scalar_subquery(), _RECENT_EPOCHS.scalar_subquery())


def _recent(connection: sa.Connection, study_id: int, since: datetime, now: datetime) -> Pace:
    """Return the pace since a time, from the newest trainings and those that run."""
    ended, trained = connection.execute(_RECENT, {"study": study_id, "since": since}).one()
    return Pace(seconds=between(since, now), trials=ended, epochs=trained)


@cache
def _gaps(difference: str) -> sa.Select[Any]:
    """Return the pauses, with the SQL of a `difference` of two times in seconds."""
    points = (
        sa.select(_c.created, _c.seconds)
        .join_from(_NEWEST, schema.CURVE_POINTS, _c.evaluation_id == _newest.id)
        .cte("points")
    )
    moments = sa.union_all(
        sa.select(_newest.created.label("moment")),
        sa.select(_newest.finished).where(_newest.finished.is_not(None)),
        sa.select(points.c.created),
    ).subquery("moments")
    moment = moments.c.moment
    begun = sa.func.lag(moment, type_=sa.DateTime()).over(order_by=moment)
    gaps = sa.select(begun.label("begun"), moment.label("ended")).subquery("gaps")
    gap: sa.ColumnElement[float] = sa.literal_column(difference, sa.Double())
    epoch = sa.select(sa.func.coalesce(sa.func.max(points.c.seconds), 0.0)).scalar_subquery()
    return (
        sa.select(gaps.c.begun.label("since"), gaps.c.ended.label("until"))
        .where(gap > SHORTEST_PAUSE, gap > LONG_EPOCHS * epoch)
        .order_by(gaps.c.ended)
    )


def _pauses(connection: sa.Connection, study_id: int) -> tuple[Pause, ...]:
    """Return the times without any progress that were too long for an epoch."""
    statement = _gaps(dialects.of(connection).gap)
    rows = connection.execute(statement, {"study": study_id})
    return tuple(Pause(**row._mapping) for row in rows)
