"""One view of a study: how far it is, how fast it goes, how long it still takes.

The page of a running search, `nas status`, its `--watch` and the numbers for Prometheus show it.
It is told from the store's rows, so on any machine; a driver adds the limits of its own run.
Importing this module imports no torch.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.quantities import from_here, number, short
from nas.store import queries
from nas.store.activity import Activity, activity, between
from nas.store.engine import WAITING
from nas.store.records import GuardWarning

ENOUGH_RECENT = 3  # ended trials, from which on the last quarter of an hour tells the pace
ENOUGH = 0.5  # trained trials, from which on the whole search tells the pace
LITTLE = 2**23  # bytes: the next checkpoint may find no space
RECENT = 75.0  # seconds: a worker that waits says so more often; SQLite takes a minute for a lock
LONGEST_LINE = 2**13  # bytes of a log


@dataclass(frozen=True, kw_only=True)
class Run:
    """The limits of a search that this process drives.

    `began` and `deadline` are by the monotonic clock; `trials` is the budget, `estimate` the
    pre-flight's seconds from one trial's end to the next, for as long as no trial tells the pace.
    """

    began: float
    trials: int | None
    deadline: float | None
    estimate: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is, how fast it goes, how long it takes.

    `spent` of the `budget` of trials are begun. `elapsed` are the seconds of the run that goes on
    now, `remaining` an estimate, None where nobody is at work or no limit is known. `idle` are the
    seconds without progress where nobody is at work, else None. `fidelities` counts the complete
    evaluations by their epochs. `curves` has the metric after each epoch of the trials of a study
    that trains a given network. `waiting` says why a worker waits, where this machine has its log.
    `warnings` are those of the study's guards.
    """

    study: str
    metric: str
    counts: queries.Counts
    best: queries.TrialInfo | None
    failures: Mapping[str, int]
    fidelities: Mapping[int, int]
    activity: Activity
    spent: int
    budget: int | None
    epoch_seconds: float
    elapsed: float
    remaining: float | None
    idle: float | None
    is_done: bool
    waiting: str | None
    warnings: Sequence[GuardWarning] = ()
    curves: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def done(self) -> float:
        """Count the trials that ended, and of the others the share that is trained."""
        ended = self.counts.complete + self.counts.pruned + self.counts.failed
        return ended + sum(holder.trained for holder in self.activity.holders)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; times are UTC, all else is in seconds or per hour."""
        now, last = self.activity, self.activity.last_progress
        return {
            "study": self.study,
            "metric": self.metric,
            "trials": vars(self.counts),
            "fidelities": {str(epochs): count for epochs, count in self.fidelities.items()},
            "running": [
                {"trial": each.trial, "epoch": each.epoch}
                for each in now.holders
                if each.trial is not None
            ],
            "best": self.best.to_json() if self.best else None,
            "failures": self.failures,
            "warnings": [warning.to_json() for warning in self.warnings],
            "waiting": self.waiting,
            "workers": [
                dataclasses.asdict(each) | {"host": each.host, "lives": each.lives}
                for each in now.holders
            ],
            **{
                name: dataclasses.asdict(pace)
                | {"trials_per_hour": pace.trials_per_hour, "epochs_per_hour": pace.epochs_per_hour}
                for name, pace in (("recent", now.recent), ("overall", now.overall))
            },
            "pauses": [
                {"since": p.since.isoformat(), "until": p.until.isoformat(), "seconds": p.seconds}
                for p in now.pauses
            ],
            "began": now.began.isoformat(),
            "now": now.now.isoformat(),
            "last_progress": None if last is None else last.isoformat(),
            "spent": self.spent,
            "budget": self.budget,
            "epoch_seconds": self.epoch_seconds,
            "elapsed": self.elapsed,
            "curves": {str(number): list(curve) for number, curve in self.curves.items()},
            "remaining": self.remaining,
            "idle": self.idle,
            "done": self.is_done,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Progress":
        """Read what `to_json` has written, on another machine say; raises LookupError, TypeError.

        Unknown keys are left out: a server may be newer.
        """
        same = ("study", "metric", "failures", "spent", "budget", "epoch_seconds", "elapsed")
        also = ("remaining", "idle", "waiting")
        return cls(
            **{name: plain[name] for name in (*same, *also)},
            counts=queries.Counts(**plain["trials"]),
            best=queries.TrialInfo.from_json(plain["best"]) if plain["best"] else None,
            fidelities={int(epochs): count for epochs, count in plain["fidelities"].items()},
            activity=Activity.from_json(plain),
            is_done=plain["done"],
            warnings=[GuardWarning(**each) for each in plain["warnings"]],
            curves={int(number): curve for number, curve in plain["curves"].items()},
        )


Watch = Callable[[Progress], None]


def progress(
    connection: sa.Connection, info: queries.StudyInfo, run: Run | None = None
) -> Progress:
    """Read how far a study is; `run` where this process drives its search."""
    now = activity(connection, info)
    spent = queries.spent(connection, info.id)
    budget = info.trials if run is None else run.trials
    unspent = None if budget is None else max(0, budget - spent)
    seconds_left = _seconds_left(info.seconds, now, run)
    works = bool(now.working)
    limits = [seconds_left, _trials_take(now, unspent, run)]
    is_done = not works and ((unspent == 0 and not now.holders) or seconds_left == 0.0)
    waits = None if is_done else waiting(info.folder, is_run=works or run is not None)
    return Progress(
        study=info.name,
        metric=info.metric,
        counts=queries.counts(connection, info.id),
        best=next(iter(queries.best(connection, info.id, 1)), None),
        failures=queries.failures(connection, info.id),
        warnings=queries.warnings(connection, info.id),
        fidelities=queries.fidelities(connection, info.id),
        activity=now,
        spent=spent,
        budget=budget,
        epoch_seconds=queries.epoch_seconds(connection, info.id),
        elapsed=between(now.began, now.now) if run is None else time.monotonic() - run.began,
        remaining=min((limit for limit in limits if limit is not None), default=None)
        if works or run is not None
        else None,
        idle=None if works or now.last_progress is None else between(now.last_progress, now.now),
        is_done=is_done,
        waiting=waits,
        curves=_curves(connection, info) if info.is_given else {},
    )


def _curves(connection: sa.Connection, info: queries.StudyInfo) -> dict[int, list[float]]:
    """Return the metric after each epoch by the trials' numbers; a study of one network has few."""
    curves: dict[int, list[float]] = {}
    for trial in queries.trials(connection, info.id):
        points = queries.curve(connection, trial.evaluation_id)
        values = [point.metrics.get(info.metric) for point in points]
        curves[trial.number] = [value for value in values if value is not None]
    return {number: values for number, values in curves.items() if values}


def _seconds_left(limit: float | None, now: Activity, run: Run | None) -> float | None:
    """Return the seconds left of a run's time limit, None without one."""
    if run is not None:
        return None if run.deadline is None else max(0.0, run.deadline - time.monotonic())
    if limit is None:
        return None
    return between(now.now, now.began + timedelta(seconds=limit))


def _trials_take(now: Activity, unspent: int | None, run: Run | None) -> float | None:
    """Return the seconds that the trials of the budget still take, by the pace so far.

    The last quarter of an hour tells the pace where enough trials ended in it, else the whole
    search; until half a trial is trained, the pre-flight's estimate holds.
    """
    if unspent is None:
        return None
    untrained = unspent + sum(1.0 - holder.trained for holder in now.holders)
    if now.recent.trials >= ENOUGH_RECENT:
        return untrained * 3600.0 / now.recent.trials_per_hour
    trained = now.overall.trials + sum(holder.trained for holder in now.holders)
    if trained <= ENOUGH and run is not None and run.estimate:
        return untrained * run.estimate
    return untrained * now.overall.seconds / trained if trained else None


def waiting(folder: str | None, *, is_run: bool) -> str | None:
    """Return why a worker waits, by the workers' logs in a study's folder; None if none does.

    A full disk can't take a line of a log either: where the study runs, one with little space for
    its folder is told. A folder of another machine tells nothing.
    """
    if not folder:
        return None
    with suppress(OSError):
        for log in sorted(Path(folder, "logs").glob("*.log")):
            if time.time() - log.stat().st_mtime < RECENT and (why := _why(log)):
                return why
        if is_run and (free := shutil.disk_usage(folder).free) < LITTLE:
            left = f"{short(free)}B are left for {from_here(folder)}"
            return f"{left}: a worker without space waits for it"
    return None


def _why(log: Path) -> str | None:
    """Return why a worker waits if its log's last line says so."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LONGEST_LINE))
        words = file.read().rstrip().rpartition(b"\n")[2].decode(errors="replace")
    return f"{WAITING}{rest}" if (rest := words.partition(f" WARNING {WAITING}")[2]) else None


def counts_line(counts: queries.Counts) -> str:
    """Return how many trials are in which state."""
    return ", ".join(f"{count} {state}" for state, count in vars(counts).items() if count) or "none"


def rungs_line(fidelities: Mapping[int, int]) -> str:
    """Return how many networks were trained up to each number of epochs."""
    counts = [f"{count} up to epoch {epochs}" for epochs, count in fidelities.items()]
    return f"rungs: {', '.join(counts)}"


def trial_line(trial: queries.TrialInfo, metric: str) -> str:
    """Return a trial's score, metric and cost, beside the majority-class rate."""
    flag = " [predicts one class]" if trial.one_class else ""
    latency = "" if trial.latency_ms is None else f"{trial.latency_ms:.3g} ms, "
    found = "".join(f", {key}={json.dumps(value)}" for key, value in trial.recipe.items())
    return (
        f"trial {trial.number}: score {number(trial.score)}, {metric} "
        f"{number(trial.metrics.get(metric))} (majority class "
        f"{number(trial.metrics.get('majority_rate'))}), {latency}"
        f"{short(trial.cost.macs)} FLOPs, {short(trial.cost.params)} parameters{found}{flag}"
    )
