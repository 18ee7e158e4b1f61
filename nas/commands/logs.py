"""The verb that reads the trials' logs. Importing this module imports no torch."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.commands import studies as commands
from nas.errors import UserError
from nas.observers.journal import FOLDER, Reader
from nas.store import queries
from nas.store.engine import resolve

LOOK = 0.5  # seconds between two looks at files that are followed


def logs(
    study: str | None = None,
    trial: int | None = None,
    *,
    follow: bool = False,
    store: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the events of a study's trials or of one, in order; with `follow` it never ends.

    Raises UserError where the study's folder on this machine has no such log.
    """
    with queries.connect(resolve(store)) as connection:
        info = commands.study_of(connection, study)
        if trial is not None:
            queries.trial(connection, info.id, trial)
    folder = Path(info.config["folder"])
    reader = Reader(folder, trial)
    if not reader.files() and not follow:
        of = "trials" if trial is None else f"trial {trial}"
        raise UserError(
            f"No log of {of} of study {info.name!r} in {folder / FOLDER}: none has begun, or it was"
            " trained on another machine or before logs were kept. nas show has what is stored."
        )
    while True:
        yield from reader.read()
        if not follow:
            return
        time.sleep(LOOK)
