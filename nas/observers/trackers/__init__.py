"""Trackers: other programs that show experiments, one file each. A trial is one run there.

A run has the trial's parameters and cost, its metrics epoch by epoch, its final metrics and its
state. It is the same run where a trial is let go, or its worker dies, and another goes on with it.
A tracker that fails is reported once in the worker's log, and the trial goes on without it.
"""

import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nas.credentials import hidden
from nas.errors import UserError
from nas.observers import Observer
from nas.registry import Registry
from nas.store.records import CurvePoint, Evaluation, Lease, Metrics, Started, StoredArchitecture

if TYPE_CHECKING:
    from nas.store.queries import StudyInfo

Values = Mapping[str, float]
LEFT = "left"  # the state of a run whose trial was let go, to be taken up later
log = logging.getLogger("nas")


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as its run begins: `key` is that of the run, whoever trains the trial and when.

    `parameters` are the choices that made the network; `facts` are texts such as its notation.
    """

    study: str
    number: int
    key: str
    parameters: Mapping[str, Any]
    cost: Mapping[str, int]
    facts: Mapping[str, str]

    @property
    def name(self) -> str:
        """The run's name for people."""
        return f"trial-{self.number:05d}"


class TrackedRun(Protocol):
    """A trial's run."""

    def epoch(self, epoch: int, values: Values) -> None:
        """Add the values after an epoch; an epoch that was trained again replaces its own."""

    def end(self, state: str, values: Values, reason: str | None) -> None:
        """Add the final values and the state: complete, pruned, failed, or `LEFT`."""


class Tracker(Protocol):
    """A tracker's file; its name is that of the package it needs, and of our extra."""

    def begin(self, trial: TrackedTrial, folder: Path) -> TrackedRun:
        """Begin a trial's run, or go on with it; what is kept here lies in the study's folder."""
        ...


_registry: Registry[Tracker] = Registry("tracker", __name__)
names = _registry.names


def read(value: Any, flag: str) -> tuple[str, ...]:
    """Read names with commas between them.

    Raises UserError for one that is no tracker's, or whose package is not here.
    """
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise UserError(f"{flag} are names of trackers such as tensorboard,mlflow, not {value!r}.")
    trackers = tuple(dict.fromkeys(name.strip() for name in given))
    for name in trackers:
        _registry.check(name)
        if find_spec(name) is None:
            raise UserError(f"{flag} {name} needs a package: pip install 'nas[{name}]'.")
    return trackers


class Tracking(Observer):
    """Tells one tracker of the trials of a worker.

    `parameters` returns those of a trial by its number; `score` is the study's.
    """

    def __init__(
        self,
        tracker: str,
        folder: str | Path,
        study: "StudyInfo",
        parameters: Callable[[int], Mapping[str, Any]],
        score: Callable[[Metrics, StoredArchitecture], float],
    ) -> None:
        self.tracker, self.folder, self.study = tracker, Path(folder), study
        self._parameters, self._score = parameters, score
        self._run: TrackedRun | None = None
        self._has_failed = False

    def started(self, lease: Lease, evaluation: Evaluation) -> None:
        """Begin the trial's run, or go on with it."""
        self._try(partial(self._begin, lease.number, evaluation))

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:  # noqa: ARG002
        """Add the metrics of an epoch."""
        others = {"score": value, "train_loss": point.train_loss, "seconds": point.seconds}
        values = _finite({**point.metrics, **others})
        if self._run is not None:
            self._try(partial(self._run.epoch, point.epoch, values))

    def ended(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """End the run with the final metrics."""
        self._end(state, metrics, lease, reason)

    def left(self, lease: Lease, reason: str) -> None:
        """Leave the run to the worker that goes on with the trial."""
        self._end(LEFT, {}, lease, reason)

    def reused(self, started: Started) -> None:
        """Give a trial that was told at once a run with the stored metrics."""
        evaluation = started.evaluation
        if evaluation is not None and started.number is not None:
            self._try(partial(self._begin, started.number, evaluation))
            self._end(evaluation.state, evaluation.metrics, evaluation, evaluation.reason)

    def _begin(self, number: int, evaluation: Evaluation) -> None:
        parts = self.study.name, self.study.created.isoformat(), number
        trial = TrackedTrial(
            study=self.study.name,
            number=number,
            key=hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16],
            parameters=self._parameters(number),
            cost=evaluation.cost._asdict(),
            facts={
                "architecture": evaluation.architecture_id,
                "notation": evaluation.notation,
                "recipe": evaluation.recipe_hash,
                "epochs": str(evaluation.fidelity),
            },
        )
        self._run = _registry.get(self.tracker).begin(trial, self.folder)

    def _end(
        self, state: str, metrics: Metrics, of: StoredArchitecture, reason: str | None
    ) -> None:
        values = _finite({**metrics, "score": self._score(metrics, of) if metrics else None})
        reason = reason and hidden(reason)
        if self._run is not None:
            self._try(partial(self._run.end, state, values, reason))
        self._run = None

    def _try(self, tell: Callable[[], object]) -> None:
        """Tell the tracker, unless it has failed before: one that is away would cost each epoch."""
        if self._has_failed:
            return
        try:
            tell()
        except Exception as error:
            self._has_failed = True
            kind = type(error).__name__
            log.warning(
                "%s fails, its runs end here: %s: %s", self.tracker, kind, hidden(str(error))
            )


def _finite(values: Metrics) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}
