"""A sampler made for architectures: a Gaussian process over choices, expected improvement.

After White et al., BANANAS (AAAI 2021, arXiv:1910.11858), who look at mutations of the best, and
Jones et al. (1998), whose improvement it is. The metric is modelled; what is known of a score
beforehand (its cost's part) is applied exactly; what breaks a limit or was tried before is no
candidate. A proposal depends on the seed and on the study's trials alone, so that a resumed study
goes on as it would have.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.samplers._acquisition import CAPS, Acquisition, Encoder, Observation, chosen
from nas.samplers._history import draw
from nas.samplers._oracle import Assignment, Look, Oracle, StudyOracle, TableOracle
from nas.samplers._surrogate import Points

STARTUP = 10  # proposals before there is a model
BEST = 5  # trials whose mutations are candidates
DRAWS, CHANGES, AGAIN = 40, 120, 60  # candidates: drawn; mutations of the best; of the likeliest
LIKELIEST = 6
SEVERAL = (1, 1, 1, 2, 2, 3)  # how many choices a mutation changes
ROWS = 5_000  # of a pool that are looked at
PENDING = 64  # trials being evaluated that are believed
TRIES = 2_000  # draws until a space is taken for exhausted
GAINS = 3  # complete trials it takes to know what the epochs that a pruned trial missed bring


class Prediction(NamedTuple):
    """What was expected of a proposal: its score's mean and spread, as the study counts scores."""

    mean: float
    spread: float


class Candidates(NamedTuple):
    """Assignments that may be proposed, what is known of them, and their rows for the model."""

    values: list[Assignment]
    looks: list[Look]
    points: Points


class NasSampler(BaseSampler):
    """Propose the candidate that is expected to improve most on the best so far.

    Alone it works on whatever parameters a study has. With an `oracle` it knows costs, limits and
    which assignments are one network; with a `pool` it proposes nothing but these assignments,
    each once. With `described` the model sees the oracle's numbers (log macs, say), which helps
    where accuracy follows them and misleads where it does not. `last_prediction` is None where a
    proposal was drawn at random.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        oracle: Oracle | None = None,
        pool: Sequence[Assignment] | None = None,
        startup: int = STARTUP,
        described: bool = False,
    ) -> None:
        if pool is not None and oracle is not None:
            raise ValueError("A pool or an oracle, not both: a TableOracle is a pool that knows.")
        self.oracle: Oracle | None = TableOracle(pool) if pool is not None else oracle
        self.startup, self.described = startup, described
        self.last_prediction: Prediction | None = None
        self.seed = random.SystemRandom().randrange(2**31) if seed is None else seed
        self._keys: dict[int, Any] = {}
        self._keys_of: object = None
        self._rows: Points | None = None

    def reseed_rng(self) -> None:
        """Take another seed: Optuna asks for it where threads share a sampler."""
        self.seed = random.SystemRandom().randrange(2**31)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return every parameter that is known; see Optuna's BaseSampler."""
        if self.oracle is not None:
            return dict(self.oracle.distributions)
        return dict(StudyOracle(_others(study, trial)).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for all parameters together; see Optuna's BaseSampler."""
        _check(study)
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
        _check(study)
        rng = random.Random(f"{self.seed}:{len(_others(study, trial))}:{param_name}")
        return draw(param_distribution, rng)

    def _propose(self, study: Study, trials: list[FrozenTrial], oracle: Oracle) -> Assignment:
        rng = random.Random(f"{self.seed}:{len(trials)}")
        known = self._known(study, trials, oracle)
        observed = _observe(study, trials, oracle, rng)
        if len(trials) < self.startup or len(observed) < 2:
            return _unseen(oracle, known, rng, opening=True)
        encoder = Encoder(oracle.distributions, described=self.described)
        if not encoder.starts:
            return oracle.draw(rng)
        model = Acquisition(observed, _pending(trials, oracle), encoder, rng)
        if oracle.pool is not None:
            candidates = self._remaining(oracle, oracle.pool, encoder, known, rng)
        else:
            candidates = _searched(model, oracle, observed, known, rng)
        if not candidates.values:
            return _unseen(oracle, known, rng)
        worth, mean, spread = model.improvement(candidates.points, candidates.looks)
        best = int(np.argmax(worth))
        sign = _sign(study)
        self.last_prediction = Prediction(sign * float(mean[best]), float(spread[best]))
        return candidates.values[best]

    def _known(self, study: Study, trials: list[FrozenTrial], oracle: Oracle) -> set[Any]:
        """Return the keys of all trials; those of finished ones are remembered."""
        of = (study.study_name, tuple(oracle.distributions))
        if of != self._keys_of:
            self._keys, self._keys_of = {}, of
        running = set()
        for trial in trials:
            if not trial.state.is_finished():
                running.add(oracle.identify(trial))
            elif trial.number not in self._keys:
                self._keys[trial.number] = oracle.identify(trial)
        return running.union(self._keys.values())

    def _remaining(
        self,
        oracle: Oracle,
        pool: Sequence[Assignment],
        encoder: Encoder,
        known: set[Any],
        rng: random.Random,
    ) -> Candidates:
        """Return the rows of a pool that have no trial, or some of them where there are many."""
        looks = [oracle.look(values) for values in pool]
        if self._rows is None:
            self._rows = encoder.encode(pool, [look for look in looks if look])
        left = [i for i, look in enumerate(looks) if look and look.key not in known]
        if len(left) > ROWS:
            left = sorted(rng.sample(left, ROWS))
        kept = [look for i in left if (look := looks[i])]
        return Candidates([pool[i] for i in left], kept, self._rows.take(left))


def _searched(
    model: Acquisition,
    oracle: Oracle,
    observed: list[Observation],
    known: set[Any],
    rng: random.Random,
) -> Candidates:
    """Look at draws and mutations of the best, then at mutations of the likeliest of these."""
    allowed = [seen for seen in observed if seen.look.allowed]
    best = sorted(allowed, key=lambda seen: -seen.score)[:BEST]
    taken = set(known)
    found: dict[Any, tuple[Assignment, Look]] = {}
    _gather(found, oracle, taken, (oracle.draw(rng) for _ in range(DRAWS)))
    _gather(found, oracle, taken, _mutations(oracle, [s.values for s in best], rng, CHANGES))
    values, looks = [v for v, _ in found.values()], [look for _, look in found.values()]
    if found:
        worth = model.improvement(model.encoder.encode(values, looks), looks)[0]
        likeliest = [values[i] for i in np.argsort(-worth, kind="stable")[:LIKELIEST]]
        more: dict[Any, tuple[Assignment, Look]] = {}
        _gather(more, oracle, taken, _mutations(oracle, likeliest, rng, AGAIN))
        values += [v for v, _ in more.values()]
        looks += [look for _, look in more.values()]
    return Candidates(values, looks, model.encoder.encode(values, looks))


def _gather(
    found: dict[Any, tuple[Assignment, Look]],
    oracle: Oracle,
    taken: set[Any],
    assignments: Iterable[Assignment],
) -> None:
    """Keep what is allowed and not taken yet, and take it."""
    for values in assignments:
        look = oracle.look(values)
        if look is not None and look.allowed and look.key not in taken:
            taken.add(look.key)
            found[look.key] = (values, look)


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
    for values in oracle.pool or ():
        look = oracle.look(values)
        if look is not None and look.key not in known:
            return values
    return fallback or oracle.draw(rng)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the study's trials but this one."""
    return [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]


def _check(study: Study) -> None:
    if len(study.directions) > 1:
        raise ValueError("NasSampler works on one objective; scalarise the others into it.")


def _sign(study: Study) -> int:
    return 1 if study.direction == StudyDirection.MAXIMIZE else -1


def _pending(trials: list[FrozenTrial], oracle: Oracle) -> list[tuple[Assignment, Look]]:
    """Return what is being evaluated, the most recent of it."""
    running = [trial for trial in trials if trial.state == TrialState.RUNNING and trial.params]
    looks = [(trial.params, oracle.look(trial.params)) for trial in running[-PENDING:]]
    return [(values, look) for values, look in looks if look is not None]


def _observe(
    study: Study, trials: list[FrozenTrial], oracle: Oracle, rng: random.Random
) -> list[Observation]:
    """Return what complete and pruned trials showed, the same once; of many trials some."""
    sign = _sign(study)
    complete = [t for t in trials if t.state == TrialState.COMPLETE and _finite(t.value)]
    shown = [(trial, sign * float(trial.value or 0.0), 0.0) for trial in complete]
    pruned = [t for t in trials if t.state == TrialState.PRUNED and t.intermediate_values]
    if pruned and complete:
        shown += _expected(pruned, complete, sign)
    seen: dict[tuple[Any, float], Observation] = {}
    shown = [each for each in shown if each[0].params]
    shown.sort(key=lambda each: each[0].number)
    for index in chosen(np.array([score for _, score, _ in shown]), CAPS, rng):
        trial, score, extra = shown[index]
        look = oracle.look(trial.params)
        if look is not None:
            seen[look.key, score] = Observation(trial.params, look, score, extra)
    return list(seen.values())


def _expected(
    pruned: list[FrozenTrial], complete: list[FrozenTrial], sign: int
) -> list[tuple[FrozenTrial, float, float]]:
    """Add to what a pruned trial reached the gain of complete ones from the same step on.

    The gains' variance is that of the sum's error. Where too few complete trials show a gain, the
    trial counts as the median at best, as uncertain as the scores are.
    """
    finals = np.array([sign * float(trial.value or 0.0) for trial in complete])
    found = []
    gains: dict[int, list[float]] = {}
    for trial in pruned:
        step = max(trial.intermediate_values)
        reached = sign * trial.intermediate_values[step]
        if not math.isfinite(reached):
            continue
        if step not in gains:
            curves = zip(finals, complete, strict=True)
            known = [
                final - sign * t.intermediate_values.get(step, math.nan) for final, t in curves
            ]
            gains[step] = [gain for gain in known if math.isfinite(gain)]
        gain = gains[step]
        if len(gain) >= GAINS:
            found.append((trial, reached + float(np.mean(gain)), float(np.var(gain)) + 1e-12))
        else:
            score = min(reached, float(np.median(finals)))
            found.append((trial, score, float(np.var(finals)) + 1e-12))
    return found


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def make(seed: int) -> BaseSampler:
    """Make the sampler."""
    return NasSampler(seed)
