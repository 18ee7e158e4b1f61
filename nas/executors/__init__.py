"""Where workers run. An executor starts a worker and gives a handle on it; it decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Handle(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """Return None while the worker runs, 0 when it has ended, else how it died."""
        ...

    def stop(self) -> None:
        """Ask the worker to stop at the next batch and to leave its trial to others."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait for the worker's end, at most this long."""
        ...

    def kill(self) -> None:
        """End a worker that did not stop when asked, where that is possible."""
        ...

    def last_words(self) -> str:
        """Return the message a worker died with, if it left one."""
        ...


@dataclass(frozen=True)
class Work:
    """What a worker does: `run(should_stop)` in this process, or a module fed `job` in another.

    `job` is JSON; `log` the file that the other process's standard error goes to.
    """

    run: Callable[[Callable[[], bool]], None]
    module: str
    job: str
    log: str
    threads: int


class Executor(Protocol):
    """Starts workers somewhere."""

    def start(self, work: Work) -> Handle:
        """Start a worker and return at once."""
        ...
