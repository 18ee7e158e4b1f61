"""One search of the queue in a process of its own, which its worker starts, and stops by SIGINT.

The order is JSON on standard input, the end an exit status, the reason the last line on standard
error. Without its worker the process stops by itself: another worker goes on with the search.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nas.credentials import hidden, log_to_stderr
from nas.errors import Interrupted, NasError, StoreAway, UserError

DONE, MISTAKE, NO_RESULT, AWAY, STOPPED = 0, 2, 3, os.EX_TEMPFAIL, 130
LOOK = 1.0  # seconds between two looks at whether the worker is there
PATIENCE = 60.0  # seconds to stop by itself
LEAST = 1.0  # seconds that a search has left when it goes on
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
log = logging.getLogger("nas")


@dataclass(frozen=True)
class SearchOrder:
    """The search that a process runs: its id, its options, the seconds that it has run before.

    `options` are those of the search and those of the worker; `worker` is the process that reads
    the end.
    """

    id: str
    store: str = field(repr=False)  # it may have a password
    options: Mapping[str, Any]
    seconds: float
    worker: int

    def to_json(self) -> str:
        """Return the order as JSON text."""
        return json.dumps(asdict(self))


def run(order: SearchOrder) -> int:
    """Run a search, or go on with it; return how it ended."""
    try:
        return _ended(_search(order))
    except KeyboardInterrupt:
        return STOPPED
    except StoreAway as error:
        return _told(error, AWAY)
    except UserError as error:
        return _told(error, MISTAKE)
    except NasError as error:  # its trials' workers die again and again
        return _told(error, NO_RESULT)


def _ended(failure: NasError | None) -> int:
    if failure is None:
        return DONE
    return STOPPED if isinstance(failure, Interrupted) else _told(failure, NO_RESULT)


def _told(error: NasError, status: int) -> int:
    with suppress(OSError):  # a full disk
        print(hidden(str(error)), file=sys.stderr, flush=True)
    return status


def _search(order: SearchOrder) -> NasError | None:
    """Run the verb; return why it has no winner."""
    from nas.commands.search import search

    given = in_time(order.options, order.seconds)
    if isinstance(space := given.get("space"), dict):
        from nas.search_space import SearchSpace

        given["space"] = SearchSpace.from_json(space)
    _clear(Path(given["out"], order.id), order)
    return search(**given, study=order.id, store=order.store, say=log.info).failure


def in_time(options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return options with the time that is left of a search's limit; trials are counted anyway."""
    from nas.study import options as declared

    asked = declared.read({name: options.get(name) for name in ("trials", "time")})
    trials, limit = declared.budget(asked.trials, asked.time)
    if limit is None or not seconds:
        return dict(options)
    return {**options, "trials": trials, "time": max(LEAST, limit - seconds)}


def _clear(folder: Path, order: SearchOrder) -> None:
    """Remove what a process left in a search's folder that died before its study was stored."""
    from nas.store import queries

    if not folder.is_dir():
        return
    with queries.connect(order.store) as connection:
        known = {study.name for study in queries.studies(connection)}
    if order.id not in known:
        shutil.rmtree(folder)


def _stop_without(worker: int) -> None:
    """Stop this process when its worker is gone."""
    while os.getppid() == worker:
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(PATIENCE)
    os._exit(STOPPED)


def main() -> None:
    """Run the search of an order."""
    log_to_stderr(LOG_FORMAT)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sys.excepthook = lambda *error: log.critical("the search died", exc_info=error)
    order = SearchOrder(**json.loads(sys.stdin.read()))
    threading.Thread(target=_stop_without, args=(order.worker,), daemon=True).start()
    sys.exit(run(order))


if __name__ == "__main__":
    main()
