"""Observers: the worker that trains a trial, wherever it runs, tells them of each event.

An observer shows events: in a log, in the dashboard, as numbers for a monitor. It decides nothing:
an observer that fails is reported in the worker's log, and the trial goes on.
"""

import logging
from collections.abc import Sequence
from typing import Any

from nas.store.records import CurvePoint, Evaluation, Lease, Metrics, Started

log = logging.getLogger("nas")


class Observer:
    """Base of all observers: its methods are called by the worker, in this order; all are optional.

    `started` when a lease is held, also on a trial that goes on after a crash; `epoch` when an
    epoch is in the store, with the study's value of it; `ending` before the trial is told, while
    notes and artifacts can still be attached; `ended` after it was told; `left` instead of these
    two when the trial was let go to be taken up later.
    """

    def started(self, lease: Lease, evaluation: Evaluation) -> None:
        """A worker begins a trial, or goes on with it."""

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:
        """An epoch was trained and stored."""

    def ending(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """The trial is about to be told as complete, pruned or failed."""

    def ended(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """The trial was told."""

    def left(self, lease: Lease, reason: str) -> None:
        """The trial was let go: the search was stopped, or another worker has it."""

    def reused(self, started: Started) -> None:
        """A proposal was trained before: a trial was made and told at once, without a lease."""


class Observers:
    """Several observers told as one; an error of theirs never reaches the trial."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def tell(self, event: str, *facts: Any) -> None:
        """Call the method named `event` of every observer."""
        for observer in self._observers:
            try:
                getattr(observer, event)(*facts)
            except Exception:
                log.exception("%s: %s", type(observer).__name__, event)
