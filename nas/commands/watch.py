"""Look at studies again and again, while anybody works on them anywhere.

Importing this module imports no torch.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nas.commands import studies as commands
from nas.errors import StoreError, UserError

SHORTEST = 0.2  # seconds between two looks


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


def watch(
    studies: Sequence[str] = (),
    *,
    store: str | None = None,
    every: float = 2.0,
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
