"""What a study has at each fidelity, read again and again: what has ended is read once."""

import sqlalchemy as sa

from nas.pruners.ladder import RungTrial
from nas.store import queries


class Climb:
    """The networks of a study at each fidelity, as one worker has read them so far."""

    def __init__(self, study_id: int) -> None:
        self.study_id = study_id
        self._ended: dict[int, RungTrial] = {}  # by evaluation
        self._first = 0  # number of the first trial that may still change

    def read(self, connection: sa.Connection) -> list[RungTrial]:
        """Return each network that the study has at each fidelity, in the order of the trials."""
        newer: dict[int, RungTrial] = {}
        for one in queries.seen(connection, self.study_id, self._first):
            if one.evaluation_id in self._ended:  # a reused trial repeats an evaluation
                continue
            if one.ended and not newer:
                self._ended[one.evaluation_id] = one
                self._first = one.number + 1
            else:
                newer.setdefault(one.evaluation_id, one)
        return [*self._ended.values(), *newer.values()]
