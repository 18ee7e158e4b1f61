"""The live pages of the terminal: progress while a search runs. Imports no torch."""

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.quantities import duration
from nas.report.tables import counts_line, rungs_line, trial_line
from nas.store.queries import Counts

QUIET = 15.0  # seconds between two lines where nobody watches a live display


class Page(AbstractContextManager["Page"]):
    """Something drawn again and again where somebody watches; `live` is None on no terminal."""

    def __init__(self, console: Console, live: Live) -> None:
        self.console = console
        self.live = live if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()


class Progress(Page):
    """Shows snapshots of a search: live where somebody watches, else a line now and then."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, Live(console=console, refresh_per_second=4))
        self.told: tuple[Counts, str | None] | None = None
        self.told_at = 0.0

    def show(self, snapshot: Any) -> None:
        """Show a `nas.study.driver.Snapshot`."""
        news = (snapshot.counts, snapshot.notice)
        if self.live:
            self.live.update(self._panel(snapshot))
        elif news != self.told or time.monotonic() - self.told_at > QUIET:
            self.told, self.told_at = news, time.monotonic()
            self.console.print(self._line(snapshot), markup=False, highlight=False, soft_wrap=True)

    def _line(self, snapshot: Any) -> str:
        budget = f" of {snapshot.budget}" if snapshot.budget else ""
        text = f"{duration(snapshot.elapsed)}: trials{budget}: {counts_line(snapshot.counts)}"
        if len(snapshot.fidelities) > 1:
            text += f"; {rungs_line(snapshot.fidelities)}"
        if snapshot.remaining is not None:
            text += f"; about {duration(snapshot.remaining)} left"
        if snapshot.notice is not None:
            text += f"; {snapshot.notice}"
        return text + (
            f"; best {trial_line(snapshot.best, snapshot.metric)}" if snapshot.best else ""
        )

    def _panel(self, snapshot: Any) -> RenderableType:
        counts: Counts = snapshot.counts
        done = counts.complete + counts.pruned + counts.failed
        lines: list[RenderableType] = []
        if snapshot.budget:
            lines.append(ProgressBar(total=snapshot.budget, completed=done, width=60))
        lines.append(Text(self._line(snapshot)))
        for trial, epochs in snapshot.running:
            bar = Table.grid(padding=(0, 1))
            bar.add_row(
                f"trial {trial}",
                ProgressBar(total=snapshot.epochs, completed=epochs, width=40),
                f"epoch {epochs} of {snapshot.epochs}",
            )
            lines.append(bar)
        return Group(*lines)
