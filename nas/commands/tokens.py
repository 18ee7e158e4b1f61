"""The verbs on the service's tokens: create, list, revoke.

Importing this module does not import the store.
"""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from nas import quantities
from nas.commands._options import Help, Store, argument
from nas.commands._values import Answer
from nas.commands.studies import reading
from nas.errors import UserError
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.store.tokens import Token


def create(
    *,
    name: Annotated[str, Help("What it is for, such as a person or a machine.")],
    scopes: Annotated[str, Help("What it may: read, submit, admin; several with commas.")] = "read",
    expires: Annotated[str | None, Help("Time that it is valid, such as 30d; for ever.")] = None,
    owner: Annotated[
        str | None, Help("Tokens of one owner see the same searches; itself alone.")
    ] = None,
    running: Annotated[int | None, Help("Searches of the owner that run at once: 2.")] = None,
    queued: Annotated[int | None, Help("Searches of the owner that wait at once: 100.")] = None,
    uploads: Annotated[str | None, Help("Data of the owner that lies here: 10GB.")] = None,
    store: Store = None,
) -> Answer:
    """Make a token for the service and show it, this once: the store has only its digest."""
    from nas.store import audit, tokens
    from nas.store.engine import resolve
    from nas.store.store import Store as Writable

    given = {
        "running": _at_least(1, running, "--running"),
        "queued": _at_least(0, queued, "--queued"),
        "upload_bytes": None if uploads is None else quantities.memory(uploads, "--uploads"),
    }
    quotas = tokens.Quotas(**{key: value for key, value in given.items() if value is not None})
    seconds = None if expires is None else quantities.seconds(expires, "--expires")
    wanted = [scope.strip() for scope in scopes.split(",")]
    tokens.check(name, wanted, owner)
    with closing(Writable.open(resolve(store))) as opened, opened.write() as connection:
        token, text = tokens.create(
            connection, name, wanted, owner=owner, seconds=seconds, quotas=quotas
        )
        audit.record(connection, audit.COMMAND_LINE, "create token", token.id)
    lines = [text, f"{_said(token)}. The token is shown this once; nas token list has the others."]
    return Answer(token.to_json() | {"token": text}, lines)


def _at_least(least: int, value: int | None, flag: str) -> int | None:
    if value is not None and not least <= value < 2**31:
        raise UserError(f"{flag} is a whole number of at least {least}, not {value}.")
    return value


def _said(token: "Token") -> str:
    until = "for ever" if token.expires is None else f"until {token.expires:%Y-%m-%d %H:%M} UTC"
    return f"{token.id} ({token.name}) may {', '.join(token.scopes)} {until}"


def listed(store: Store = None) -> Answer:
    """List the service's tokens, without their secrets."""
    from nas.store import tokens

    with reading(store) as connection:
        found = tokens.tokens(connection)
    columns = ["id", "name", "owner", "scopes", "state", "created", "expires"]
    rows = [
        [
            *(each.id, each.name, each.owner, ",".join(each.scopes), each.state),
            f"{each.created:%Y-%m-%d}",
            f"{each.expires:%Y-%m-%d}" if each.expires else "",
        ]
        for each in found
    ]
    return Answer([each.to_json() for each in found], [Table(columns, rows)])


def revoke(
    token: Annotated[str, argument("Its id, as nas token list has it.")], *, store: Store = None
) -> Answer:
    """Let a token open nothing from now on; its searches stay."""
    from nas.store import audit, tokens
    from nas.store.engine import resolve
    from nas.store.store import Store as Writable

    with reading(store):  # raises where there is no store
        pass
    with closing(Writable.open(resolve(store))) as opened, opened.write() as connection:
        revoked = tokens.revoke(connection, token)
        audit.record(connection, audit.COMMAND_LINE, "revoke token", token)
    return Answer(revoked.to_json(), [f"{revoked.id} ({revoked.name}) is revoked"])
