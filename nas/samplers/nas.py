"""A sampler made for architectures: a Gaussian process over choices, expected improvement.

After White et al., BANANAS (AAAI 2021, arXiv:1910.11858), who look at mutations of the best, and
Jones et al. (1998), whose improvement it is. The metric is modelled; what is known of a score
beforehand (its cost's part) is applied exactly; what breaks a limit or was tried before is no
candidate. A proposal depends on the seed and on the study's trials alone, so that a resumed study
goes on as it would have.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas import pareto
from nas.samplers._acquisition import CAPS, Acquisition, Encoder, Observation, chosen
from nas.samplers._history import draw
from nas.samplers._oracle import Assignment, Oracle, Preview, StudyOracle
from nas.samplers._surrogate import Points

LEARNS = True
OPENING = 0
STARTUP = 6  # proposals before there is a model
BEST = 5  # trials whose mutations are candidates
FRONT = 12  # members of a front whose mutations are candidates
DRAWS, CHANGES, AGAIN = 20, 80, 40  # candidates: drawn; mutations of the best; of the likeliest
LIKELIEST = 6
LISTED = 12  # candidates of which proxies are measured
SEVERAL = (1, 1, 1, 2, 2, 3)  # how many choices a mutation changes
PENDING = 64  # trials being evaluated that are believed
TRIES = 2_000  # draws until a space is taken for exhausted


class Prediction(NamedTuple):
    """What was expected of a proposal: its score's mean and spread, as the study counts scores."""

    mean: float
    spread: float


class Candidates(NamedTuple):
    """Assignments that may be proposed, what is known of them, and their rows for the model."""

    values: list[Assignment]
    looks: list[Preview]
    points: Points

    def take(self, rows: Iterable[int]) -> "Candidates":
        """Return some of them, in this order."""
        chosen = [int(row) for row in rows]
        values, looks = [self.values[i] for i in chosen], [self.looks[i] for i in chosen]
        return Candidates(values, looks, self.points.take(chosen))


class NasSampler(BaseSampler):
    """Propose the candidate that is expected to improve most on the best so far.

    With an `oracle` it knows costs, limits and which assignments are one architecture; alone it
    knows the choices of the study's trials. Parameters that are no choices are drawn at random.
    `last_prediction` is None where a proposal was drawn at random.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        oracle: Oracle | None = None,
        startup: int = STARTUP,
    ) -> None:
        self.oracle = oracle
        self.startup = startup
        self.last_prediction: Prediction | None = None
        self.seed = random.SystemRandom().randrange(2**31) if seed is None else seed

    def reseed_rng(self) -> None:
        """Take another seed: Optuna asks for it where threads share a sampler."""
        self.seed = random.SystemRandom().randrange(2**31)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every choice that is known; see Optuna's BaseSampler."""
        if self.oracle is not None:
            return dict(self.oracle.distributions)
        return dict(StudyOracle(_others(study, trial)).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for all parameters together; see Optuna's BaseSampler."""
        _check(study, self.oracle)
        self.last_prediction = None
        if not search_space:
            return {}
        trials = _others(study, trial)
        oracle = self.oracle if self.oracle is not None else StudyOracle(trials, search_space)
        values = self._propose(study, trials, oracle)
        return {name: values[name] for name in search_space if name in values}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that no trial had so far; see Optuna's BaseSampler."""
        _check(study, self.oracle)
        rng = random.Random(f"{self.seed}:{len(_others(study, trial))}:{param_name}")
        return draw(param_distribution, rng)

    def _propose(self, study: Study, trials: list[FrozenTrial], oracle: Oracle) -> Assignment:
        rng = random.Random(f"{self.seed}:{len(trials)}")
        oracle.record.read(study, trials, oracle.identify)
        known = oracle.record.keys | {oracle.identify(trial) for trial in oracle.record.open}
        observed = _observe(oracle, rng)
        if len(trials) < self.startup or len(observed) < 2:
            return _unseen(oracle, known, rng, opening=True)
        encoder = Encoder(oracle.distributions)
        if not encoder.starts:
            return oracle.draw(rng)
        model = Acquisition(observed, _pending(oracle), encoder, rng, front=oracle.front)
        candidates = self.candidates(model, oracle, observed, known, rng)
        if not candidates.values:
            return _unseen(oracle, known, rng)
        worth, mean, spread = model.improvement(candidates.points, candidates.looks)
        if oracle.describe(observed[0].values):
            listed = candidates.take(np.argsort(-worth, kind="stable")[:LISTED])
            model, candidates = _described(oracle, observed, listed, rng)
            worth, mean, spread = model.improvement(candidates.points, candidates.looks)
        best = int(np.argmax(worth))
        factor = candidates.looks[best].factor
        expected = oracle.record.sign * float(mean[best]) * factor, float(spread[best]) * factor
        self.last_prediction = Prediction(*expected)
        return candidates.values[best]

    def candidates(
        self,
        model: Acquisition,
        oracle: Oracle,
        observed: list[Observation],
        known: set[Any],
        rng: random.Random,
    ) -> Candidates:
        """Return draws and mutations of the best, and mutations of the likeliest of these."""
        best = [seen.values for seen in _parents(observed, rng, front=oracle.front)]
        taken = set(known)
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

        gather(oracle.draw(rng) for _ in range(DRAWS))
        gather(_mutations(oracle, best, rng, CHANGES))
        if values:
            worth = model.improvement(model.encoder.encode(values, looks), looks)[0]
            likeliest = [values[i] for i in np.argsort(-worth, kind="stable")[:LIKELIEST]]
            gather(_mutations(oracle, likeliest, rng, AGAIN))
        return Candidates(values, looks, model.encoder.encode(values, looks))


def _described(
    oracle: Oracle,
    observed: list[Observation],
    listed: Candidates,
    rng: random.Random,
) -> tuple[Acquisition, Candidates]:
    """Model once more with what is too dear to be known of all: of a short list and of trials."""

    def known(values: Assignment, look: Preview) -> Preview:
        return look._replace(numbers=look.numbers + oracle.describe(values))

    encoder = Encoder(oracle.distributions, described=True)
    seen = [dataclasses.replace(o, look=known(o.values, o.look)) for o in observed]
    pending = [(values, known(values, look)) for values, look in _pending(oracle)]
    model = Acquisition(seen, pending, encoder, rng, front=oracle.front)
    looks = [known(*pair) for pair in zip(listed.values, listed.looks, strict=True)]
    return model, Candidates(listed.values, looks, encoder.encode(listed.values, looks))


def _parents(observed: list[Observation], rng: random.Random, *, front: bool) -> list[Observation]:
    """Return the best; where the front is the aim, its members, of many some that are drawn."""
    allowed = [seen for seen in observed if seen.look.allowed]
    if not front:
        return sorted(allowed, key=lambda seen: -seen.score)[:BEST]
    points = [pareto.Point(seen.score / seen.look.factor, seen.look.cost) for seen in allowed]
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


def _unseen(
    oracle: Oracle, known: set[Any], rng: random.Random, *, opening: bool = False
) -> Assignment:
    """Draw until there is something new; anything allowed where there is not."""
    fallback = None
    for _ in range(TRIES):
        values = oracle.begin(rng) if opening else oracle.draw(rng)
        opening = opening and fallback is None  # the opening may have nothing new to give
        look = oracle.look(values)
        if look is not None and look.allowed:
            if look.key not in known:
                return values
            fallback = fallback or values
    return fallback or oracle.draw(rng)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the study's trials but this one."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= trial.number < len(trials):  # one that is not stored yet
        return trials
    return [other for other in trials if other.number != trial.number]


def _check(study: Study, oracle: Oracle | None) -> None:
    if len(study.directions) > (2 if oracle is not None and oracle.front else 1):
        raise ValueError(
            "NasSampler models one objective; scalarise the others into it, or give it an oracle "
            "that knows the second, a cost, and has `front`."
        )


def _pending(oracle: Oracle) -> list[tuple[Assignment, Preview]]:
    """Return what is being evaluated, the most recent of it."""
    running = [t for t in oracle.record.open if t.state == TrialState.RUNNING and t.params]
    looks = [(trial.params, oracle.look(trial.params)) for trial in running[-PENDING:]]
    return [(values, look) for values, look in looks if look is not None]


def _observe(oracle: Oracle, rng: random.Random) -> list[Observation]:
    """Return what complete and pruned trials showed, the same once; of many trials some."""
    shown = oracle.record.shown()
    found = []
    for index in chosen(shown.scores, CAPS, rng):
        params = oracle.record.ended[int(shown.numbers[index])].params
        look = oracle.look(params)
        if look is not None:
            score, extra = float(shown.scores[index]), float(shown.extra[index])
            found.append(Observation(params, look, score, extra))
    return found


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:
    """Make the sampler."""
    return NasSampler(seed, oracle=oracle)
