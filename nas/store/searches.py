"""The queue of searches: rows that workers take by priority, quota and fair share.

A worker holds a lease on the search that it runs, as workers of trials do: when it dies another
takes the search over with the next attempt, and a write with an old attempt is refused.
Functions on an open transaction.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas.credentials import hidden
from nas.errors import Conflict, LostLease, NotFound, QuotaSpent, UserError, unknown
from nas.store import dialects
from nas.store.dialects import DatabaseSeconds
from nas.store.schema import SEARCHES, TOKENS, is_id, utc_now
from nas.store.tokens import Token

WAITING = ("queued", "paused")
HELD = ("running", "pausing", "cancelling")  # a worker has a lease on it
STOPPING = ("pausing", "cancelling")  # somebody wants a search that runs to stop
ENDED = ("succeeded", "failed", "cancelled")
STATES = (*WAITING, *HELD, *ENDED, "deleting")
MAX_DEATHS = 3  # workers that died in a row over one search
_s = SEARCHES.c


@dataclass(frozen=True, kw_only=True)
class Search:
    """A submitted search; `id` is also its study's name, `title` the name its owner gave it.

    `asked` are the options as they were given, `options` those that run, with paths of this
    service: only the first are shown. `seconds` is how long workers have run it in all.
    """

    id: str
    token_id: str
    owner: str
    title: str
    asked: Mapping[str, Any]
    options: Mapping[str, Any] = field(repr=False)
    client_key: str | None
    priority: int
    state: str
    message: str | None
    worker: str
    attempt: int
    deaths: int
    expires_at: float | None
    seconds: float
    created: datetime
    started: datetime | None
    finished: datetime | None
    changed: datetime

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED

    def to_json(self) -> dict[str, Any]:
        """Return what its owner sees as plain data, times in UTC."""
        shown = ("id", "title", "state", "message", "priority", "attempt", "seconds")
        times = {name: getattr(self, name) for name in ("created", "started", "finished")}
        return {
            **{name: getattr(self, name) for name in shown},
            "options": dict(self.asked),
            **{name: time and time.isoformat() for name, time in times.items()},
        }


class Wanted(NamedTuple):
    """A search as it is submitted: see `Search`."""

    title: str
    asked: Mapping[str, Any]
    options: Mapping[str, Any]
    priority: int = 0
    client_key: str | None = None


def add(connection: sa.Connection, token: Token, wanted: Wanted) -> tuple[Search, bool]:
    """Put a search into the queue; return it, and whether this call has put it there.

    With a client's key that the owner has used before, the search of then is returned. Raises
    Conflict where that was another search, QuotaSpent where too many wait.
    """
    dialects.of(connection).exclude_takers(connection)
    if wanted.client_key is not None:
        same = (_s.owner == token.owner) & (_s.client_key == wanted.client_key)
        row = connection.execute(sa.select(SEARCHES).where(same)).first()
        if row is not None:
            if row.asked != dict(wanted.asked):
                raise Conflict(
                    f"The key {wanted.client_key!r} was sent before with another search, "
                    f"{row.id}: a new search has a new key."
                )
            return _search(row), False
    _check_quota(connection, token.owner, token.queued)
    now = utc_now()
    search_id = secrets.token_hex(8)
    values = {
        **wanted._asdict(),
        "id": search_id,
        "token_id": token.id,
        "owner": token.owner,
        "state": "queued",
        "created": now,
        "changed": now,
    }
    connection.execute(SEARCHES.insert().values(values))
    return get(connection, search_id), True


def _check_quota(connection: sa.Connection, owner: str, most: int) -> None:
    """Raise QuotaSpent where an owner has so many searches waiting."""
    waiting = _count(connection, (_s.owner == owner) & _s.state.in_(WAITING))
    if waiting >= most:
        raise QuotaSpent(
            f"{waiting} searches wait, and this token may have {most} waiting at once: "
            "cancel one, or wait for one."
        )


def _count(connection: sa.Connection, where: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(SEARCHES).where(where)
    return int(connection.execute(counted).scalar_one())


def _search(row: Any) -> Search:
    return Search(**row._mapping)


def get(connection: sa.Connection, search_id: str, owner: str | None = None) -> Search:
    """Return a search, with `owner` only that owner's; raise NotFound where there is none."""
    wanted = sa.select(SEARCHES).where(_s.id == search_id, _s.state != "deleting")
    if owner is not None:
        wanted = wanted.where(_s.owner == owner)
    row = connection.execute(wanted).first() if is_id(search_id) else None
    if row is None:
        raise NotFound(f"No search {search_id!r}.")
    return _search(row)


def check_states(states: Iterable[str]) -> None:
    """Refuse what is no state of a search."""
    for state in states:
        if state not in STATES:
            raise UserError(unknown("state", state, STATES))


def searches(
    connection: sa.Connection,
    owner: str | None = None,
    *,
    states: Sequence[str] = (),
    title: str | None = None,
    limit: int | None = None,
    after: str | None = None,
) -> list[Search]:
    """Return searches, the newest first: an owner's or all, in these states, older than `after`.

    With a `title` those that are called so.

    Raises NotFound where there is no search `after`.
    """
    listed = sa.select(SEARCHES).where(_s.state != "deleting")
    if owner is not None:
        listed = listed.where(_s.owner == owner)
    if states:
        listed = listed.where(_s.state.in_(states))
    if title is not None:
        listed = listed.where(_s.title == title)
    if after is not None:
        last = get(connection, after, owner)
        older = (_s.created == last.created) & (_s.id < last.id) | (_s.created < last.created)
        listed = listed.where(older)
    rows = connection.execute(listed.order_by(_s.created.desc(), _s.id.desc()).limit(limit))
    return [_search(row) for row in rows]


def owned(connection: sa.Connection, ids: Iterable[str], owner: str) -> set[str]:
    """Return which of these ids are of searches of an owner."""
    mine = sa.select(_s.id).where(_s.id.in_([*ids]), _s.owner == owner)
    return set(connection.execute(mine).scalars())


class _Change(NamedTuple):
    """What a wish makes of a search in each state; of one in no state here it is refused."""

    becomes: Mapping[str, str]
    instead: str


# One that runs is stopped by its worker, which sees the state when it renews its lease.
_CHANGES = {
    "pause": _Change(
        {"queued": "paused", "running": "pausing", "paused": "paused", "pausing": "pausing"},
        "only one that waits or runs can be paused",
    ),
    "resume": _Change(
        {
            **{"paused": "queued", "pausing": "running", "failed": "queued"},
            **{"queued": "queued", "running": "running"},
        },
        "only one that is paused or has failed goes on",
    ),
    "cancel": _Change(
        {
            **dict.fromkeys((*WAITING, "cancelled"), "cancelled"),
            **dict.fromkeys(HELD, "cancelling"),
        },
        "only one that waits or runs can be cancelled",
    ),
    "delete": _Change(
        dict.fromkeys((*WAITING, *ENDED, "deleting"), "deleting"),
        "cancel it first",
    ),
}


def pause(connection: sa.Connection, search_id: str, owner: str | None = None) -> Search:
    """Stop a search so that it can go on; one that runs is `pausing` until its worker has stopped.

    Raises NotFound, and Conflict in another state; so do the next ones.
    """
    return _change(connection, "pause", search_id, owner)


def resume(connection: sa.Connection, search_id: str, owner: str | None = None) -> Search:
    """Let a paused or failed search go on where it stopped."""
    return _change(connection, "resume", search_id, owner)


def cancel(connection: sa.Connection, search_id: str, owner: str | None = None) -> Search:
    """End a search for good; its trials stay. One that runs is `cancelling` for a while."""
    return _change(connection, "cancel", search_id, owner)


def begin_to_delete(connection: sa.Connection, search_id: str, owner: str | None = None) -> Search:
    """Hide a search that nobody runs, so that nobody takes it: its study and files go next."""
    return _change(connection, "delete", search_id, owner)


def _change(connection: sa.Connection, wish: str, search_id: str, owner: str | None) -> Search:
    dialects.of(connection).exclude_takers(connection)
    search, change = get(connection, search_id, owner), _CHANGES[wish]
    state = change.becomes.get(search.state)
    if state is None:
        raise Conflict(f"Search {search_id} is {search.state}: {change.instead}.")
    if state != search.state:
        values: dict[str, Any] = {"state": state, "changed": utc_now()}
        if state == "queued":
            if search.state not in WAITING:
                allowed = sa.select(TOKENS.c.queued).where(TOKENS.c.id == search.token_id)
                most = int(connection.execute(allowed).scalar_one())
                _check_quota(connection, search.owner, most)
            values |= {"deaths": 0, "message": None, "finished": None}
        elif state == "deleting":
            values["client_key"] = None  # the same submission is a new search
        elif state in ENDED:
            values |= {"finished": utc_now()}
        connection.execute(SEARCHES.update().where(_s.id == search_id).values(values))
    return _search(connection.execute(sa.select(SEARCHES).where(_s.id == search_id)).one())


CHANGES = {"pause": pause, "resume": resume, "cancel": cancel, "delete": begin_to_delete}


def forget(connection: sa.Connection, search_id: str) -> None:
    """Remove the row of a search whose study and files are gone."""
    gone = SEARCHES.delete().where(_s.id == search_id, _s.state == "deleting")
    connection.execute(gone)


def to_delete(connection: sa.Connection) -> list[Search]:
    """Return the searches whose deletion has begun and has not ended."""
    rows = connection.execute(sa.select(SEARCHES).where(_s.state == "deleting"))
    return [_search(row) for row in rows]


def take(connection: sa.Connection, worker: str, seconds: float) -> Search | None:
    """Take the next search for some seconds, or None where no search may run now.

    First those of the highest priority, of these those of the owner who has the fewest running, of
    these the oldest; none of an owner who has as many running as its token may. A search whose
    worker died, as one whose lease is over, is paused or cancelled if that was asked for, failed
    if too many have died over it, and taken over otherwise.
    """
    dialects.of(connection).exclude_takers(connection)
    _bury(connection)
    running = (
        sa.select(_s.owner, sa.func.count().label("running"))
        .where(_s.state.in_(HELD))
        .group_by(_s.owner)
        .subquery("held")
    )
    count = sa.func.coalesce(running.c.running, 0)
    candidates = (
        sa.select(_s.id)
        .join(TOKENS, TOKENS.c.id == _s.token_id)
        .outerjoin(running, running.c.owner == _s.owner)
        .where(_s.state == "queued", count < TOKENS.c.running)
        .order_by(_s.priority.desc(), count, _s.created, _s.id)
        .limit(1)
    )
    search_id = connection.execute(candidates).scalar()
    if search_id is None:
        return None
    now = utc_now()
    taken = SEARCHES.update().where(_s.id == search_id, _s.state == "queued")
    values = {
        "state": "running",
        "worker": worker,
        "attempt": _s.attempt + 1,
        "expires_at": DatabaseSeconds() + seconds,
        "started": sa.func.coalesce(_s.started, now),
        "message": None,
        "changed": now,
    }
    connection.execute(taken.values(values))
    return get(connection, search_id)


def _bury(connection: sa.Connection) -> None:
    """Let go of the searches whose worker is dead: its lease is over."""
    dead = (_s.expires_at < DatabaseSeconds()) & _s.state.in_(HELD)
    for row in connection.execute(sa.select(SEARCHES).where(dead)).all():
        told = let_go(_search(row), died=True)
        mine = SEARCHES.update().where(_s.id == row.id, _s.attempt == row.attempt)
        connection.execute(mine.where(dead).values(told))  # it may have come back meanwhile


def let_go(search: Search, *, died: bool, message: str | None = None) -> dict[str, Any]:
    """Return the values of a search whose worker has stopped or died before its end."""
    deaths = search.deaths + 1 if died else search.deaths
    state = {"pausing": "paused", "cancelling": "cancelled"}.get(search.state, "queued")
    if state == "queued" and deaths >= MAX_DEATHS:
        state, message = "failed", f"{deaths} workers died over it. {message or ''}".strip()
    now = utc_now()
    finished = now if state in ENDED else None
    return {
        **{"state": state, "message": message, "deaths": deaths, "finished": finished},
        **{"worker": "", "expires_at": None, "changed": now},
    }


def waits(connection: sa.Connection) -> bool:
    """Tell whether a search waits, or was left by a worker whose lease is over."""
    left = _s.state.in_(HELD) & (_s.expires_at < DatabaseSeconds())
    return _count(connection, (_s.state == "queued") | left) > 0


def holders(connection: sa.Connection) -> set[str]:
    """Return the names of the workers that hold searches."""
    held = sa.select(_s.worker).where(_s.state.in_(HELD)).distinct()
    return set(connection.execute(held).scalars())


def expire(connection: sa.Connection, dead: Collection[str]) -> None:
    """Let the leases of workers known to be dead end now."""
    if dead:
        theirs = SEARCHES.update().where(_s.worker.in_(dead), _s.state.in_(HELD))
        connection.execute(theirs.values(expires_at=0.0))


def held_state(connection: sa.Connection, held: Search) -> str:
    """Return the state of a search that is held; raise LostLease where another worker has it."""
    mine = sa.select(_s.state).where(_s.id == held.id, _s.attempt == held.attempt)
    state = connection.execute(mine.where(_s.state.in_(HELD))).scalar()
    if state is None:
        raise _lost(held)
    return str(state)


def renew(connection: sa.Connection, held: Search, seconds: float, more: float) -> Search:
    """Hold a search for some seconds from now, after `more` seconds of work; return it as it is.

    Raises LostLease where another worker has it.
    """
    values = {"expires_at": DatabaseSeconds() + seconds, "seconds": _s.seconds + more}
    return _fenced(connection, held, values)


def release(
    connection: sa.Connection, held: Search, *, died: bool = False, message: str | None = None
) -> Search:
    """Give a search back before its end: it was paused or cancelled, or another may go on with it.

    `died` says that the search itself broke off. Raises LostLease where another worker has it.
    """
    now = _fenced(connection, held, {})
    return _fenced(connection, now, let_go(now, died=died, message=message and hidden(message)))


def finish(
    connection: sa.Connection, held: Search, state: str, message: str | None = None
) -> Search:
    """Record a search's end, succeeded or failed; raise LostLease where another worker has it."""
    now = utc_now()
    values: dict[str, Any] = {"state": state, "message": message and hidden(message)}
    values |= {"finished": now, "worker": "", "expires_at": None, "changed": now, "deaths": 0}
    return _fenced(connection, held, values)


def _fenced(connection: sa.Connection, held: Search, values: Mapping[str, Any]) -> Search:
    """Update a search that is held with this attempt, and return it."""
    mine = SEARCHES.update().where(_s.id == held.id, _s.attempt == held.attempt, _s.state.in_(HELD))
    if connection.execute(mine.values(values or {"worker": _s.worker})).rowcount != 1:
        raise _lost(held)
    return _search(connection.execute(sa.select(SEARCHES).where(_s.id == held.id)).one())


def _lost(held: Search) -> LostLease:
    return LostLease(
        f"Search {held.id}: attempt {held.attempt} of {held.worker} is over; another worker has "
        "taken the search over or ended it."
    )
