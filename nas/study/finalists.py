"""Finalists: a search's best networks are trained in full, with several seeds; one of them wins.

The best of many scores on few images is the luckiest of them. The finalists are three opinions in
turn: the best by score, the best once the surrogate has smoothed the noise away, and the most
accurate within the limits. They are the trials of a study of their own, so that they run on every
executor, survive kills and are stored as all evaluations are.
"""

import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas import pareto, quantities
from nas.architecture import CandidateKey
from nas.config import Config, Finals
from nas.errors import NotStored, StoreError, UserError, unknown
from nas.objective import Objective
from nas.report import tables
from nas.report.intervals import interval, mean_and_error, welch
from nas.samplers._space import SpaceOracle
from nas.samplers.nas import expectations
from nas.store import queries
from nas.store.queries import TrialInfo
from nas.store.store import Store
from nas.store.trials import Trials
from nas.study.options import FINAL_SEEDS, FINALISTS, SUFFIX, SearchOptions
from nas.training.metrics import gain, words
from nas.training.recipe import Recipe

PICKS = ("winner", "accurate", "knee")
RESERVED = 0.5  # of the time limit, at most, is kept for the finalists


@dataclass(frozen=True)
class Standing:
    """A finalist: the search's trial of its network, and its trainings in full, one for each seed.

    `trainings` are complete trials of the study of finalists, the best on validation first.
    """

    trial: TrialInfo
    trainings: Sequence[TrialInfo]
    metric: str

    @property
    def values(self) -> list[float]:
        """The metric on validation after each training."""
        return [float(t.metrics[self.metric] or 0.0) for t in self.trainings]

    @property
    def mean(self) -> float:
        """The mean of the metric on validation over the seeds."""
        return statistics.fmean(self.values)

    @property
    def gain(self) -> float:
        """The mean as the objective counts it: the higher the better."""
        return gain(self.metric, self.mean)

    @property
    def score(self) -> float:
        """The mean of the objective over the seeds."""
        return statistics.fmean(self.scores)

    @property
    def scores(self) -> list[float]:
        """The objective on validation after each training."""
        return [training.score or 0.0 for training in self.trainings]

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None for a single seed."""
        return mean_and_error(self.values)[1] if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean over seeds; None for a single seed."""
        return interval(self.values)

    @property
    def score_interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the score over seeds; None for a single seed."""
        return interval(self.scores)

    @property
    def validation(self) -> dict[str, float]:
        """The mean of each metric on validation over the seeds."""
        return means([training.metrics for training in self.trainings])

    def to_json(self) -> dict[str, Any]:
        """Return the finalist as plain data."""
        return {
            "trial": self.trial.number,
            "architecture_id": self.trial.architecture_id,
            "macs": self.trial.cost.macs,
            "params": self.trial.cost.params,
            "seeds": len(self.trainings),
            "mean": self.mean,
            "interval": self.interval,
            "score": self.score,
            "recipe": dict(self.trial.recipe),
        }

    def result(self) -> dict[str, Any]:
        """Return the network as a search's result has it; metrics are means over the seeds."""
        return {
            "score": self.score,
            "metric": self.metric,
            "value": self.mean,
            "validation": self.validation,
            "macs": self.trial.cost.macs,
            "params": self.trial.cost.params,
            "latency_ms": self.trial.latency_ms,
            "architecture_id": self.trial.architecture_id,
            "trial": self.trial.number,
            "recipe": dict(self.trial.recipe),
            "one_class": self.trial.one_class,
            "seeds": len(self.trainings),
        }


@dataclass(frozen=True)
class Ranking:
    """The networks that a study hands one of over, the winner first; at least one.

    They are its finalists, or without finalists (`is_final` is false) its complete trials.
    """

    standings: Sequence[Standing]
    objective: Objective
    is_final: bool = True

    @property
    def winner(self) -> Standing:
        """The network with the highest mean of the objective; of equals the cheapest."""
        return self.standings[0]

    @property
    def accurate(self) -> Standing:
        """The network with the best mean of the metric; of equals the cheapest."""
        return max(self.standings, key=lambda s: (s.gain, -s.trial.cost.macs))

    @property
    def knee(self) -> Standing:
        """The knee of the networks' front of metric and FLOPs, which count by their logarithm."""
        points = [pareto.Point(s.gain, math.log(s.trial.cost.macs)) for s in self.standings]
        return self.standings[pareto.knee(points)]

    @property
    def alike(self) -> list[Standing]:
        """The finalists whose mean score is not told apart from the winner's, by Welch's interval.

        Empty where they have a single seed, which says nothing of chance.
        """
        ends = ((each, welch(self.winner.scores, each.scores)) for each in self.finalists[1:])
        return [each for each, end in ends if end is not None and end[0] <= 0]

    @property
    def finalists(self) -> Sequence[Standing]:
        """The finalists; none where the search had none."""
        return self.standings if self.is_final else ()

    def picked(self, pick: str | None) -> Standing:
        """Return the network of a name in `PICKS`, by default the winner; UserError for another."""
        if pick not in (None, *PICKS):
            raise UserError(unknown("pick", pick, PICKS))
        return {"accurate": self.accurate, "knee": self.knee}.get(pick or "", self.winner)

    def lines(self) -> tables.Lines:
        """Show the finalists; say what the winner gave up, and what may be as good as it is."""
        if (table := self.table()) is not None:
            yield table
        yield from filter(None, (self.sentence(), self.doubt()))

    def standing_of(self, standing: Standing) -> str:
        """Say what a network is best at: winner, most accurate, knee; empty for another."""
        marks = {"winner": self.winner, "most accurate": self.accurate, "knee": self.knee}
        return ", ".join(name for name, marked in marks.items() if marked is standing)

    def table(self) -> tables.Table | None:
        """Return the finalists as a table; None where the search had none."""
        if not self.is_final:
            return None
        head = ["#trial", "#FLOPs", "#seeds", f"#{self.winner.metric}", "#interval", "#score"]
        rows = [self._row(standing) for standing in self.standings]
        return tables.Table([*head, "standing"], rows, "finalists, trained in full")

    def _row(self, standing: Standing) -> list[str]:
        low, high = standing.interval or (None, None)
        return [
            str(standing.trial.number),
            quantities.short(standing.trial.cost.macs),
            str(len(standing.trainings)),
            f"{standing.mean:.4f}",
            "" if low is None else f"{low:.4f} to {high:.4f}",
            f"{standing.score:.4f}",
            self.standing_of(standing),
        ]

    def sentence(self) -> str | None:
        """Say what a winner that is not the most accurate network gave up; None where it is."""
        winner, accurate = self.winner, self.accurate
        if winner is accurate:
            return None
        errors = [s.error for s in (winner, accurate) if s.error is not None]
        spread = f" ± {100 * math.hypot(*errors):.1f}" if len(errors) > 1 else ""
        points = 100 * abs(accurate.mean - winner.mean)
        amounts = [self._amount(each.trial) for each in (winner, accurate)]
        share, cost, dearer = amounts[0] / self.objective.target, *map(self._written, amounts)
        return (
            f"the winner's {cost} are {quantities.share(share)} the target; its "
            f"{words(winner.metric)} is {points:.1f}{spread} points worse than that of "
            f"trial {accurate.trial.number}, the most accurate, at {dearer}"
        )

    def doubt(self) -> str | None:
        """Name the finalists that are not told apart from the winner, and the cheapest of all."""
        if not (alike := self.alike):
            return None
        *others, last = (f"trial {each.trial.number}" for each in alike)
        trials = f"{', '.join(others)} and {last}" if others else last
        said = f"{len(self.winner.trainings)} seeds do not tell {trials} from the winner"
        cheapest = min((self.winner, *alike), key=lambda each: self._amount(each.trial)).trial
        if cheapest is self.winner.trial:
            return f"{said}, the cheapest of them"
        cost = self._written(self._amount(cheapest))
        return f"{said}; the cheapest of them, trial {cheapest.number}, has {cost}"

    def _amount(self, trial: TrialInfo) -> float:
        timed = self.objective.target_latency_ms is not None
        return (trial.latency_ms or 0.0) if timed else trial.cost.macs

    def _written(self, amount: float) -> str:
        """Return an amount of the objective's cost with its unit, briefly."""
        if self.objective.target_latency_ms is not None:
            return self.objective.write(amount)
        return f"{quantities.short(amount)} FLOPs"


def spreads(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the standard deviation of each number that all rows have; none of a single row."""
    if len(rows) < 2:
        return {}
    return {name: statistics.stdev(row[name] or 0.0 for row in rows) for name in means(rows)}


def means(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean of each number that all rows have."""
    names = [name for name in rows[0] if all(row.get(name) is not None for row in rows)]
    return {name: statistics.fmean(row[name] or 0.0 for row in rows) for name in names}


def finals_of(options: SearchOptions, whole: Recipe, stored: Finals | None = None) -> Finals | None:
    """Return how a search ends, by its options, else as it is `stored`; None without finalists.

    `whole` is the recipe of finalists that were not wanted before.
    """
    networks = 0 if options.no_finalists else options.finalists
    if networks is None:
        networks = stored.networks if stored else FINALISTS
    if networks == 0:
        return None
    seeds = options.final_seeds or (stored.seeds if stored else FINAL_SEEDS)
    return Finals(networks, seeds, stored.recipe if stored else whole)


def reserved(finals: Finals | None, each: float, workers: int, seconds: float | None) -> float:
    """Return how many seconds of a limit are kept for the finals; `each` is those of a training."""
    if finals is None or seconds is None:
        return 0.0
    return min(math.ceil(finals.networks * finals.seeds / workers) * each, RESERVED * seconds)


def affordable(finals: Finals, trainings: int) -> Finals:
    """Return the finals with as many networks, then seeds, as so many trainings: at least one."""
    trainings = max(1, trainings)
    networks = min(finals.networks, trainings)
    return replace(finals, networks=networks, seeds=min(finals.seeds, trainings // networks))


class FinalsPace(NamedTuple):
    """How many of the finalists' trainings are complete, and the seconds that one takes."""

    done: int
    seconds: float


def pace(store: Store, study: str, config: Config, times: float) -> FinalsPace | None:
    """Return the pace of finalists as measured; None where nothing was.

    Before one of them was trained in full it is that of their trials in the search, each of which
    a training in full takes as long as `times`.
    """
    keys = {config.subject.key(values) for values in config.finalists}
    with store.read() as connection:
        full = _trainings(connection, study + SUFFIX)
        trained = [each for key in keys & full.keys() for each in full[key][: config.seeds]]
        searched = _complete(connection, queries.study(connection, study).id)
    for trials, factor in (
        (trained, 1.0),
        ([searched[key] for key in keys & searched.keys()], times),
    ):
        seconds = [each.seconds for each in trials if each.seconds and each.reused_from is None]
        if seconds:
            return FinalsPace(len(trained), factor * statistics.fmean(seconds))
    return None


def once_more(store: Store, study: str) -> float:
    """Return the seconds in which the best trial is trained once more, to hand its weights over.

    Scored on folds, and before a finalist is trained in full, it has none. Else they are 0.
    """
    with store.read() as connection:
        info = queries.study(connection, study)
        best = queries.best(connection, info.id, 1)
        config = Config.from_json(info.config)
        if not best or config.recipe.folds == 1 or _trainings(connection, study + SUFFIX):
            return 0.0
    return (best[0].seconds or 0.0) * (1 + 1 / config.recipe.folds)


def _complete(connection: sa.Connection, study_id: int) -> dict[CandidateKey, TrialInfo]:
    """Return the first complete trial of each network with its recipe; later ones repeat it."""
    complete: dict[CandidateKey, TrialInfo] = {}
    for trial in queries.trials(connection, study_id):
        if trial.state == "complete":
            complete.setdefault(trial.candidate_key, trial)
    return complete


def choose(trials: Trials, config: Config, count: int) -> list[TrialInfo]:
    """Return the finalists of a searched study, complete trials of different networks.

    Where there are too few networks, a network that has trials under several recipes comes again.
    """
    complete = trials.read(_complete, trials.info.id)
    oracle = SpaceOracle(config.subject, config.limits, config.objective)
    expected = expectations(trials.optuna_study(), oracle, random.Random(config.seed))
    metric = config.recipe.metric
    opinions = [
        _best_first(complete, {key: trial.score for key, trial in complete.items()}),
        _best_first(complete, expected),
        _best_first(complete, {key: _gain(trial, metric) for key, trial in complete.items()}),
    ]
    turns = (trial for turn in zip_longest(*opinions) for trial in turn if trial is not None)
    trials_by_key = {trial.candidate_key: trial for trial in turns}
    first: dict[str, TrialInfo] = {}
    for trial in trials_by_key.values():
        first.setdefault(trial.architecture_id, trial)
    # Other networks come before a network's other recipes.
    ordered = {trial.candidate_key: trial for trial in first.values()} | trials_by_key
    return list(ordered.values())[:count]


def _best_first(
    trials: Mapping[CandidateKey, TrialInfo], values: Mapping[CandidateKey, float | None]
) -> list[TrialInfo]:
    """Return the trials that have a value, the highest first; of equals the cheapest first."""
    rated = [(trials[key], value) for key, value in values.items() if key in trials]
    order = sorted(rated, key=lambda pair: (-(pair[1] or 0.0), pair[0].cost.macs))
    return [trial for trial, _ in order]


def trainings_in_all(store: Store, study: str, config: Config) -> int:
    """Return how many trials a study of finalists has at its end.

    Networks that were finalists before, and are not any more, keep their trials, as those do that
    have more than are wanted now.
    """
    with store.read() as connection:
        present = {each.name: each.id for each in queries.studies(connection)}
        trials = queries.trials(connection, present[study]) if study in present else []
    counts = Counter(trial.candidate_key for trial in trials)
    wanted = {config.subject.key(values): config.seeds for values in config.finalists}
    return sum(max(counts[key], wanted.get(key, 0)) for key in counts | wanted)


def final_config(store: Store, study: str, config: Config, finals: Finals) -> Config | None:
    """Return the configuration of the study of finalists; None where no trial is complete."""
    trials = Trials(store, study, score=config.score, worker="")
    finalists = choose(trials, config, finals.networks)
    if not finalists:
        return None
    return replace(
        config,
        recipe=finals.recipe,
        sampler="random",  # the finalists are given
        pruner="none",
        folder=config.folder + SUFFIX,
        prefilter=None,
        features=(),
        warm_start=False,
        inherit=False,
        learn_from=(),
        lessons=(),
        finals=None,
        finalists=tuple(dict(trials.shown(trial.number).params) for trial in finalists),
        seeds=finals.seeds,
        search=study,
    )


def ranking(connection: sa.Connection, study: str) -> Ranking | None:
    """Read the finalists of a study that have a training in full, else its complete trials.

    A study of given networks trains them itself. None where there is no complete trial.
    """
    info = queries.study(connection, study)
    searched = _complete(connection, info.id)
    if not searched:
        return None
    trainings = _trainings(connection, study if info.is_given else study + SUFFIX)
    in_full = {key: each for key, each in trainings.items() if key in searched}
    standings = [
        Standing(searched[key], sorted(each, key=partial(_order, info.metric)), info.metric)
        for key, each in (in_full or {key: [trial] for key, trial in searched.items()}).items()
    ]
    best_first = sorted(standings, key=lambda s: (-s.score, s.trial.cost.macs))
    return Ranking(best_first, info.objective, is_final=bool(in_full))


def _trainings(connection: sa.Connection, study: str) -> dict[CandidateKey, list[TrialInfo]]:
    """Return the complete trainings of a study of finalists, if there is one, by candidate."""
    try:
        finals = queries.study(connection, study)
    except StoreError:
        return {}
    trainings: dict[CandidateKey, list[TrialInfo]] = {}
    for trial in queries.trials(connection, finals.id):
        if trial.state == "complete":
            trainings.setdefault(trial.candidate_key, []).append(trial)
    return trainings


def training_of(
    connection: sa.Connection, info: queries.StudyInfo, number: int | None, pick: str | None = None
) -> TrialInfo:
    """Return the trial whose weights stand for a trial: a finalist's best training in full.

    The trial is that of a number, else that of a `pick`, by default the winner. Raises UserError
    for both, for another pick, and where no trial is complete.
    """
    if pick is not None and number is not None:
        raise UserError("--pick and --trial each say which network; give one of them.")
    ranked = ranking(connection, info.name)
    if number is not None:
        finalists = ranked.finalists if ranked else ()
        numbered = (s.trainings[0] for s in finalists if s.trial.number == number)
        return next(numbered, None) or queries.trial(connection, info.id, number)
    if ranked is None:
        raise NotStored(f"Study {info.name!r} has no complete trial yet; give a trial's number.")
    return ranked.picked(pick).trainings[0]


def _order(metric: str, training: TrialInfo) -> tuple[float, int]:
    return -_gain(training, metric), training.number


def _gain(trial: TrialInfo, metric: str) -> float:
    value = trial.metrics.get(metric)
    return 0.0 if value is None else gain(metric, value)
