"""A study's trials looked at again: the front of metric and cost, ranks under another objective.

Nothing is trained and nothing written. Costs are known exactly and before the first epoch, so a
study of one score, which can be pruned, holds the front too. Imports no torch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from nas import pareto
from nas.errors import StoreError, UserError, unknown
from nas.objective import Objective, objective
from nas.store import queries
from nas.store.queries import StudyInfo, TrialInfo

COSTS = ("macs", "params")
KINDS = ("soft", "hard")  # of a new rank; a pareto objective scores as a soft one does
NEAR = 0.1  # of the target: a trial within it was near
UNKNOWN = pareto.Point(math.nan, math.nan)  # what a trial that was not trained whole adds


class Growth(NamedTuple):
    """The hypervolume after a trial's end, and what the study had spent by then.

    An evaluation is a network that was trained, whatever it took. Trials reused from another study
    cost neither evaluations nor seconds of training.
    """

    trial: int
    evaluations: int
    seconds: float
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Front:
    """The trials of a study that no other beats in both metric and cost, the cheapest first.

    `dominated` are the other complete trials. Pruned ones were measured after fewer epochs, so they
    are on no front; `promising` are those that lie beyond it already, `pruned` the others. `best`
    has the best score. The hypervolume is in units of the metric times the natural logarithm of
    cost. Its `reference` is the lowest metric of the complete trials and the study's hard limit on
    the cost; without a limit, the largest cost of all trials.
    """

    study: str
    metric: str
    cost: str
    target: float | None
    trials: tuple[TrialInfo, ...]
    dominated: tuple[TrialInfo, ...]
    promising: tuple[TrialInfo, ...]
    pruned: tuple[TrialInfo, ...]
    best: TrialInfo
    reference: pareto.Point
    growth: tuple[Growth, ...]

    @property
    def hypervolume(self) -> float:
        """Return the area under the front as far as the reference."""
        return self.growth[-1].hypervolume if self.growth else 0.0

    def cost_of(self, trial: TrialInfo) -> int:
        """Return what a trial's network costs, in the front's own cost."""
        return int(getattr(trial.cost, self.cost))

    def value_of(self, trial: TrialInfo) -> float:
        """Return what was measured of a trial last."""
        return _value(trial, self.metric)


def front(connection: sa.Connection, info: StudyInfo, cost: str = "macs") -> Front:
    """Rebuild a study's front from all its trials.

    Raises UserError for an unknown cost, StoreError where no trial is complete.
    """
    if cost not in COSTS:
        raise UserError(unknown("cost", cost, COSTS))
    metric = info.config["recipe"]["metric"]
    trials = queries.trials(connection, info.id)
    points = {trial.number: _point(trial, metric, cost) for trial in trials}
    complete = _complete(trials, info)
    kept = [complete[index] for index in pareto.front([points[t.number] for t in complete])]
    on_front = {trial.number: points[trial.number] for trial in kept}
    done = {trial.architecture_id for trial in complete}
    pruned = [t for t in _measured(trials, "pruned", metric) if t.architecture_id not in done]
    pruned.sort(key=lambda trial: points[trial.number].cost)
    beyond = {t.number for t in pruned if pareto.is_beyond(points[t.number], [*on_front.values()])}
    reference = _reference(info, cost, [points[t.number] for t in complete], points.values())
    # a trial that a worker has begun since is not among them
    ended = [step for step in queries.endings(connection, info.id) if step[0] in points]
    return Front(
        study=info.name,
        metric=metric,
        cost=cost,
        target=info.config["objective"].get("target_flops") if cost == "macs" else None,
        trials=tuple(kept),
        dominated=tuple(trial for trial in complete if trial.number not in on_front),
        promising=tuple(trial for trial in pruned if trial.number in beyond),
        pruned=tuple(trial for trial in pruned if trial.number not in beyond),
        best=_sorted(complete, _score)[0],
        reference=reference._replace(cost=round(math.exp(reference.cost))),
        growth=_growth({trial.number: trial for trial in trials}, points, ended, reference),
    )


def _reference(
    info: StudyInfo, cost: str, complete: Iterable[pareto.Point], every: Iterable[pareto.Point]
) -> pareto.Point:
    limit = info.config.get("limits", {}).get(cost)
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
    for (number, spent), area in zip(ended, pareto.growth(whole, reference), strict=True):
        if trials[number].reused_from is None:
            trained.add(trials[number].architecture_id)
        seconds += spent
        steps.append(Growth(number, len(trained), seconds, area))
    return tuple(steps)


class Ranked(NamedTuple):
    """A trial under another objective; `own_rank` is that under the study's own."""

    rank: int
    score: float
    own_rank: int
    trial: TrialInfo


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
    trials: tuple[Ranked, ...]
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
    own = Objective(**info.config["objective"])
    own_kind = "hard" if own.kind == "hard" else "soft"
    if kind is not None and kind not in KINDS:
        raise UserError(unknown("objective", kind, KINDS))
    if weight is None and kind in (None, own_kind):
        weight = own.weight
    goal = objective(target_flops, kind or own_kind, weight)
    metric = info.config["recipe"]["metric"]
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
            Ranked(rank, scores[t.number], own_ranks[t.number], t)
            for rank, t in enumerate(ranked, 1)
        ),
        evaluated=(min(macs), max(macs)),
        near=sum(abs(each - goal.target) <= NEAR * goal.target for each in macs),
        count=len(complete),
        pruned=len(given_up - {trial.architecture_id for trial in complete}),
    )


def _complete(trials: Sequence[TrialInfo], info: StudyInfo) -> list[TrialInfo]:
    """Return the trials that were trained whole; raise StoreError where there is none."""
    found = _measured(trials, "complete", info.config["recipe"]["metric"])
    if not found:
        raise StoreError(f"Study {info.name!r} has no complete trial yet.")
    return found


def _measured(trials: Iterable[TrialInfo], state: str, metric: str) -> list[TrialInfo]:
    """Return the trials in a state that have a value: of each architecture the longest training."""
    found: dict[str, TrialInfo] = {}
    for trial in trials:
        if trial.state == state and math.isfinite(_value(trial, metric)):
            kept = found.setdefault(trial.architecture_id, trial)
            if trial.fidelity > kept.fidelity:
                found[trial.architecture_id] = trial
    return list(found.values())


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
