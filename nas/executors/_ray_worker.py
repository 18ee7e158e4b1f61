"""What runs on a node of a Ray cluster: an actor around the very worker that runs elsewhere.

It is handed plain data: a module's name and an order as JSON text.
"""

import logging
import os
import socket
import threading
from importlib import import_module
from typing import Any

from nas.credentials import hidden, log_to_stderr

log = logging.getLogger("nas")


class NasWorker:
    """A worker in a process of Ray's, one call beside another: while it runs it can be stopped."""

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self.asked = threading.Event()
        os.environ |= environment  # before torch is imported
        if os.path.isdir(folder):  # the driver's, where this node has it: paths mean the same
            os.chdir(folder)

    def where(self) -> dict[str, Any]:
        """Tell that the worker has a place."""
        return {"host": socket.gethostname(), "pid": os.getpid()}

    def run(self, module: str, order: str) -> str | None:
        """Run the worker to its end; return what it died of, if it did."""
        worker = import_module(module)
        log_to_stderr(worker.LOG_FORMAT)
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        log.info("worker on %s, CUDA devices: %s", socket.gethostname(), devices or "none")
        try:
            words: str | None = worker.run(order, self.asked.is_set)
        except Exception as error:
            log.exception("the worker died")
            return hidden(f"{type(error).__name__}: {error}")
        if words is not None:
            log.error("%s", words)
        return words

    def stop(self) -> None:
        """Ask the worker to stop at the next batch."""
        self.asked.set()
