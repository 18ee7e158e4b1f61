"""A study's facts and its figures: made once for all who watch it, until a trial changes."""

import json
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from nas.commands.studies import reading
from nas.errors import StoreAway, StoreError
from nas.report.facts import Overview
from nas.report.markup import Markup, joined
from nas.report.page import section, sections
from nas.service.api import downloads
from nas.service.api.service import Service
from nas.store import queries
from nas.study.overview import overview

KEPT = 16  # studies
_reading = Lock()


class ShownStudy(NamedTuple):
    """A study's facts, and what its report says of them with all figures."""

    facts: Overview
    sections: Markup


def explained(server: Service, study: str) -> ShownStudy | None:
    """Return what is known of a study; None where it has not begun or no trial is complete."""
    with server.store.read() as connection:
        if not queries.exists(connection, study):
            return None
    made_of = json.dumps(downloads.rows_of(server, study))
    with _reading:
        return _explained(server.url, study, made_of)


@lru_cache(KEPT)
def _explained(url: str, study: str, _: str) -> ShownStudy | None:
    try:
        with reading(url) as connection:
            facts = overview(connection, study)
    except StoreAway:
        raise
    except StoreError:  # no trial is complete
        return None
    return ShownStudy(facts, joined(*(section(*each) for each in sections(facts))))
