"""Data sent to the service: which content an owner has here, how large, until when.

Content lies once on the service's disk, under its digest; each owner has a row of its own for it.
Functions on an open transaction.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from nas.errors import NotFound, QuotaSpent
from nas.store import dialects
from nas.store.schema import UPLOADS, is_id, utc_now
from nas.store.tokens import Token

_u = UPLOADS.c


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An owner's data; `size` in bytes, `facts` as its reader told them, times in UTC."""

    id: str
    token_id: str
    owner: str
    name: str
    digest: str
    size: int
    facts: Mapping[str, Any]
    created: datetime
    expires: datetime

    def to_json(self) -> dict[str, Any]:
        """Return what its owner sees as plain data."""
        shown = {name: getattr(self, name) for name in ("id", "name", "digest", "size", "facts")}
        times = {name: getattr(self, name).isoformat() for name in ("created", "expires")}
        return shown | times


def check_quota(connection: sa.Connection, token: Token, size: int) -> None:
    """Raise QuotaSpent where an owner has no room for so many more bytes."""
    theirs = (_u.owner == token.owner) & (_u.expires > utc_now())
    lying = sa.select(sa.func.coalesce(sa.func.sum(_u.size), 0)).where(theirs)
    present = int(connection.execute(lying).scalar_one())
    if present + size > token.upload_bytes:
        raise QuotaSpent(
            f"{present:,} bytes of uploads lie here, and {size:,} more would be over the "
            f"{token.upload_bytes:,} that this token may have: delete one first."
        )


def add(
    connection: sa.Connection,
    token: Token,
    name: str,
    content: tuple[str, int],
    *,
    facts: Mapping[str, Any],
    seconds: float,
) -> Upload:
    """Record content, a digest and a size, for some seconds; that of before lives so much longer.

    Raises QuotaSpent.
    """
    dialects.of(connection).exclude_takers(connection)
    digest, size = content
    now = utc_now()
    until = now + timedelta(seconds=seconds)
    same = (_u.owner == token.owner) & (_u.digest == digest)
    present = connection.execute(sa.select(_u.id).where(same)).scalar()
    if present is not None:
        connection.execute(UPLOADS.update().where(_u.id == present).values(expires=until))
        return get(connection, present)
    check_quota(connection, token, size)
    row = Upload(
        id=secrets.token_hex(8), token_id=token.id, owner=token.owner, name=name, digest=digest,
        size=size, facts=dict(facts), created=now, expires=until,
    )  # fmt: skip
    connection.execute(UPLOADS.insert().values(vars(row)))
    return row


def get(connection: sa.Connection, upload_id: str, owner: str | None = None) -> Upload:
    """Return an upload, with `owner` only that owner's; raise NotFound where there is none."""
    wanted = sa.select(UPLOADS).where(_u.id == upload_id, _u.expires > utc_now())
    if owner is not None:
        wanted = wanted.where(_u.owner == owner)
    row = connection.execute(wanted).first() if is_id(upload_id) else None
    if row is None:
        raise NotFound(f"No upload {upload_id!r}.")
    return Upload(**row._mapping)


def uploads(connection: sa.Connection, owner: str | None = None) -> list[Upload]:
    """Return the uploads that have not expired, an owner's or all, the newest first."""
    listed = sa.select(UPLOADS).where(_u.expires > utc_now())
    if owner is not None:
        listed = listed.where(_u.owner == owner)
    rows = connection.execute(listed.order_by(_u.created.desc(), _u.id.desc()))
    return [Upload(**row._mapping) for row in rows]


def delete(connection: sa.Connection, upload_id: str, owner: str | None = None) -> str | None:
    """Forget an upload; return its digest where nobody else has the same content.

    Until the transaction's end nobody adds the same content: its file can be removed.
    Raises NotFound where there is none.
    """
    dialects.of(connection).exclude_takers(connection)
    upload = get(connection, upload_id, owner)
    connection.execute(UPLOADS.delete().where(_u.id == upload_id))
    return None if upload.digest in digests(connection) else upload.digest


def expire(connection: sa.Connection) -> int:
    """Forget the uploads whose time is over; return how many there were."""
    return connection.execute(UPLOADS.delete().where(_u.expires <= utc_now())).rowcount


def digests(connection: sa.Connection) -> set[str]:
    """Return the digests of all content that somebody has here: other files can go."""
    return set(connection.execute(sa.select(_u.digest).distinct()).scalars())
