"""The verb that reads the trials' logs.

Importing this module imports neither torch nor the store.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from nas.commands._options import Help, Store, StudyName, argument
from nas.commands.studies import reading, study_of
from nas.errors import UserError
from nas.report.tables import Lines

LOOK = 0.5  # seconds between two looks at files that are followed


class Event(dict[str, Any]):
    """Something that happened to a trial, as its log has it."""

    def to_json(self) -> dict[str, Any]:
        """Return the event itself: it is plain data."""
        return self

    def lines(self) -> Lines:
        """Say the event in a line."""
        from nas.report.events import event_line

        return [event_line(self)]


def logs(
    study: StudyName = None,
    trial: Annotated[int | None, argument("A trial's number; all if left out.")] = None,
    *,
    follow: Annotated[bool, Help("Go on, until Ctrl-C.")] = False,
    store: Store = None,
) -> Iterator[Event]:
    """Show what happened to trials, epoch by epoch and attempt by attempt.

    With `follow` it never ends. Raises UserError where the study's folder on this machine has no
    such log.
    """
    from nas.observers.journal import FOLDER, Reader
    from nas.store import queries

    with reading(store) as connection:
        info = study_of(connection, study)
        if trial is not None:
            queries.trial(connection, info.id, trial)
    folder = Path(info.folder or "")
    reader = Reader(folder, trial)
    if not reader.files() and not follow:
        of = "trials" if trial is None else f"trial {trial}"
        raise UserError(
            f"No log of {of} of study {info.name!r} in {folder / FOLDER}: none has begun, or it was"
            " trained on another machine or before logs were kept. nas show has what is stored."
        )
    while True:
        yield from map(Event, reader.read())
        if not follow:
            return
        time.sleep(LOOK)
