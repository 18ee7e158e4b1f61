"""A worker in this process, in a thread of its own: the debugger's friend."""

import threading
from importlib import import_module

from nas.errors import StoreError, UserError
from nas.executors import MISTAKE, Executor, Handle, Request, Work, check_local
from nas.executors import _processors as processors


def make(request: Request) -> "InProcess":
    """Return the executor; it has one worker and is told nothing else."""
    check_local(request, "in-process")
    if request.workers not in (None, 0, 1):
        raise UserError(f"--executor in-process has one worker, not --workers {request.workers}.")
    return InProcess()


class InProcess(Executor):
    """Runs one worker as a thread."""

    workers, starting = 1, 0.0

    @property
    def threads(self) -> int:
        """One for each processor, at most OMP_NUM_THREADS."""
        return processors.threads()

    def start(self, work: Work) -> "WorkerThread":
        """Start a worker and return at once."""
        handle = WorkerThread(work)
        handle.thread.start()
        return handle


class WorkerThread(Handle):
    """A worker in a thread; what it raises is raised again by `wait`'s caller through `poll`."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.asked = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def _run(self) -> None:
        try:
            words = import_module(self.work.module).run(self.work.order, self.asked.is_set)
            if words is not None:
                mistake = words.startswith(MISTAKE)
                raise (UserError if mistake else StoreError)(words.removeprefix(MISTAKE))
        except BaseException as error:
            self.error = error

    def poll(self) -> int | None:
        """Return None while the worker runs, then 0; raises what the worker raised."""
        if self.thread.is_alive():
            return None
        if self.error is not None:
            raise self.error
        return 0

    def stop(self) -> None:
        """Ask the worker to stop at the next batch."""
        self.asked.set()

    def wait(self, seconds: float) -> None:
        """Wait for the worker's end, at most this long."""
        self.thread.join(seconds)
