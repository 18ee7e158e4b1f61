"""Workers as processes on this machine, each with its share of the threads."""

import os
import signal
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from nas.errors import UserError
from nas.executors import Executor, Request, Work, check_local
from nas.executors import _processors as processors

MAX_DEFAULT_WORKERS = 8


def make(request: Request) -> "LocalProcesses":
    """Return the executor of as many workers as asked: one per core by default."""
    check_local(request, "local")
    if request.workers == 0:
        raise UserError("--executor local has at least 1 worker, not --workers 0: see in-process.")
    return LocalProcesses(request.workers)


class LocalProcesses(Executor):
    """Runs workers as processes of their own, so that one that dies takes nothing with it.

    Python's -P keeps the current folder off their path: a `random.py` there is the user's.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.asked = workers

    @cached_property
    def workers(self) -> int:
        """As asked; else one where there is a GPU, else one per processor."""
        if self.asked is not None:
            return self.asked
        import torch

        return 1 if torch.cuda.is_available() else min(processors.granted(), MAX_DEFAULT_WORKERS)

    @property
    def threads(self) -> int:
        """Each worker's share of the processors, at most OMP_NUM_THREADS."""
        return processors.threads(self.workers)

    @property
    def crowding(self) -> float:
        """More workers than processors slow each other down."""
        return max(1.0, self.workers / processors.granted())

    def start(self, work: Work) -> "WorkerProcess":
        """Start a worker and return at once; the order goes in through a pipe, as JSON."""
        Path(work.log).parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "OMP_NUM_THREADS": str(work.threads),
            "OMP_WAIT_POLICY": "passive",  # a waiting thread leaves its core to other workers
        }
        with open(work.log, "ab") as log:
            begun = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", work.module],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
            )
        if process.stdin is not None:
            process.stdin.write(work.order.encode())
            process.stdin.close()
        return WorkerProcess(process, Path(work.log), begun)


class WorkerProcess:
    """A worker in a process."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, begun: int) -> None:
        self.process, self.log, self.begun = process, log, begun

    def poll(self) -> int | None:
        """Return None while the process runs, 0 when it has ended, else its exit status."""
        return self.process.poll()

    def stop(self) -> None:
        """Ask the worker to stop at the next batch."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait for the process's end, at most this long."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def kill(self) -> None:
        """End the process now; its lease expires."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """Return the last line that this worker wrote to its log."""
        text = self.log.read_bytes()[self.begun :].decode(errors="replace")
        lines = text.strip().splitlines()
        return lines[-1] if lines else ""
