"""Where workers run. An executor starts a worker and gives a handle on it; it decides nothing.

One file per executor, found by looking into this folder: it has `make(request)`, which returns the
executor and refuses what it can't do. The file's name, with hyphens, is the executor's name.
Looking up the names imports nothing.
"""

from dataclasses import dataclass
from typing import Protocol

from nas.errors import UserError
from nas.registry import Registry

DEFAULT = "local"
ALONE = "in-process"  # what --workers 0 means
MISTAKE = "nas: "  # begins the last words of a worker whose user has to change something


class Handle(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """Return None while the worker runs, 0 when it has ended, else how it died.

        Raises NasError where nothing can be known of it any more.
        """
        ...

    def stop(self) -> None:
        """Ask the worker to stop at the next batch and to leave its trial to others."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait for the worker's end, at most this long."""
        ...

    def kill(self) -> None:
        """End a worker that did not stop when asked; by default its lease expires."""
        return

    def last_words(self) -> str:
        """Return the message a worker died with, if it left one."""
        return ""


STARTING = 5.0  # seconds of a processor that a worker takes beside its trainings


@dataclass(frozen=True)
class Work:
    """What a worker does: its module reads `order`, which is JSON text.

    A process of its own runs the module and reads the order on standard input. Elsewhere
    `run(order, should_stop)` of the module is called; it returns the words that a person has to
    read, if any, and may raise. `log` is the file for the standard error of a process.
    """

    module: str
    order: str
    log: str
    threads: int


class Executor(Protocol):
    """Starts workers somewhere."""

    @property
    def workers(self) -> int:
        """How many workers run at once, at least 1; raises UserError where that is unknowable."""
        ...

    @property
    def threads(self) -> int:
        """How many threads each worker gets."""
        ...

    @property
    def crowding(self) -> float:
        """How many times as long a training takes as alone: where workers share processors."""
        return 1.0

    @property
    def starting(self) -> float:
        """Seconds that a worker takes beside its trainings, about: to import torch, to end."""
        return STARTING * self.crowding

    def start(self, work: Work) -> Handle:
        """Start a worker and return at once."""
        ...

    def close(self) -> None:
        """Let go of what the executor holds; workers that still run are ended, or see it."""
        return


@dataclass(frozen=True)
class Request:
    """What is asked of an executor; None where nothing was said."""

    workers: int | None = None
    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None
    max_concurrent: int | None = None


class Maker(Protocol):
    """An executor's file."""

    def make(self, request: Request) -> Executor:
        """Make the executor; raise UserError for what it can't do."""


_registry: Registry[Maker] = Registry("executor", __name__, hyphens=True)
names, check = _registry.names, _registry.check


def get(name: str | None, request: Request) -> Executor:
    """Make an executor, by default `local`; raises UserError for what it can't do."""
    if name is None:
        name = ALONE if request.workers == 0 else DEFAULT
    return _registry.get(name).make(request)


def check_local(request: Request, name: str) -> None:
    """Refuse what only a cluster can do, for an executor on this machine."""
    asked = {
        "--address": request.address,
        "--cpus-per-trial": request.cpus,
        "--gpus-per-trial": request.gpus,
        "--max-concurrent": request.max_concurrent,
    }
    for option, value in asked.items():
        if value is not None:
            raise UserError(f"{option} {value} is for --executor ray, not for {name}.")
