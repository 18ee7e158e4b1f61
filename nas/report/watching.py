"""What `nas status` shows: a study in lines, and the live page of `--watch`. Imports no torch."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.quantities import duration, short
from nas.report import tables, terminal
from nas.store.activity import Activity, Holder, Pace

SHOWN_REASONS = 8  # of failures, on a page


def status_lines(status: Any) -> list[str]:
    """Say how far a study is, from a `nas.commands.studies.Status`."""
    holders = {one.trial: one for one in status.activity.holders}
    lines = summary_lines(status)
    for trial, epochs in status.running:
        lines.append(f"  {_running_line(trial, epochs, holders.get(trial.number))}")
    return lines + failure_lines(status.failures)


def summary_lines(status: Any) -> list[str]:
    """Say what a study has reached and how it goes, without each worker and each failure."""
    lines = [f"{status.study}: {tables.counts_line(status.counts)}"]
    if len(status.fidelities) > 1:
        lines.append(f"  {tables.rungs_line(status.fidelities)}")
    if status.best:
        metric = status.config["recipe"]["metric"]
        lines.append(f"  best {tables.trial_line(status.best, metric)}")
    lines += [f"  {line}" for line in activity_lines(status.activity)]
    if status.disk:
        lines.append(f"  {status.disk}: who has no space for a checkpoint waits for it")
    return lines


def activity_lines(activity: Activity) -> list[str]:
    """Say how many are at work, how fast it goes, what is left, and when it paused."""
    lines = []
    if activity.working:
        several = "s" if activity.working > 1 else ""
        left = "" if activity.remaining is None else f"; about {duration(activity.remaining)} left"
        lines.append(f"{activity.working} worker{several} at work{left}")
    elif activity.idle is not None and not activity.is_done:
        lines.append(f"nobody at work; last progress {duration(activity.idle)} ago")
    if activity.overall.epochs:
        paces = [_pace(activity.overall, "overall")]
        if activity.working:
            paces.insert(0, _pace(activity.recent, f"in {duration(activity.recent.seconds)}"))
        lines.append("pace: " + ", ".join(paces))
    if activity.pauses:
        last = activity.pauses[-1]
        whole = duration(sum(pause.seconds for pause in activity.pauses))
        lines.append(
            f"pauses: {len(activity.pauses)}, {whole} in all, the last from"
            f" {last.since:%Y-%m-%d %H:%M} to {last.until:%H:%M} UTC"
        )
    return lines


def _pace(pace: Pace, when: str) -> str:
    return f"{short(pace.trials_per_hour)} trials and {short(pace.epochs_per_hour)} epochs/h {when}"


def _running_line(trial: Any, epochs: int, holder: Holder | None) -> str:
    state = "stopped, nas resume goes on" if trial.stopped else "runs"
    line = f"trial {trial.number} {state}: epoch {epochs} of {trial.fidelity}"
    return line if holder is None else f"{line}; {_holder(holder)}"


def _holder(holder: Holder) -> str:
    return f"{holder.name or 'let go'}, {lease(holder)}, attempt {holder.attempt}"


def lease(holder: Holder) -> str:
    """Say how long a worker's lease still holds, or since when nobody was heard of."""
    if not holder.name:
        return "free"
    if holder.lives:
        return f"lease {duration(holder.lease_left)}"
    return "not heard of" if holder.lease_left < -1e6 else f"silent {duration(-holder.lease_left)}"


def failure_lines(failures: Any) -> list[str]:
    """Say how many trials failed for which reason, the most frequent first."""
    lines = [f"  {count} failed: {reason}" for reason, count in failures.items()]
    more = len(lines) - SHOWN_REASONS
    return lines[:SHOWN_REASONS] + ([f"  {more} more reasons"] if more > 0 else [])


def page(look: Any) -> RenderableType:
    """Show a `nas.commands.watch.Look` as a page."""
    parts: list[RenderableType] = [Text(_head(look), style="dim")]
    if look.error:
        parts.append(Text(look.error, style="bold red"))
    for status in look.statuses:
        parts += ["", *_study(status)]
    return Group(*parts)


def block(look: Any) -> list[str]:
    """Say what a `nas.commands.watch.Look` shows, line by line."""
    said = [look.error] if look.error else []
    return [_head(look), *said, *(line for one in look.statuses for line in status_lines(one))]


def _head(look: Any) -> str:
    old = " (the last look that succeeded is below)" if look.error and look.statuses else ""
    return f"{look.time:%Y-%m-%d %H:%M:%S} UTC{old}"


def _study(status: Any) -> list[RenderableType]:
    """Show one study: its budget as a bar, what is said of it, a table of its workers."""
    activity: Activity = status.activity
    first, *others = summary_lines(status)
    parts: list[RenderableType] = [Text(first, style="bold")]
    if activity.budget:
        bar = Table.grid(padding=(0, 1))
        said = f"{activity.spent} of {activity.budget} trials begun"
        bar.add_row(
            ProgressBar(total=activity.budget, completed=activity.spent, width=40), Text(said)
        )
        parts.append(bar)
    parts += [Text(line) for line in others]
    if activity.holders:
        parts.append(workers_table(activity.holders))
    return parts + [Text(line, style="red") for line in failure_lines(status.failures)]


def workers_table(holders: Sequence[Holder]) -> tables.Table:
    """Show the workers that train, each with its trial, its epoch and its lease."""
    columns = ["worker", "host", "#trial", "#epoch", "#of", "#attempt", "lease"]
    rows = [
        [
            one.name.removeprefix(f"{one.host}:") or "-",
            one.host or "-",
            "-" if one.trial is None else one.trial,
            one.epoch,
            one.epochs,
            one.attempt,
            lease(one).removeprefix("lease "),
        ]
        for one in holders
    ]
    return tables.Table(columns, rows)


class LivePage(terminal.Page):
    """Shows looks at studies: one page that is drawn again, or a block each on no terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, Live(console=console, auto_refresh=False))

    def show(self, look: Any) -> None:
        """Show a `nas.commands.watch.Look`."""
        if self.live:
            self.live.update(page(look), refresh=True)
            return
        for line in block(look):
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
