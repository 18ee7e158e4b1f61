"""A study's facts for its figures: read once for all who watch it, until a trial changes."""

import json
from functools import lru_cache
from threading import Lock

from nas.commands.studies import reading
from nas.errors import StoreAway, StoreError
from nas.report.facts import Overview
from nas.service.api import downloads
from nas.service.api.service import Service
from nas.store import queries
from nas.study.overview import overview

KEPT = 16  # studies
_reading = Lock()


def overview_of(server: Service, study: str) -> Overview | None:
    """Return a study's facts; None where it has not begun or no trial is complete."""
    with server.store.read() as connection:
        if not queries.exists(connection, study):
            return None
    made_of = json.dumps(downloads.rows_of(server, study))
    with _reading:
        return _overview(server.url, study, made_of)


@lru_cache(KEPT)
def _overview(url: str, study: str, _: str) -> Overview | None:
    try:
        with reading(url) as connection:
            return overview(connection, study)
    except StoreAway:
        raise
    except StoreError:  # no trial is complete
        return None
