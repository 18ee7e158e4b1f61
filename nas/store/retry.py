"""Patience with a database that is away: a step of a worker is tried again, ever more slowly.

A server that restarts, a connection that drops, a lock that is held too long, a full disk: nothing
of it is the fault of a training that took minutes, so the worker waits.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from nas.errors import StoreAway

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries, twice as long each time
PATIENCE = 120.0  # seconds that a worker waits for its database
log = logging.getLogger("nas")


def patiently(step: Callable[[bool], T], patience: float = PATIENCE) -> T:
    """Take a step, again with exponential backoff while the database is away.

    `step` is told whether it was tried before: an earlier try may have been committed although its
    answer was lost. Raises StoreAway when the database stays away for `patience` seconds.
    """
    pause, ends, again = FIRST_PAUSE, time.monotonic() + patience, False
    while True:
        try:
            return step(again)
        except StoreAway as error:
            left = ends - time.monotonic()
            if left <= 0:
                raise
            log.warning("waiting for the database: %s", error)
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))
            pause, again = min(2 * pause, LONGEST_PAUSE), True
