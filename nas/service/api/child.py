"""A verb in a process of its own: what takes torch, minutes or much memory is not the server's."""

import json
import os
import subprocess
import sys
from threading import BoundedSemaphore
from typing import Any

from nas.credentials import hidden
from nas.errors import NasError, UserError
from nas.service.api.problems import RETRY, Problem

AT_ONCE, WAITING = 2, 60.0  # processes, and seconds to wait for one's turn
LONGEST = 600.0  # seconds of a verb
_turns = BoundedSemaphore(AT_ONCE)


def run(*words: str, store: str, error: type[NasError] = UserError) -> Any:
    """Run a verb of the command line on a store and return its JSON.

    Raises `error` with what the verb says, Problem 503 where too many run or it takes too long.
    """
    busy = Problem(503, "The server is busy; ask again.", headers={"Retry-After": f"{RETRY}"})
    if not _turns.acquire(timeout=WAITING):
        raise busy
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "nas.cli", *words, "--json"],
            env=os.environ | {"NAS_STORE": store}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise busy from None
    finally:
        _turns.release()
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or ["It has failed."]
        told = [line.removeprefix("nas: ") for line in said if line.startswith("nas: ")]
        raise error(hidden((told or said)[-1]))
    return json.loads(ended.stdout)
