"""A worker in this process, in a thread of its own: the debugger's friend."""

import threading

from nas.executors import Work


class InProcess:
    """Runs workers as threads."""

    def start(self, work: Work) -> "WorkerThread":
        """Start a worker and return at once."""
        handle = WorkerThread(work)
        handle.thread.start()
        return handle


class WorkerThread:
    """A worker in a thread; what it raises is raised again by `wait`'s caller through `poll`."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.asked = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def _run(self) -> None:
        try:
            self.work.run(self.asked.is_set)
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

    def kill(self) -> None:
        """Leave the thread to the end of the process; its lease expires."""

    def last_words(self) -> str:
        """Return nothing: errors are raised by `poll`."""
        return ""
