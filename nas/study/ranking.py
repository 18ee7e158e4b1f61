"""A study's trials looked at again: the front of metric and cost, ranks under another objective.

Nothing is trained and nothing written. Costs are known exactly and before the first epoch, so a
study of one score, which can be pruned, holds the front too. Importing it imports no torch.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from nas.report.tradeoff import MACS, Spot, TradeOff, longest, trade_off
from nas.store import queries
from nas.store.queries import StudyInfo, TrialInfo
from nas.training.metrics import gain, words

COSTS = {"macs": MACS, "params": "parameters"}  # by their names, the words of their axes
KINDS = ("soft", "hard")  # of a new rank; a pareto objective scores as a soft one does
MOST = 0.9  # of a hypervolume, from which on the front hardly moved
NEAR = 0.1  # of the target: a trial within it was near
NO_POINT = pareto.Point(math.nan, math.nan)  # of a trial that was not trained whole


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
        """The area under the front as far as the reference."""
        return self.growth[-1].hypervolume if self.growth else 0.0

    @property
    def count(self) -> int:
        """The number of complete trials."""
        return len(self.trials) + len(self.dominated)

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
        """Say how large the front and its hypervolume are, and show its trials."""
        yield (
            f"{self.study}: {len(self.trials)} of {self.count} complete trials are on the front of"
            f" {self.metric} and {self.cost}"
        )
        lowest = number(self.reference.value)
        line = (
            f"hypervolume {self.hypervolume:.4g} ({self.metric} x ln {self.cost}, from"
            f" {lowest} and {short(self.reference.cost)})"
        )
        if self.hypervolume:
            last = self.growth[-1]
            first = next(s for s in self.growth if s.hypervolume >= MOST * self.hypervolume)
            line += (
                f"; {MOST:.0%} of it after {first.evaluations} of {last.evaluations} evaluations,"
                f" {duration(first.seconds)} of {duration(last.seconds)} of training"
            )
        yield line
        if self.promising:
            yield (
                "Pruned trials were measured after fewer epochs and are not on it; those worth"
                " training whole lie beyond it already."
            )
        rows = [self._row("front", trial) for trial in self.trials]
        rows += [self._row("worth training whole", trial) for trial in self.promising]
        metric = f"#{words(self.metric)}"
        columns = ["standing", "#trial", metric, "#FLOPs", "#params", "#score", "architecture"]
        yield tables.Table(columns, rows)
        if self.picture is not None:
            yield f"picture: {self.picture}"

    def _row(self, standing: str, trial: TrialInfo) -> list[object]:
        note = ", best score" if trial.number == self.best.number else ""
        cost = (short(trial.cost.macs), short(trial.cost.params), number(trial.score))
        value = number(_value(trial, self.metric))
        return [standing + note, trial.number, value, *cost, trial.architecture_id[:8]]

    def draw(self, path: Path) -> Path:
        """Write the picture of the front and of its hypervolume, .png or .svg; return its path."""
        value, cost = f"{self.reference.value:.3f}", short(self.reference.cost)
        return draw_front(
            self.figure,
            self.growth,
            f"{words(self.metric)} {value} and {cost} {self.cost}",
            f"{self.study}: front of {self.count} complete trials",
            path,
        )


def front(connection: sa.Connection, info: StudyInfo, cost: str = "macs") -> Front:
    """Rebuild a study's front from all its trials.

    Raises UserError for an unknown cost, StoreError where no trial is complete.
    """
    if cost not in COSTS:
        raise UserError(unknown("cost", cost, COSTS))
    metric = info.metric
    trials = {trial.number: trial for trial in queries.trials(connection, info.id)}
    endings = queries.endings(connection, info.id)
    best = max(_complete(trials.values(), info), key=_score)
    figure = trade_off(
        spots(trials.values(), metric, lambda trial: getattr(trial.cost, cost)),
        metric=metric,
        cost=COSTS[cost],
        target=info.objective.target_flops if cost == "macs" else None,
        best=best.number,
    )
    limit = getattr(info.limits, cost)
    reference = pareto.Point(
        min(spot.value for spot in (*figure.front, *figure.dominated)),
        max(getattr(trial.cost, cost) for trial in trials.values()) if limit is None else limit,
    )
    ended = [(trials[n], seconds) for n, seconds in endings if n in trials]  # no newer ones
    return Front(
        study=info.name,
        metric=metric,
        cost=cost,
        trials=tuple(trials[spot.number] for spot in figure.front),
        dominated=tuple(trials[spot.number] for spot in figure.dominated),
        promising=tuple(trials[spot.number] for spot in figure.promising),
        best=best,
        reference=reference,
        growth=tuple(_growth(ended, metric, cost, reference)),
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
            recipe_hash=trial.recipe_hash,
        )
        for trial in trials
        if trial.state in ("complete", "pruned") and (amount := cost(trial)) is not None
    ]


def _growth(
    ended: Sequence[tuple[TrialInfo, float]], metric: str, cost: str, reference: pareto.Point
) -> Iterator[Growth]:
    """Follow the hypervolume of the complete trials through all trials in their order of end."""
    points = [
        pareto.Point(_gain(trial, metric), math.log(getattr(trial.cost, cost)))
        if trial.state == "complete"
        else NO_POINT
        for trial, _ in ended
    ]
    areas = pareto.growth(points, reference._replace(cost=math.log(reference.cost)))
    trained: set[tuple[str, str]] = set()
    seconds = 0.0
    for (trial, spent), area in zip(ended, areas, strict=True):
        if trial.reused_from is None:
            trained.add((trial.architecture_id, trial.recipe_hash))
        seconds += spent
        yield Growth(trial.number, len(trained), seconds, area)


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
        metric = f"#{words(self.metric)}"
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
    # Of equals the first trial comes first, as in `nas top`.
    by_own = sorted(complete, key=_score, reverse=True)
    own_ranks = {trial.number: rank for rank, trial in enumerate(by_own, 1)}
    scores = {t.number: goal.score(_gain(t, metric), t.cost.macs) for t in complete}
    ranked = sorted(complete, key=lambda trial: scores[trial.number], reverse=True)
    macs = [trial.cost.macs for trial in complete]
    given_up = {(t.architecture_id, t.recipe_hash) for t in trials if t.state == "pruned"}
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
        pruned=len(given_up - {(trial.architecture_id, trial.recipe_hash) for trial in complete}),
    )


def _complete(trials: Iterable[TrialInfo], info: StudyInfo) -> list[TrialInfo]:
    """Return the trials that were trained whole; raise StoreError where there is none."""
    complete = longest(
        t for t in trials if t.state == "complete" and math.isfinite(_value(t, info.metric))
    )
    if not complete:
        raise StoreError(f"Study {info.name!r} has no complete trial yet.")
    return complete


def _value(trial: TrialInfo, metric: str) -> float:
    value = trial.metrics.get(metric)
    return math.nan if value is None else value


def _gain(trial: TrialInfo, metric: str) -> float:
    return gain(metric, _value(trial, metric))


def _score(trial: TrialInfo) -> float:
    return -math.inf if trial.score is None else trial.score
