"""The verb that looks at studies, once or again and again, while anybody works on them anywhere.

Importing this module imports neither torch nor the store.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from nas.commands import studies as commands
from nas.commands._options import Help, Store, argument
from nas.errors import StoreError, UserError
from nas.report import tables

EVERY, SHORTEST = 2.0, 0.2  # seconds between two looks


@dataclass(frozen=True)
class Look:
    """One look at studies; after one that failed, `error` beside what the last one saw."""

    time: datetime
    statuses: tuple[commands.Status, ...]
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Tell whether all studies have what they were to do behind them."""
        return self.error is None and all(one.activity.is_done for one in self.statuses)

    def to_json(self) -> dict[str, Any]:
        """Return the look as plain data."""
        statuses = [status.to_json() for status in self.statuses]
        return {"time": self.time.isoformat(), "error": self.error, "studies": statuses}


class Statuses(list[commands.Status]):
    """How far studies are; `one` of them was asked for by its name."""

    one = False

    def to_json(self) -> Any:
        """Return the statuses as plain data, of a study that was named without a list."""
        statuses = [status.to_json() for status in self]
        return statuses[0] if self.one else statuses

    def lines(self) -> tables.Lines:
        """Say how far each study is."""
        return (line for status in self for line in status.lines())


def status(
    studies: Annotated[list[str] | None, argument("Studies' names; all if left out.")] = None,
    *,
    study: Annotated[str | None, Help("One name, as elsewhere.")] = None,
    watch: Annotated[bool, Help("Go on showing it, until Ctrl-C.")] = False,
    every: Annotated[float | None, Help("With --watch, seconds: 2.")] = None,
    until_done: Annotated[bool, Help("With --watch, end when the budget is spent.")] = False,
    store: Store = None,
) -> "Statuses | Iterator[Look]":
    """Show how far a study is, or all of them, who works on it and how fast; --watch goes on."""
    names = [*(studies or ()), *([study] if study else ())]
    if watch:
        every = EVERY if every is None else every
        return follow(names, store=store, every=every, until_done=until_done)
    for option, given in (("--every", every is not None), ("--until-done", until_done)):
        if given:
            raise UserError(f"{option} is for --watch; give --watch too.")
    statuses = Statuses(_statuses(names, store))
    statuses.one = len(names) == 1
    return statuses


def follow(
    studies: Sequence[str] = (),
    *,
    store: str | None = None,
    every: float = EVERY,
    until_done: bool = False,
) -> Iterator[Look]:
    """Yield a look at studies, by default at all, every so many seconds.

    It never ends, or with `until_done` when each study's budget is spent and nobody is at work. A
    database that goes away for a while is told and asked again; the first look raises StoreError.
    """
    if not every >= SHORTEST:
        raise UserError(f"--every is a number of seconds of at least {SHORTEST}, not {every}.")
    last: Look | None = None
    while True:
        began = time.monotonic()
        try:
            last = Look(_now(), _statuses(studies, store))
        except StoreError as error:
            if last is None:
                raise
            last = Look(_now(), last.statuses, str(error))
        yield last
        if until_done and last.is_done:
            return
        time.sleep(max(0.0, every - (time.monotonic() - began)))


def _statuses(studies: Sequence[str], store: str | None) -> tuple[commands.Status, ...]:
    if not studies:
        return tuple(commands.status(store=store))
    return tuple(one for name in studies for one in commands.status(name, store=store))


def _now() -> datetime:
    return datetime.now(UTC)
