"""What a study has found, as its rows tell it: the winner with its numbers, the finalists.

Importing this module imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nas.quantities import number
from nas.report import tables
from nas.store import queries
from nas.study.finalists import Ranking, Standing, means, ranking, spreads
from nas.study.ranking import Front, front


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The networks that a study hands one of over, the winner first.

    `test` has the winner's metrics on the test split, means over the seeds of its trainings, and
    `test_spread` their standard deviations. `front` is that of a study with a pareto objective,
    `measured_ms` the winner's latency where it was measured.
    """

    ranking: Ranking
    test: Mapping[str, float | None]
    test_looks: int
    test_spread: Mapping[str, float] = field(default_factory=dict)
    front: Front | None = None
    measured_ms: float | None = None

    @property
    def standing(self) -> Standing:
        """The winner with its trainings."""
        return self.ranking.winner

    @property
    def trial(self) -> queries.TrialInfo:
        """The search's trial of the winner."""
        return self.standing.trial

    @property
    def metric(self) -> str:
        """The name of the study's metric."""
        return self.standing.metric

    def to_json(self) -> dict[str, Any]:
        """Return the winner as plain data; metrics are means over the seeds of its trainings."""
        return self.standing.result() | {
            "test": dict(self.test),
            "test_spread": dict(self.test_spread),
            "test_looks": self.test_looks,
            "measured_latency_ms": self.measured_ms,
        }

    def beside(self) -> dict[str, Any]:
        """Return plain data on others: finalists, most accurate, knee, those alike, front."""
        result: dict[str, Any] = {
            "finalists": [standing.to_json() for standing in self.ranking.finalists],
            "accurate": self.ranking.accurate.result(),
            "knee": self.ranking.knee.result(),
            "alike": [standing.trial.number for standing in self.ranking.alike],
        }
        if self.front:
            result["front"] = [trial.summary() for trial in self.front.trials]
        return result

    def lines(self) -> tables.Lines:
        """Show the finalists, and say what the winner is worth on the test split."""
        yield from self.ranking.lines()
        names = ("accuracy", "balanced_accuracy", "auroc")
        metrics = ", ".join(map(self._with_spread, names))
        majority = number(self.test.get("majority_rate"))
        yield f"test, looked at {self.test_looks}x: {metrics} (majority class {majority})"
        if self.trial.latency_ms is not None:
            here = "not here" if self.measured_ms is None else f"{self.measured_ms:.3g} ms"
            yield f"latency: predicted {self.trial.latency_ms:.3g} ms, measured {here}"
        if self.front:
            yield from self.front.lines()

    def _with_spread(self, name: str) -> str:
        spread = self.test_spread.get(name)
        return f"{name} {number(self.test.get(name))}" + (f" ± {spread:.3f}" if spread else "")

    def files(self) -> tables.Lines:
        """Say where the winner's files lie: rows tell of none on this machine."""
        return ()


def outcome(connection: sa.Connection, info: queries.StudyInfo) -> Outcome | None:
    """Read what a study has found so far; None where no trial is complete."""
    ranked = ranking(connection, info.name)
    if ranked is None:
        return None
    looks = dict(queries.test_looks(connection, info.id))
    tests = [looks[t.evaluation_id] for t in ranked.winner.trainings if t.evaluation_id in looks]
    return Outcome(
        ranking=ranked,
        test=means(tests) if tests else {},
        test_spread=spreads(tests),
        test_looks=queries.test_look_count(connection, info.id),
        front=front_of(connection, info),
    )


def front_of(connection: sa.Connection, info: queries.StudyInfo) -> Front | None:
    """Return the front of a study that was after it; None of another."""
    return front(connection, info) if info.objective.kind == "pareto" else None
