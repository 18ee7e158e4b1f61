"""What mattered in a search: how much of the scores' spread each choice explains, and how.

These are associations among the networks that the sampler chose to train, not experiments: choices
that came together can't be told apart.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from nas.architecture import Value
from nas.report.facts import Scored

FEWEST = 20  # trials: among fewer, chance explains as much as a choice


class Level(NamedTuple):
    """The trials with one value of a parameter: their number, and their mean score over all's."""

    value: Value
    trials: int
    effect: float


class Effect(NamedTuple):
    """A parameter's values, and the share of the scores' variance that they explain (0..1)."""

    parameter: str
    share: float
    levels: Sequence[Level]

    @property
    def stage(self) -> str:
        """The part of the network that the parameter is about."""
        return self.parameter.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """The option that the parameter chooses."""
        return self.parameter.rpartition(".")[2]


def effects(trials: Sequence[Scored]) -> list[Effect]:
    """Return the effect of each parameter that had several values, the largest first.

    The share is the adjusted R-squared of the scores by the parameter's values alone (Ezekiel,
    "Methods of Correlation Analysis", 1930): a parameter of many values that explains nothing has
    about 0. A parameter that did not exist in a trial is not counted there.
    """
    if len(trials) < FEWEST:
        return []
    by_parameter: dict[str, dict[Value, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        for name, value in trial.choices.items():
            by_parameter[name][value].append(trial.score)
    mean = statistics.fmean(trial.score for trial in trials)
    found = [
        Effect(name, share, [_level(value, groups[value], mean) for value in ordered(groups)])
        for name, groups in by_parameter.items()
        if len(groups) > 1 and (share := _share(list(groups.values()))) is not None
    ]
    return sorted(found, key=lambda effect: -effect.share)


def _level(value: Value, scores: Sequence[float], mean: float) -> Level:
    return Level(value, len(scores), statistics.fmean(scores) - mean)


def _share(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the adjusted R-squared of groups, at least 0; None where it can't be told."""
    scores = [score for group in groups for score in group]
    count, degrees = len(scores), len(scores) - len(groups)
    whole = _squares(scores)
    if count < FEWEST or degrees < 1 or whole <= 0:
        return None
    within = sum(_squares(group) for group in groups)
    return max(0.0, 1 - (within / degrees) / (whole / (count - 1)))


def _squares(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return math.fsum((value - mean) ** 2 for value in values)


def ordered(values: "Sequence[Value] | dict[Value, list[float]]") -> list[Value]:
    """Sort values of a parameter: numbers by size, texts such as kernel groups by length first."""
    return sorted(
        values, key=lambda v: (isinstance(v, str), v if not isinstance(v, str) else len(v), str(v))
    )
