"""The facts of a study for its figures and its page: plain data, read from the store elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nas.architecture import Architecture, Value
from nas.report.tradeoff import TradeOff


class Statement(NamedTuple):
    """A line of the page: what it is about, the value, a remark."""

    about: str
    value: str
    remark: str = ""


class ShownTrial(NamedTuple):
    """A trial as it is shown where a reader asks for it: words on its numbers, then its blocks."""

    trial: int
    architecture_id: str
    numbers: str
    notation: str


class TrialEnd(NamedTuple):
    """A trial's end: its score if it is complete, and what the study had spent by then.

    An evaluation is a network that was trained. `seconds` are those of training, all workers'.
    """

    trial: int
    evaluations: int
    seconds: float
    score: float | None


class LearningCurve(NamedTuple):
    """The metric after each epoch of a training; `is_best` tells the winner's."""

    name: str
    points: Sequence[tuple[int, float]]
    is_best: bool = False


class Finalist(NamedTuple):
    """A finalist: the metric of each of its trainings, their mean and its 95 % interval.

    `interval` is None for a single training. `standing` says what the network is best at.
    """

    trial: int
    macs: int
    params: int
    values: Sequence[float]
    mean: float
    interval: tuple[float, float] | None
    score: float
    standing: str


class Scored(NamedTuple):
    """A complete trial's choices, by the parameters' names, and its score."""

    choices: Mapping[str, Value]
    score: float


class Mistake(NamedTuple):
    """An image that was answered wrongly, as a PNG file in base64, and how sure the answer was."""

    label: str
    answer: str
    probability: float
    image: str


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The winner's predictions on the test split: a report as JSON, and its worst mistakes.

    The report is that of `nas.training.reports`; long lists of classes lack matrix and curves.
    """

    report: Mapping[str, Any]
    mistakes: Sequence[Mistake] = ()


class RandomControl(NamedTuple):
    """A random search of the same store that asked the same question."""

    study: str
    steps: Sequence[TrialEnd]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A study as its page explains it; what is empty or None is left out there.

    `networks` are the trials of `trade_off`. `architectures` are those of the best trials, by their
    ids, whose diagrams can be opened. `choices` are of the complete trials.
    """

    study: str
    metric: str
    question: Sequence[Statement]
    answer: Sequence[Statement]
    warnings: Sequence[tuple[str, str]]  # the level and the text
    trade_off: TradeOff
    networks: Sequence[ShownTrial]
    architectures: Mapping[str, Architecture]
    winner: Architecture
    steps: Sequence[TrialEnd]
    choices: Sequence[Scored]
    curves: Sequence[LearningCurve]
    finalists: Sequence[Finalist]
    provenance: Sequence[Statement]
    commands: Sequence[str]
    best: Finalist  # the winner, a finalist or not
    fingerprint: str  # of the data
    control: RandomControl | None = None
    tested: Tested | None = None
