"""A module in a process of its own: what takes torch, minutes or memory is not the server's."""

import json
import os
import subprocess
import sys
from threading import BoundedSemaphore
from typing import Any

from nas.credentials import hidden
from nas.errors import NasError, UserError
from nas.service.api.problems import RETRY, Problem

AT_ONCE, WAITING = 2, 5.0  # processes, and seconds to wait for one's turn
LONGEST = 600.0  # seconds
_turns = BoundedSemaphore(AT_ONCE)


def busy() -> Problem:
    """Return the answer to a request that would take a thread from others for long."""
    return Problem(503, "The server is busy; ask again.", headers={"Retry-After": f"{RETRY}"})


def run(
    module: str,
    *words: str,
    store: str,
    error: type[NasError] = UserError,
    seconds: float = LONGEST,
) -> Any:
    """Run a module with these words on a store and return the JSON that it prints.

    Raises `error` with what it says, or where it takes more seconds; Problem 503 where too many
    run.
    """
    if not _turns.acquire(timeout=WAITING):
        raise busy()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=os.environ | {"NAS_STORE": store}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise error(f"It takes more than {seconds:.0f} seconds.") from None
    finally:
        _turns.release()
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or ["It has failed."]
        told = [line.removeprefix("nas: ") for line in said if line.startswith("nas: ")]
        raise error(hidden((told or said)[-1]))
    return json.loads(ended.stdout)
