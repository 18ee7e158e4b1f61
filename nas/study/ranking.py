"""A study's trials looked at again: the front of metric and cost, ranks under another objective.

Nothing is trained and nothing written. Costs are known exactly and before the first epoch, so a
study of one score, which can be pruned, holds the front too. Imports no torch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas import pareto
from nas.errors import StoreError, UserError, unknown
from nas.objective import Objective, objective
from nas.quantities import duration, number, short
from nas.report import tables
from nas.report.study_picture import Growth, draw_front
from nas.report.tradeoff import MACS, Spot, TradeOff, longest, trade_off, words
from nas.store import queries
from nas.store.queries import StudyInfo, TrialInfo

COSTS = {"macs": MACS, "params": "parameters"}  # by their names, the words of their axes
KINDS = ("soft", "hard")  # of a new rank; a pareto objective scores as a soft one does
MOST = 0.9  # of a hypervolume, from which on the front hardly moved
NEAR = 0.1  # of the target: a trial within it was near
UNKNOWN = pareto.Point(math.nan, math.nan)  # what a trial that was not trained whole adds


@dataclass(frozen=True, kw_only=True)
class Front:
    """The trials of a study that no other beats in both metric and cost, the cheapest first.

    `dominated` are the other complete trials. Pruned ones were measured after fewer epochs, so they
    are on no front; `promising` are those that lie beyond it already. `best` has the best score.
    The hypervolume is in units of the metric times the natural logarithm of cost. Its `reference`
    is the lowest metric of the complete trials and the study's hard limit on the cost; without a
    limit, the largest cost of all trials.
    """

    study: str
    metric: str
    cost: str
    trials: tuple[TrialInfo, ...]
    dominated: tuple[TrialInfo, ...]
    promising: tuple[TrialInfo, ...]
    best: TrialInfo
    reference: pareto.Point
    growth: tuple[Growth, ...]
    figure: TradeOff
    picture: str | None = None  # the file in which it was drawn

    @property
    def hypervolume(self) -> float:
        """Return the area under the front as far as the reference."""
        return self.growth[-1].hypervolume if self.growth else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the front as plain data."""
        return {
            "study": self.study,
            "metric": self.metric,
            "cost": self.cost,
            "best": self.best.number,
            "hypervolume": self.hypervolume,
            "reference": self.reference._asdict(),
            "front": [trial.to_json() for trial in self.trials],
            "worth_training_whole": [trial.to_json() for trial in self.promising],
            "growth": [step._asdict() for step in self.growth],
            "picture": self.picture,
        }

    def lines(self) -> tables.Lines:
        """Say what the front was rebuilt from, and its hypervolume with the reference point."""
        complete = len(self.trials) + len(self.dominated)
        yield (
            f"{self.study}: {len(self.trials)} of {complete} complete trials are on the front of"
            f" {self.metric} and {self.cost}"
        )
        lowest = number(self.reference.value)
        line = (
            f"hypervolume {self.hypervolume:.4g} ({self.metric} x ln {self.cost}, from"
            f" {lowest} and {short(self.reference.cost)})"
        )
        if self.hypervolume:
            most = [step for step in self.growth if step.hypervolume >= MOST * self.hypervolume]
            line += (
                f"; {MOST:.0%} of it after {most[0].evaluations} of {most[-1].evaluations}"
                f" evaluations, {duration(most[0].seconds)} of {duration(most[-1].seconds)} of"
                " training"
            )
        yield line
        if self.promising:
            yield (
                "Pruned trials were measured after fewer epochs and are not on it; those worth"
                " training whole lie beyond it already."
            )
        yield self._table()
        if self.picture is not None:
            yield f"picture: {self.picture}"

    def _table(self) -> tables.Table:
        """Show the front, the cheapest first, then what was pruned and lies beyond it."""
        metric = f"#{self.metric.replace('_', ' ')}"
        columns = ["standing", "#trial", metric, "#FLOPs", "#params", "#score", "architecture"]
        rows = []
        for standing, trials in (("front", self.trials), ("worth training whole", self.promising)):
            for trial in trials:
                note = ", best score" if trial.number == self.best.number else ""
                value, score = number(self.value_of(trial)), number(trial.score)
                cost = (short(trial.cost.macs), short(trial.cost.params))
                row = [standing + note, trial.number, value, *cost, score]
                rows.append([*row, trial.architecture_id[:8]])
        return tables.Table(columns, rows)

    def value_of(self, trial: TrialInfo) -> float:
        """Return a trial's last metric."""
        return _value(trial, self.metric)

    def draw(self, path: Path) -> Path:
        """Write the picture of the front and of its hypervolume, .png or .svg; return its path."""
        complete = len(self.trials) + len(self.dominated)
        value, cost = f"{self.reference.value:.3f}", short(self.reference.cost)
        return draw_front(
            self.figure,
            self.growth,
            f"{words(self.metric)} {value} and {cost} {self.cost}",
            f"{self.study}: front of {complete} complete trials",
            path,
        )


def front(connection: sa.Connection, info: StudyInfo, cost: str = "macs") -> Front:
    """Rebuild a study's front from all its trials.

    Raises UserError for an unknown cost, StoreError where no trial is complete.
    """
    if cost not in COSTS:
        raise UserError(unknown("cost", cost, COSTS))
    return front_of(
        info, queries.trials(connection, info.id), queries.endings(connection, info.id), cost
    )


def front_of(
    info: StudyInfo,
    trials: Sequence[TrialInfo],
    endings: Sequence[tuple[int, float]],
    cost: str = "macs",
) -> Front:
    """Return the front of trials; `endings` are their numbers in order, with their seconds."""
    metric = info.metric
    by_number = {trial.number: trial for trial in trials}
    points = {trial.number: _point(trial, metric, cost) for trial in trials}
    best = _sorted(_complete(trials, info), _score)[0]
    target = info.objective.target_flops if cost == "macs" else None
    figure = trade_off(
        spots(trials, metric, lambda trial: getattr(trial.cost, cost)),
        metric=metric, cost=COSTS[cost], target=target, best=best.number,
    )  # fmt: skip

    def of(kind: Iterable[Spot]) -> tuple[TrialInfo, ...]:
        return tuple(by_number[spot.number] for spot in kind)

    complete = [points[spot.number] for spot in (*figure.front, *figure.dominated)]
    reference = _reference(info, cost, complete, points.values())
    # a trial that a worker has begun since is not among them
    ended = [step for step in endings if step[0] in points]
    return Front(
        study=info.name,
        metric=metric,
        cost=cost,
        trials=of(figure.front),
        dominated=of(figure.dominated),
        promising=of(figure.promising),
        best=best,
        reference=reference._replace(cost=round(math.exp(reference.cost))),
        growth=_growth(by_number, points, ended, reference),
        figure=figure,
    )


def spots(
    trials: Iterable[TrialInfo], metric: str, cost: Callable[[TrialInfo], float | None]
) -> list[Spot]:
    """Return the complete and pruned trials as they stand in the figure of metric over cost."""
    return [
        Spot(
            number=trial.number,
            state=trial.state,
            architecture_id=trial.architecture_id,
            fidelity=trial.fidelity,
            value=_value(trial, metric),
            cost=amount,
            score=trial.score,
        )
        for trial in trials
        if trial.state in ("complete", "pruned") and (amount := cost(trial)) is not None
    ]


def _reference(
    info: StudyInfo, cost: str, complete: Iterable[pareto.Point], every: Iterable[pareto.Point]
) -> pareto.Point:
    limit = getattr(info.limits, cost)
    largest = max(point.cost for point in every) if limit is None else math.log(limit)
    return pareto.Point(min(point.value for point in complete), largest)


def _growth(
    trials: Mapping[int, TrialInfo],
    points: Mapping[int, pareto.Point],
    ended: Sequence[tuple[int, float]],
    reference: pareto.Point,
) -> tuple[Growth, ...]:
    """Follow the hypervolume of what was trained whole through the trials in their order of end."""
    whole = [points[n] if trials[n].state == "complete" else UNKNOWN for n, _ in ended]
    trained: set[str] = set()
    seconds, steps = 0.0, []
    for (ended_number, spent), area in zip(ended, pareto.growth(whole, reference), strict=True):
        if trials[ended_number].reused_from is None:
            trained.add(trials[ended_number].architecture_id)
        seconds += spent
        steps.append(Growth(ended_number, len(trained), seconds, area))
    return tuple(steps)


class RescoredTrial(NamedTuple):
    """A trial under another objective; `own_rank` is that under the study's own."""

    rank: int
    score: float
    own_rank: int
    trial: TrialInfo

    def to_json(self) -> dict[str, Any]:
        """Return the trial with its score under the new objective, and that under its own."""
        own = {"own_rank": self.own_rank, "own_score": self.trial.score}
        return {**self.trial.to_json(), "rank": self.rank, "score": self.score, **own}


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """A study's complete trials under another objective, the best first.

    `evaluated` is the range of their macs, `near` how many of all `count` are within 10 % of the
    target, `pruned` how many others were given up under the study's own objective.
    """

    study: str
    metric: str
    objective: Objective
    own: Objective
    trials: tuple[RescoredTrial, ...]
    evaluated: tuple[int, int]
    near: int
    count: int
    pruned: int

    @property
    def extrapolated(self) -> bool:
        """Tell whether the target lies outside of what was evaluated."""
        low, high = self.evaluated
        return not low <= self.objective.target <= high

    @property
    def unmoved(self) -> bool:
        """Tell whether no rank can change: a soft objective's target scales all scores alike."""
        soft = self.objective.kind == "soft" and self.own.kind in ("soft", "pareto")
        same_cost = self.own.target_latency_ms is None
        return soft and same_cost and self.objective.weight == self.own.weight

    def to_json(self) -> dict[str, Any]:
        """Return the ranks as plain data."""
        return {
            "study": self.study,
            "metric": self.metric,
            "objective": self.objective.to_json(),
            "own_objective": self.own.to_json(),
            "evaluated_macs": self.evaluated,
            "near_target": self.near,
            "complete": self.count,
            "pruned": self.pruned,
            "extrapolated": self.extrapolated,
            "unmoved": self.unmoved,
            "trials": [ranked.to_json() for ranked in self.trials],
        }

    def lines(self) -> tables.Lines:
        """Say which objective ranks the trials and how near they are to its target; show them."""
        target, low, high = map(short, (self.objective.target, *self.evaluated))
        yield f"{self.study} under {self.objective.describe(self.metric)}"
        yield f"its own: {self.own.describe(self.metric)}"
        yield (
            f"{self.near} of {self.count} complete trials are within 10 % of {target} FLOPs; they"
            f" cost {low} to {high}"
        )
        if self.pruned:
            yield f"{self.pruned} networks were pruned under its own objective: no rank"
        if self.unmoved:
            yield (
                "a soft objective's target scales all scores alike: no rank changes but by --w, or"
                " with --objective hard"
            )
        rows = [
            [
                ranked.rank,
                ranked.trial.number,
                number(ranked.score),
                number(ranked.trial.metrics.get(self.metric)),
                short(ranked.trial.cost.macs),
                ranked.own_rank,
                ranked.trial.architecture_id[:8],
            ]
            for ranked in self.trials
        ]
        metric = f"#{self.metric.replace('_', ' ')}"
        columns = ["#rank", "#trial", "#score", metric, "#FLOPs", "#own rank", "architecture"]
        yield tables.Table(columns, rows)
        if self.extrapolated:
            yield tables.Remark(
                f"the target of {target} FLOPs lies outside of what was evaluated ({low} to"
                f" {high}): the choice is extrapolated. nas search --target-flops {target} would"
                " look there."
            )


def rescore(
    connection: sa.Connection,
    info: StudyInfo,
    target_flops: int,
    kind: str | None = None,
    weight: float | None = None,
) -> Rescored:
    """Rank a study's complete trials under another target, kind or weight.

    What is left out is the study's own, the weight where the kind is the study's. Raises UserError
    for an objective that can't be, StoreError where no trial is complete.
    """
    own = info.objective
    own_kind = "hard" if own.kind == "hard" else "soft"
    if kind is not None and kind not in KINDS:
        raise UserError(unknown("objective", kind, KINDS))
    if weight is None and kind in (None, own_kind):
        weight = own.weight
    goal = objective(target_flops, kind or own_kind, weight)
    metric = info.metric
    trials = queries.trials(connection, info.id)
    complete = _complete(trials, info)
    own_ranks = {t.number: rank for rank, t in enumerate(_sorted(complete, _score), 1)}
    scores = {t.number: goal.score(_value(t, metric), t.cost.macs) for t in complete}
    ranked = _sorted(complete, lambda t: scores[t.number])
    macs = [trial.cost.macs for trial in complete]
    given_up = {trial.architecture_id for trial in trials if trial.state == "pruned"}
    return Rescored(
        study=info.name,
        metric=metric,
        objective=goal,
        own=own,
        trials=tuple(
            RescoredTrial(rank, scores[t.number], own_ranks[t.number], t)
            for rank, t in enumerate(ranked, 1)
        ),
        evaluated=(min(macs), max(macs)),
        near=sum(abs(each - goal.target) <= NEAR * goal.target for each in macs),
        count=len(complete),
        pruned=len(given_up - {trial.architecture_id for trial in complete}),
    )


def _complete(trials: Sequence[TrialInfo], info: StudyInfo) -> list[TrialInfo]:
    """Return the trials that were trained whole; raise StoreError where there is none."""
    metric = info.metric
    complete = longest(
        t for t in trials if t.state == "complete" and math.isfinite(_value(t, metric))
    )
    if not complete:
        raise StoreError(f"Study {info.name!r} has no complete trial yet.")
    return complete


def _value(trial: TrialInfo, metric: str) -> float:
    value = trial.metrics.get(metric)
    return math.nan if value is None else value


def _point(trial: TrialInfo, metric: str, cost: str) -> pareto.Point:
    return pareto.Point(_value(trial, metric), math.log(getattr(trial.cost, cost)))


def _score(trial: TrialInfo) -> float:
    return -math.inf if trial.score is None else trial.score


def _sorted(trials: Iterable[TrialInfo], score: Callable[[TrialInfo], float]) -> list[TrialInfo]:
    """Return trials with the best score first; of equals the first trial, as in `nas top`."""
    return sorted(trials, key=score, reverse=True)
