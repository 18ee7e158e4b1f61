"""A sampler made for architectures: a Gaussian process over choices, expected improvement.

The candidates are mutations of the best, after White et al., BANANAS (AAAI 2021,
arXiv:1910.11858); the expected improvement is that of Jones et al. (1998). The metric is modelled;
the cost's part in the score is applied exactly; an architecture that breaks a limit or has a trial
is no candidate. A proposal depends on the seed, on the study's trials and on the lessons of other
studies that it began with, so that a resumed study proposes as if it had not been interrupted.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas import pareto
from nas.samplers._acquisition import CAPS, Acquisition, Encoder, Observation, capped
from nas.samplers._history import draw
from nas.samplers._oracle import Assignment, Oracle, Preview, StudyOracle
from nas.samplers._surrogate import Points
from nas.samplers._transfer import OPENED, Foresight
from nas.samplers._witness import heard

LEARNS = True
OPENING = 0
STARTUP = 6  # proposals before there is a model
BEST = 5  # trials whose mutations are candidates
FRONT = 12  # members of a front whose mutations are candidates
DRAWS, CHANGES, AGAIN = 20, 80, 40  # candidates: drawn; mutations of the best; of the likeliest
LIKELIEST = 6
LISTED = 12  # candidates of which proxies are measured
SEVERAL = (1, 1, 1, 2, 2, 3)  # how many choices a mutation changes
PENDING = 64  # running trials, the latest, whose predictions the model takes for results
TRIES = 2_000  # draws until a space is taken for exhausted


class Prediction(NamedTuple):
    """The mean and spread of a proposal's expected score, as the study counts scores."""

    mean: float
    spread: float


class Candidates(NamedTuple):
    """Assignments that may be proposed, their previews, and their rows for the model."""

    values: list[Assignment]
    looks: list[Preview]
    points: Points

    def take(self, rows: Iterable[int]) -> "Candidates":
        """Return the candidates of these rows, in this order."""
        order = [int(row) for row in rows]
        values, looks = [self.values[i] for i in order], [self.looks[i] for i in order]
        return Candidates(values, looks, self.points.take(order))


class NasSampler(BaseSampler):
    """Propose the candidate with the largest expected improvement on the best so far.

    An `oracle` tells costs, limits and which assignments are one architecture; without one the
    sampler knows the choices of the study's trials. Numbers are drawn at random. `last_prediction`
    is None where a proposal was drawn at random or opens by what other studies taught, and
    `last_learnt` has how much each of these studies counted in it, by name.
    """

    def __init__(
        self, seed: int | None = None, *, oracle: Oracle | None = None, startup: int = STARTUP
    ) -> None:
        self.oracle = oracle
        self.startup = startup
        self.last_prediction: Prediction | None = None
        self.last_learnt: dict[str, float] = {}
        self.seed = random.SystemRandom().randrange(2**31) if seed is None else seed

    def reseed_rng(self) -> None:
        """Take another seed: Optuna asks for it where threads share a sampler."""
        self.seed = random.SystemRandom().randrange(2**31)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every known choice; see Optuna's BaseSampler."""
        oracle = self.oracle or StudyOracle(_others(study, trial))
        return dict(oracle.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for all parameters together; see Optuna's BaseSampler."""
        _check(study, self.oracle)
        self.last_prediction, self.last_learnt = None, {}
        if not search_space:
            return {}
        trials = _others(study, trial)
        oracle = self.oracle or StudyOracle(trials, search_space)
        values = self._propose(study, trials, oracle)
        return {name: values[name] for name in search_space if name in values}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that no trial has had; see Optuna's BaseSampler."""
        _check(study, self.oracle)
        rng = random.Random(f"{self.seed}:{len(_others(study, trial))}:{param_name}")
        return draw(param_distribution, rng)

    def _propose(self, study: Study, trials: list[FrozenTrial], oracle: Oracle) -> Assignment:
        rng = random.Random(f"{self.seed}:{len(trials)}")
        oracle.record.read(study, trials, oracle.identify, oracle.factor)
        tried = oracle.record.keys | {oracle.identify(trial) for trial in oracle.record.open}
        observed = _observe(oracle, rng)
        is_opening = len(trials) < self.startup or len(observed) < 2
        if is_opening and not (oracle.lessons and len(trials) in OPENED):
            return _untried(oracle, tried, rng, opening=True)
        encoder = Encoder(oracle.distributions, lessons=oracle.lessons)
        if not encoder.starts:
            return oracle.draw(rng)
        model: Acquisition | Foresight
        if is_opening:
            model = Foresight(encoder, front=oracle.front)
            observed = model.observed(oracle, rng)
        else:
            model = Acquisition(observed, _pending(oracle), encoder, rng, front=oracle.front)
        candidates = self.candidates(model, oracle, observed, tried, rng)
        if not candidates.values:
            return _untried(oracle, tried, rng)
        worth, mean, spread = model.improvement(candidates.points, candidates.looks)
        if not is_opening and oracle.describe(observed[0].values):
            listed = candidates.take(np.argsort(-worth, kind="stable")[:LISTED])
            model, candidates = _described(oracle, observed, listed, rng)
            worth, mean, spread = model.improvement(candidates.points, candidates.looks)
        best = int(np.argmax(worth))
        factor = candidates.looks[best].factor
        self.last_learnt = model.learnt()
        if not is_opening:
            self.last_prediction = Prediction(
                oracle.record.sign * float(mean[best]) * factor, float(spread[best]) * factor
            )
        return candidates.values[best]

    def candidates(
        self,
        model: Acquisition | Foresight,
        oracle: Oracle,
        observed: list[Observation],
        tried: set[Any],
        rng: random.Random,
    ) -> Candidates:
        """Return draws and mutations of the best, and mutations of the likeliest of these.

        The best are candidates themselves where they are another study's.
        """
        best = [parent.values for parent in _parents(observed, rng, front=oracle.front)]
        taken = set(tried)
        values: list[Assignment] = []
        looks: list[Preview] = []

        def gather(assignments: Iterable[Assignment]) -> None:
            """Keep the assignments that are allowed and not taken, and take them."""
            for each in assignments:
                look = oracle.look(each)
                if look is not None and look.allowed and look.key not in taken:
                    taken.add(look.key)
                    values.append(each)
                    looks.append(look)

        gather(best)
        gather(oracle.draw(rng) for _ in range(DRAWS))
        gather(_mutations(oracle, best, rng, CHANGES))
        if values:
            worth = model.improvement(model.encoder.encode(values, looks), looks)[0]
            likeliest = [values[i] for i in np.argsort(-worth, kind="stable")[:LIKELIEST]]
            gather(_mutations(oracle, likeliest, rng, AGAIN))
        return Candidates(values, looks, model.encoder.encode(values, looks))


def _described(
    oracle: Oracle, observed: list[Observation], listed: Candidates, rng: random.Random
) -> tuple[Acquisition, Candidates]:
    """Model trials and a short list of candidates with the oracle's descriptions of them."""

    def described(values: Assignment, look: Preview) -> Preview:
        return look._replace(numbers=look.numbers + oracle.describe(values))

    encoder = Encoder(oracle.distributions, described=True, lessons=oracle.lessons)
    trials = [replace(each, look=described(each.values, each.look)) for each in observed]
    pending = [(values, described(values, look)) for values, look in _pending(oracle)]
    model = Acquisition(trials, pending, encoder, rng, front=oracle.front)
    looks = [described(*pair) for pair in zip(listed.values, listed.looks, strict=True)]
    return model, Candidates(listed.values, looks, encoder.encode(listed.values, looks))


def _parents(observed: list[Observation], rng: random.Random, *, front: bool) -> list[Observation]:
    """Return the trials with the best scores, or a random sample of those on the front."""
    allowed = [each for each in observed if each.look.allowed]
    if not front:
        return sorted(allowed, key=lambda each: -each.score)[:BEST]
    points = [pareto.Point(each.score / each.look.factor, each.look.cost) for each in allowed]
    members = [allowed[index] for index in pareto.front(points)]
    return rng.sample(members, min(len(members), FRONT))


def _mutations(
    oracle: Oracle, parents: list[Assignment], rng: random.Random, count: int
) -> Iterator[Assignment]:
    """Yield copies of the parents with one to three choices changed."""
    for index in range(count if parents else 0):
        values = parents[index % len(parents)]
        for _ in range(rng.choice(SEVERAL)):
            values = oracle.change(values, rng)
        yield values


def _untried(
    oracle: Oracle, tried: set[Any], rng: random.Random, *, opening: bool = False
) -> Assignment:
    """Draw until an architecture is new; return any that keeps the limits where none is."""
    fallback = None
    for _ in range(TRIES):
        values = oracle.draw(rng, near_target=opening)
        opening = opening and fallback is None  # all architectures near the target may have a trial
        look = oracle.look(values)
        if look is not None and look.allowed:
            if look.key not in tried:
                return values
            fallback = fallback or values
    return fallback or oracle.draw(rng)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the study's trials without this one."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= trial.number < len(trials):  # it is not stored yet
        return trials
    return [other for other in trials if other.number != trial.number]


def _check(study: Study, oracle: Oracle | None) -> None:
    if len(study.directions) > (2 if oracle is not None and oracle.front else 1):
        raise ValueError(
            "NasSampler models one objective; scalarise the others into it, or give it an oracle "
            "that knows the second, a cost, and has `front`."
        )


def _pending(oracle: Oracle) -> list[tuple[Assignment, Preview]]:
    """Return the running trials' assignments and previews, the latest."""
    running = [t for t in oracle.record.open if t.state == TrialState.RUNNING and t.params]
    looks = [(trial.params, oracle.look(trial.params)) for trial in running[-PENDING:]]
    return [(values, look) for values, look in looks if look is not None]


def _observe(oracle: Oracle, rng: random.Random) -> list[Observation]:
    """Return the results of complete and pruned trials, equal ones once; of many trials some."""
    shown = oracle.record.shown()
    rows, found = [], []
    for index in capped(shown.scores, CAPS, rng):
        params = oracle.record.ended[int(shown.numbers[index])].params
        look = oracle.look(params)
        if look is not None:
            rows.append(index)
            found.append((params, look))
    factors = np.array([look.factor for _, look in found])
    metrics = shown.scores[rows] / factors
    told = heard(metrics, shown.errors[rows], shown.losses[rows])
    scores = np.where(told.metrics == metrics, shown.scores[rows], told.metrics * factors)
    extra = shown.extra[rows] + told.variances * factors**2
    return [
        Observation(*pair, float(score), float(variance), whole=cut == 0)
        for pair, score, variance, cut in zip(found, scores, extra, shown.extra[rows], strict=True)
    ]


def expectations(study: Study, oracle: Oracle, rng: random.Random) -> dict[Any, float]:
    """Return the score that the model expects of each network with a result, by the oracle's keys.

    It is the network's score without the noise of a single training. Empty while there are too few
    results for a model.
    """
    trials = study.get_trials(deepcopy=False)
    oracle.record.read(study, trials, oracle.identify, oracle.factor)
    observed = _observe(oracle, rng)
    encoder = Encoder(oracle.distributions)
    if len(observed) < STARTUP or not encoder.starts:
        return {}
    looks = [each.look for each in observed]
    model = Acquisition(observed, [], encoder, rng)
    points = encoder.encode([each.values for each in observed], looks)
    mean = model.improvement(points, looks)[1]
    return {look.key: float(m) * look.factor for look, m in zip(looks, mean, strict=True)}


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:
    """Make the sampler."""
    return NasSampler(seed, oracle=oracle)
