"""A log per trial as JSON lines: each event with its machine and its attempt.

Each event is one line and one write at the file's end, so workers on several machines that share a
folder add to the same file, and a kill tears the last line at worst. Nothing in it is a secret: a
password in a URL, in an error's text say, is left out.
"""

import json
import math
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas.credentials import hidden
from nas.observers import Observer
from nas.store.records import CurvePoint, Evaluation, Lease, Metrics

FOLDER = "logs"  # in the study's


def path_of(folder: str | Path, number: int) -> Path:
    """Return the file of a trial's log in a study's folder."""
    return Path(folder, FOLDER, f"trial-{number:05d}.jsonl")


class Journal(Observer):
    """Writes the events of each trial into its log in the study's folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.host = Path(folder), socket.gethostname()

    def started(self, lease: Lease, evaluation: Evaluation) -> None:
        """Log that an attempt began."""
        self._write(
            lease,
            "started",
            architecture_id=evaluation.architecture_id,
            notation=evaluation.notation,
            macs=lease.cost.macs,
            params=lease.cost.params,
            epochs=lease.fidelity,
            deaths=evaluation.deaths,
        )

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:
        """Log an epoch."""
        self._write(
            lease,
            "epoch",
            epoch=point.epoch,
            score=_finite(value),
            metrics=_plain(point.metrics),
            train_loss=_finite(point.train_loss),
            seconds=point.seconds,
            learning_rate=_finite(point.learning_rate),
        )

    def ended(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """Log that the trial is told."""
        self._write(lease, state, metrics=_plain(metrics), reason=reason and hidden(reason))

    def left(self, lease: Lease, reason: str) -> None:
        """Log that the trial was let go."""
        self._write(lease, "left", reason=hidden(reason))

    def _write(self, lease: Lease, event: str, **facts: Any) -> None:
        head = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "trial": lease.number,
            "attempt": lease.attempt,
            "worker": lease.worker,
            "host": self.host,
        }
        line = json.dumps({**head, **facts}, allow_nan=False)
        path = path_of(self.folder, lease.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, line.encode())


def _append(path: Path, line: bytes) -> None:
    """Add a line with one write, on a line of its own even after one that a kill has torn."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        data = b"\n" * torn + line + b"\n"
        if os.write(file, data) != len(data):
            raise OSError(f"{path} was not written whole: the disk is full.")
    finally:
        os.close(file)


def _plain(metrics: Metrics) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in metrics.items()}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class Reader:
    """Reads the logs of a study's folder, or of one trial; a torn line is left out.

    Each `read` returns what was added since the one before.
    """

    def __init__(self, folder: str | Path, number: int | None = None) -> None:
        self.folder, self.number = Path(folder), number
        self._read: dict[Path, int] = {}  # bytes of each file that were returned

    def files(self) -> list[Path]:
        """Return the logs there are, by the trials' numbers."""
        if self.number is not None:
            path = path_of(self.folder, self.number)
            return [path] if path.is_file() else []
        paths = (self.folder / FOLDER).glob("trial-*.jsonl")
        numbers = {path: path.stem.removeprefix("trial-") for path in paths}
        return sorted((p for p in numbers if numbers[p].isdecimal()), key=lambda p: int(numbers[p]))

    def read(self) -> list[dict[str, Any]]:
        """Return the new events of all files, in the order of their times."""
        events = [event for path in self.files() for event in self._new(path)]
        return sorted(events, key=lambda event: str(event["time"]))

    def _new(self, path: Path) -> Iterator[dict[str, Any]]:
        begun = self._read.get(path, 0)
        if path.stat().st_size <= begun:
            return
        with path.open("rb") as file:
            file.seek(begun)
            whole, newline, _ = file.read().rpartition(b"\n")  # what follows is being written
        self._read[path] = begun + len(whole) + len(newline)
        for line in whole.splitlines():
            event = _event(line)
            if event is not None:
                yield event


def _event(line: bytes) -> dict[str, Any] | None:
    """Return a line's event; None for one that was torn by a kill."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"time", "event", "trial"} <= set(event) else None
