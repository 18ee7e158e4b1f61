"""Read studies again and again, while anybody works on them anywhere, and show them as a page.

A running search shows its study as the same page. Importing this module imports no torch.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.commands import studies as commands
from nas.errors import StoreError, UserError, printable
from nas.quantities import duration, short
from nas.report import tables
from nas.store.activity import Holder, Pace
from nas.study.progress import Progress, Watch, counts_line, rungs_line, trial_line

EVERY, SHORTEST = 2.0, 0.2  # seconds between two readings
SHOWN_REASONS = 8  # of failures, on a page
BARS, LONGEST_CURVE = "▁▂▃▄▅▆▇█", 60  # of a learning curve in a line; its epochs, at most
QUIET = 15.0  # seconds between two lines of a search that nobody watches on a terminal


@dataclass(frozen=True)
class Reading:
    """The progress of studies at a time; `error` says why it is that of an earlier reading."""

    time: datetime
    statuses: tuple[Progress, ...]
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Tell whether the budgets of all studies are spent and nobody is at work."""
        return self.error is None and all(status.is_done for status in self.statuses)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "time": self.time.isoformat(),
            "error": self.error,
            "studies": [status.to_json() for status in self.statuses],
        }

    def lines(self) -> list[str]:
        """Return the reading line by line."""
        error = [self.error] if self.error else []
        return [self._head(), *error, *(x for status in self.statuses for x in lines(status))]

    def page(self) -> RenderableType:
        """Return the reading as a page."""
        parts: list[RenderableType] = [Text(self._head(), style="dim")]
        if self.error:
            parts.append(Text(self.error, style="bold red"))
        for status in self.statuses:
            parts += ["", page(status)]
        return Group(*parts)

    def _head(self) -> str:
        old = " (the last look that succeeded is below)" if self.error and self.statuses else ""
        return f"{self.time:%Y-%m-%d %H:%M:%S} UTC{old}"


def watch(
    studies: Sequence[str] = (),
    *,
    store: str | None = None,
    every: float = EVERY,
    until_done: bool = False,
) -> Iterator[Reading]:
    """Yield the progress of studies, by default of all, every so many seconds.

    It never ends, or with `until_done` when each study's budget is spent and nobody is at work. A
    database that goes away for a while is asked again; the first reading raises StoreError.
    """
    names: Sequence[str | None] = studies or [None]
    return readings(
        lambda: [each for name in names for each in commands.status(name, store=store)],
        every=every,
        until_done=until_done,
    )


def readings(
    read: Callable[[], Sequence[Progress]], *, every: float = EVERY, until_done: bool = False
) -> Iterator[Reading]:
    """Yield what `read` returns every so many seconds; see `watch`."""
    if not every >= SHORTEST:
        raise UserError(f"--every is a number of seconds of at least {SHORTEST}, not {every}.")
    last: Reading | None = None
    while True:
        began = time.monotonic()
        try:
            last = Reading(datetime.now(UTC), tuple(read()))
        except StoreError as error:
            if last is None:
                raise
            last = Reading(datetime.now(UTC), last.statuses, str(error))
        yield last
        if until_done and last.is_done:
            return
        time.sleep(max(0.0, every - (time.monotonic() - began)))


def lines(status: Progress) -> list[str]:
    """Return the progress of a study line by line: a summary, each running trial, each failure."""
    running = [holder for holder in status.activity.holders if holder.trial is not None]
    return [
        *summary_lines(status),
        *(f"  {_running_line(holder)}" for holder in running),
        *failure_lines(status.failures),
    ]


def summary_lines(status: Progress) -> Iterator[str]:
    """Yield the progress of a study without each worker and each failure."""
    yield f"{status.study}: {counts_line(status.counts)}"
    if len(status.fidelities) > 1:
        yield f"  {rungs_line(status.fidelities)}"
    if status.best:
        yield f"  best {trial_line(status.best, status.metric)}"
    yield from (f"  {line}" for line in [*curve_lines(status), *_activity_lines(status)])
    yield from (f"  {warning}" for warning in status.warnings)
    if status.waiting:
        yield f"  {status.waiting}"


def curve_lines(status: Progress) -> list[str]:
    """Return each learning curve in a line, from the lowest value of all to the highest."""
    values = [value for curve in status.curves.values() for value in curve]
    low, high = min(values, default=0.0), max(values, default=0.0)
    lines = []
    for trial, curve in status.curves.items():
        heights = ((value - low) / ((high - low) or 1.0) for value in curve[-LONGEST_CURVE:])
        bars = "".join(BARS[round(height * (len(BARS) - 1))] for height in heights)
        last = f"{status.metric} {curve[-1]:.4f} after epoch {len(curve)}"
        lines.append(f"trial {trial}: {bars} {last}")
    return lines


def _activity_lines(status: Progress) -> Iterator[str]:
    """Yield the number of workers, the time left, the pace and the pauses."""
    now = status.activity
    left = "" if status.remaining is None else f"; about {duration(status.remaining)} left"
    if now.working:
        yield f"{now.working} worker{'s' if now.working > 1 else ''} at work{left}"
    elif left:
        yield f"the workers begin{left}"
    elif status.idle is not None and not status.is_done:
        yield f"nobody at work; last progress {duration(status.idle)} ago"
    if now.overall.epochs:
        paces = [_pace(now.recent, f"in {duration(now.recent.seconds)}")] if now.working else []
        yield "pace: " + ", ".join([*paces, _pace(now.overall, "overall")])
    if now.pauses:
        last, total = now.pauses[-1], duration(sum(pause.seconds for pause in now.pauses))
        yield (
            f"pauses: {len(now.pauses)}, {total} in all, the last from"
            f" {last.since:%Y-%m-%d %H:%M} to {last.until:%H:%M} UTC"
        )


def _pace(pace: Pace, when: str) -> str:
    return f"{short(pace.trials_per_hour)} trials and {short(pace.epochs_per_hour)} epochs/h {when}"


def _running_line(holder: Holder) -> str:
    state = "runs" if holder.lease_left >= 0 else "stopped, nas resume goes on"
    return (
        f"trial {holder.trial} {state}: epoch {holder.epoch} of {holder.epochs};"
        f" {holder.name or 'let go'}, {lease(holder)}, attempt {holder.attempt}"
    )


def lease(holder: Holder) -> str:
    """Return how long a worker's lease still holds, or how long the worker has been silent."""
    if not holder.name:
        return "free"
    if holder.lives:
        return f"lease {duration(holder.lease_left)}"
    return "not heard of" if holder.lease_left < -1e6 else f"silent {duration(-holder.lease_left)}"


def failure_lines(failures: Mapping[str, int]) -> list[str]:
    """Return the number of failed trials by reason, the most frequent first."""
    reasons = [f"  {count} failed: {reason}" for reason, count in failures.items()]
    more = len(reasons) - SHOWN_REASONS
    return reasons[:SHOWN_REASONS] + ([f"  {more} more reasons"] if more > 0 else [])


def page(status: Progress) -> RenderableType:
    """Return the progress of a study as a page: its budget as a bar, a table of its workers."""
    first, *others = summary_lines(status)
    parts: list[RenderableType] = [Text(first, style="bold")]
    if status.budget:
        bar = Table.grid(padding=(0, 1))
        words = Text(f"{status.spent} of {status.budget} trials begun")
        bar.add_row(ProgressBar(total=status.budget, completed=status.spent, width=40), words)
        parts.append(bar)
    parts += [Text(line) for line in others]
    if status.activity.holders:
        columns = ["worker", "host", "#trial", "#epoch", "#of", "#attempt", "lease"]
        parts.append(tables.Table(columns, [_row(each) for each in status.activity.holders]))
    parts += [Text(line, style="red") for line in failure_lines(status.failures)]
    return Group(*parts)


def _row(holder: Holder) -> list[object]:
    name = holder.name.removeprefix(f"{holder.host}:") or "-"
    trial = "-" if holder.trial is None else holder.trial
    row = [name, holder.host or "-", trial, holder.epoch, holder.epochs, holder.attempt]
    return [*row, lease(holder).removeprefix("lease ")]


@contextmanager
def live_page(console: Console) -> Iterator[Callable[[Reading], None]]:
    """Show readings: one page that is drawn again, or line by line on no terminal."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda reading: live.update(reading.page(), refresh=True)
    else:
        yield lambda reading: _print(console, *reading.lines())


@contextmanager
def search_page(console: Console) -> Iterator[Watch]:
    """Show a running search: the page of its study, or a line now and then on no terminal."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda status: live.update(page(status), refresh=True)
        return
    last: tuple[Any, float] = (None, 0.0)  # the news that were printed, and when

    def show(status: Progress) -> None:
        nonlocal last
        news = (status.counts, bool(status.waiting))
        if news != last[0] or time.monotonic() - last[1] > QUIET:
            last = (news, time.monotonic())
            _print(console, search_line(status))

    yield show


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def search_line(status: Progress) -> str:
    """Return the progress of a running search in a line."""
    budget = f" of {status.budget}" if status.budget else ""
    parts = [f"{duration(status.elapsed)}: trials{budget}: {counts_line(status.counts)}"]
    if len(status.fidelities) > 1:
        parts.append(rungs_line(status.fidelities))
    if status.remaining is not None:
        parts.append(f"about {duration(status.remaining)} left")
    if status.waiting:
        parts.append(f"paused: {status.waiting}")
    if status.curves:
        parts.append(curve_lines(status)[-1])
    elif status.best:
        parts.append(f"best {trial_line(status.best, status.metric)}")
    return "; ".join(parts)
