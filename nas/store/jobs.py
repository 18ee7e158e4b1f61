"""Submitted jobs as rows: a cluster's head forgets its jobs when it dies, these stay.

A job that is submitted again after its end, or after its head's, is a new attempt with a row of its
own: attempt 1 of `mine` has the id `mine`, attempt 2 `mine.2`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nas.credentials import hidden
from nas.store.dialects import insert_new
from nas.store.schema import JOBS, utc_now

SENDING = "submitting"  # the row is there, the cluster has not said yet that it has the job
LOST = "lost"  # the head that had it is gone, or is another one now
ENDED = ("succeeded", "failed", "stopped", LOST)
STATES = (SENDING, "pending", "running", *ENDED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One attempt of a job; `id` is its submission id, `state` the last that was heard of it."""

    id: str
    address: str
    words: tuple[str, ...]
    state: str
    message: str | None
    created: datetime
    changed: datetime

    @property
    def name(self) -> str:
        """The id that all attempts share."""
        return self.id.partition(".")[0]

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return int(self.id.partition(".")[2] or 1)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.state in ENDED

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain data, times in UTC."""
        times = {"created": self.created.isoformat(), "changed": self.changed.isoformat()}
        fields = {"job": self.name, "attempt": self.attempt, **vars(self)}
        return fields | times | {"words": list(self.words)}


def jobs(connection: sa.Connection) -> list[Job]:
    """Return all attempts of all jobs, the oldest first; none in a store that is older than jobs.

    Opened for reading, such a store has no table of them yet.
    """
    if not sa.inspect(connection).has_table(JOBS.name):
        return []
    rows = connection.execute(sa.select(JOBS).order_by(JOBS.c.created, JOBS.c.id))
    return [Job(**{**row._mapping, "words": tuple(row.words)}) for row in rows]


def attempts(connection: sa.Connection, name: str) -> list[Job]:
    """Return the attempts of one job, the first one first."""
    return sorted((job for job in jobs(connection) if job.name == name), key=lambda j: j.attempt)


def add(connection: sa.Connection, job_id: str, address: str, words: Sequence[str]) -> None:
    """Record that a job is about to be submitted; nothing happens if it is recorded already."""
    values = {"id": job_id, "address": address, "words": list(words), "state": SENDING}
    insert_new(connection, JOBS, values)


def set_state(connection: sa.Connection, job_id: str, state: str, message: str | None) -> None:
    """Record what was last heard of a job, without the credentials that its words may have."""
    connection.execute(
        JOBS.update()
        .where(JOBS.c.id == job_id)
        .values(state=state, message=message and hidden(message), changed=utc_now())
    )
