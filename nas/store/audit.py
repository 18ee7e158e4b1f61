"""Who did what in the service, and how it ended. Functions on an open transaction."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from nas.credentials import hidden
from nas.errors import printable
from nas.store.schema import AUDIT, utc_now

COMMAND_LINE = "command line"
KEPT = 365 * 86400.0  # seconds, by default


def record(
    connection: sa.Connection, who: str, action: str, subject: str = "", outcome: str = "done"
) -> None:
    """Record that somebody, a token's id, did something to a search, an upload or a token."""
    row = {"who": who[:64], "action": action[:64], "outcome": outcome[:64]}
    row["subject"] = hidden(printable(subject))[:255]
    connection.execute(AUDIT.insert().values(row))


def expire(connection: sa.Connection, seconds: float) -> int:
    """Forget the records that are older; return how many there were."""
    old = AUDIT.c.created < utc_now() - timedelta(seconds=seconds)
    return connection.execute(AUDIT.delete().where(old)).rowcount


def entries(
    connection: sa.Connection, *, limit: int, before: int | None = None
) -> list[Mapping[str, Any]]:
    """Return the newest records as plain data, with `before` those older than that id."""
    listed = sa.select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if before is not None:
        listed = listed.where(AUDIT.c.id < before)
    rows = connection.execute(listed)
    return [{**row._mapping, "created": row.created.isoformat()} for row in rows]
