"""Tokens of the service: made, found, listed, revoked. A token's secret is shown once, not stored.

A token is `nas_ID_SECRET`: its row is found by its id, its secret compared by a digest in constant
time. The secret is random and of 256 bits, so the digest needs neither salt nor many rounds.
Functions on an open transaction.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from nas.errors import NotFound, UserError, unknown
from nas.store.schema import TOKENS, is_id, utc_now

SCOPES = ("read", "submit", "admin")
PREFIX = "nas"
RUNNING, QUEUED, UPLOAD_BYTES = 2, 100, 10 * 2**30  # quotas where none is given
_t = TOKENS.c
_NOBODY = "0" * 64  # a digest that no secret has


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token without its secret; times in UTC.

    `running` and `queued` are how many searches may run and wait at once, `upload_bytes` how much
    data may lie in the service.
    """

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    running: int
    queued: int
    upload_bytes: int
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    @property
    def state(self) -> str:
        """Whether it opens anything: valid, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        is_over = self.expires is not None and self.expires <= utc_now()
        return "expired" if is_over else "valid"

    def may(self, scope: str) -> bool:
        """Tell whether the token has a scope; `admin` has all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees(self) -> str | None:
        """The owner whose things it sees; None for an admin, who sees all."""
        return None if "admin" in self.scopes else self.owner

    def to_json(self) -> dict[str, Any]:
        """Return the token as plain data, times in UTC."""
        times = {
            name: time and time.isoformat()
            for name, time in vars(self).items()
            if name in ("created", "expires", "revoked")
        }
        return vars(self) | times | {"scopes": list(self.scopes), "state": self.state}


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """The searches that may run and wait at once, and the bytes of uploads, of one owner."""

    running: int = RUNNING
    queued: int = QUEUED
    upload_bytes: int = UPLOAD_BYTES


def create(
    connection: sa.Connection,
    name: str,
    scopes: Sequence[str],
    *,
    owner: str | None = None,
    seconds: float | None = None,
    quotas: Quotas | None = None,
) -> tuple[Token, str]:
    """Make a token; return it and its text, which is nowhere else.

    The owner is the token itself unless given: two tokens see each other's searches only where
    both are made for one owner. It expires after `seconds`. Raises what `check` raises.
    """
    check(name, scopes, owner)
    token_id, secret, now = secrets.token_hex(8), secrets.token_urlsafe(32), utc_now()
    token = Token(
        id=token_id,
        name=name,
        owner=owner or token_id,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        **vars(quotas or Quotas()),
        created=now,
        expires=None if seconds is None else now + timedelta(seconds=seconds),
        revoked=None,
    )
    row = vars(token) | {"scopes": list(token.scopes), "digest": _digest(secret)}
    connection.execute(TOKENS.insert().values(row))
    return token, f"{PREFIX}_{token_id}_{secret}"


def check(name: str, scopes: Sequence[str], owner: str | None = None) -> None:
    """Raise UserError for a name or an owner that is too long or not printable, or a scope."""
    for flag, text in (("--name", name), ("--owner", name if owner is None else owner)):
        if not 0 < len(text) <= 64 or not text.isprintable():
            raise UserError(f"{flag} is a name of 1 to 64 printable characters, not {text!r}.")
    for scope in scopes or [""]:
        if scope not in SCOPES:
            raise UserError(unknown("scope", scope, SCOPES))


def find(connection: sa.Connection, text: str) -> Token | None:
    """Return the token that a text is, if it is valid; as slow for a wrong one."""
    prefix, _, rest = text.partition("_")
    token_id, _, secret = rest.partition("_")
    wanted = sa.select(TOKENS).where(_t.id == token_id)
    row = connection.execute(wanted).first() if is_id(token_id) else None
    same = hmac.compare_digest(_digest(secret), row.digest if row else _NOBODY)
    if row is None or not same or prefix != PREFIX:
        return None
    token = _token(row)
    return token if token.state == "valid" else None


def is_valid(connection: sa.Connection, token_id: str) -> bool:
    """Tell whether a token still opens something."""
    row = connection.execute(sa.select(TOKENS).where(_t.id == token_id)).first()
    return row is not None and _token(row).state == "valid"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _token(row: Any) -> Token:
    values = {name: value for name, value in row._mapping.items() if name != "digest"}
    return Token(**values | {"scopes": tuple(row.scopes)})


def tokens(connection: sa.Connection) -> list[Token]:
    """Return all tokens, the oldest first."""
    rows = connection.execute(sa.select(TOKENS).order_by(_t.created, _t.id))
    return [_token(row) for row in rows]


def revoke(connection: sa.Connection, token_id: str) -> Token:
    """Let a token open nothing from now on; raise NotFound where there is none."""
    known = {token.id for token in tokens(connection)}
    if token_id not in known:
        raise NotFound(unknown("token", token_id, known, listing="nas token list"))
    changed = TOKENS.update().where(_t.id == token_id, _t.revoked.is_(None))
    connection.execute(changed.values(revoked=utc_now()))
    return _token(connection.execute(sa.select(TOKENS).where(_t.id == token_id)).one())
