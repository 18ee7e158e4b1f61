"""The ask - evaluate - tell loop: one function that every worker runs, wherever it runs.

A worker asks for its own trial, holds a lease on it, trains, reports and tells; all that matters
is in the store and in the checkpoints, so it may be killed at any instant.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import optuna

from nas import pruners, samplers
from nas.architecture import Architecture
from nas.config import Config, cache_dir
from nas.credentials import log_to_stderr
from nas.data import DataSet, load
from nas.errors import (
    DiskFull,
    Interrupted,
    LostLease,
    NasError,
    OutOfMemory,
    StoreError,
    TrialError,
    UserError,
)
from nas.observers import Observer, Observers
from nas.observers.journal import Journal
from nas.observers.showcase import Showcase
from nas.pruners.ladder import Seen
from nas.store import queries
from nas.store.climb import Climb
from nas.store.records import CurvePoint, Lease, Metrics, Proposal, Started
from nas.store.retry import patiently
from nas.store.store import Store
from nas.store.trials import Final, Trials
from nas.study.proposer import PATIENCE, NothingNew, Proposer

if TYPE_CHECKING:
    from nas.training.checkpoint import Checkpoints
    from nas.training.trainer import Control, EpochResult, TrainResult

T = TypeVar("T")
MAX_DEATHS = 5  # workers that died in a row without finishing an epoch: machines vanish too
WAIT = 0.5  # seconds between two looks at what others do
KEPT_WEIGHTS = 10  # of the best trials; others' weights can be trained again
LEASE_SECONDS = 30.0
SPACE_WAIT = 5.0  # seconds between two looks at a full disk
PARTS = 2  # of a batch that did not fit into memory
SMALLER = "ran out of memory; trained with batches in {} parts, their gradients added up"
LATE = 1.5  # trainings that fit into the time left: nothing new is begun, the best go to the top
MISTAKE = "nas: "  # begins the last words of a worker whose user has to change something
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
log = logging.getLogger("nas")


@dataclass(frozen=True)
class Job:
    """What a worker is started with, as plain data; the rest is in the store.

    `trials` is the study's budget (None: no limit), `deadline` a Unix time in seconds, `driver`
    the process that started the worker: without it the worker stops. `lease` is for how many
    seconds a trial is held without a sign of life.
    """

    store: str = field(repr=False)  # it may have a password
    study: str
    worker: str
    trials: int | None = None
    deadline: float | None = None
    threads: int = 1
    driver: int = 0
    lease: float = LEASE_SECONDS

    def to_json(self) -> str:
        """Return the job as JSON text."""
        return json.dumps(asdict(self))


class Stopped(Exception):
    """The pruner gave the trial up, or its rung is reached; carries the last epoch's metrics."""

    def __init__(self, state: Final, metrics: dict[str, float]) -> None:
        super().__init__()
        self.state, self.metrics = state, metrics


class Worker:
    """One worker of one study."""

    def __init__(self, job: Job, store: Store, should_stop: Callable[[], bool]) -> None:
        self.job, self.store, self.should_stop = job, store, should_stop
        with store.read() as connection:
            self.config = Config.from_json(queries.study(connection, job.study).config)
        self.trials = Trials(
            store,
            job.study,
            score=self.config.score,
            worker=job.worker,
            lease_seconds=job.lease,
            full=self.config.recipe.epochs,
        )
        self.schedule = self.config.schedule
        self.climb = Climb(self.trials.info.id)
        self.study = self.trials.optuna_study(
            pruner=pruners.get(self.config.pruner, self.config.recipe.epochs)
        )
        self.data: DataSet | None = None
        self.observers = Observers(_observers(self.config, store, job.study))
        self.proposer = Proposer(
            self.config,
            self.study,
            images=self._images,
            elsewhere=self._elsewhere,
            tried=self._networks,
            fidelity=self._fidelity,
        )

    def get_ready(self) -> None:
        """Load what every training needs: a worker that dies while it starts holds no trial yet."""
        from nas.training import trainer  # noqa: F401  (takes seconds the first time)

        self._images()

    def run(self) -> None:
        """Work until the budget is spent, time is up, nothing is left, or somebody asks to stop."""
        patiently(lambda _: self.trials.repair())
        while not self.should_stop():
            started = patiently(lambda _: self._next())
            if started is not None:
                self._evaluate(started)
            elif self._others_run():
                time.sleep(WAIT)  # one of them may die and leave its trial to us
            else:
                return

    def _next(self) -> Started | None:
        late = self._is_late()
        return (
            self.trials.adopt()
            or self._promote(closing=late)
            or (None if late else self._begin())
            or self._promote(closing=True)
        )

    def _others_run(self) -> bool:
        """Tell whether trials are still running, once those are told that others have finished."""
        if self._read(queries.untold, self.trials.info.id):
            patiently(lambda _: self.trials.repair())
        return bool(self._read(queries.running, self.trials.info.id))

    def _read(self, query: Callable[..., T], *what: Any) -> T:
        """Ask the database, patiently."""

        def ask(_: bool) -> T:
            with self.store.read() as connection:
                return query(connection, *what)

        return patiently(ask)

    def _promote(self, *, closing: bool) -> Started | None:
        """Go on with the best network of a rung; None where none may go on (for now)."""
        busy: set[str] = set()  # another study trains them
        while len(self.schedule.rungs) > 1 and not self.should_stop():
            seen = [one for one in self._seen() if one.architecture_id not in busy]
            chosen = self.schedule.promotion(seen, closing=closing)
            if chosen is None:
                return None
            started = self.trials.start(self._promotion(*chosen))
            self._tell_reused(started)
            if started.outcome == "run":
                return started
            if started.outcome == "elsewhere":
                busy.add(chosen[0].architecture_id)
        return None

    def _seen(self) -> list[Seen]:
        return self._read(self.climb.read)

    def _is_late(self) -> bool:
        """Tell whether the time left is only enough for a training or so."""
        if self.job.deadline is None or len(self.schedule.rungs) == 1:
            return False
        epoch = self._read(queries.epoch_seconds, self.trials.info.id)
        return self.job.deadline - time.time() < LATE * epoch * self.config.recipe.epochs

    def _begin(self) -> Started | None:
        """Propose until there is something to train; None when there is nothing (for now)."""
        repeats = 0  # proposals in a row that this study has seen, or that others train now
        while not self.should_stop():
            number = self._next_number()
            if number is None:
                return None
            propose = partial(self.proposer.propose, repeats=repeats)
            try:
                started = self.trials.start(
                    propose(number),
                    budget=self.job.trials,
                    by_number=None if samplers.learns(self.config.sampler) else propose,
                )
            except NothingNew:
                return None
            self._tell_reused(started)
            if started.outcome == "run":
                return started
            if started.outcome == "budget":
                return None
            if started.outcome == "elsewhere" and repeats >= PATIENCE:
                time.sleep(WAIT)
            repeats = 0 if self._is_new(started) else repeats + 1
        return None

    def _is_new(self, started: Started) -> bool:
        """Tell whether a trial that trains nothing brought a network that this study had not."""
        found = started.evaluation
        if found is None or started.outcome == "elsewhere":
            return False
        return self.proposer.known()[found.architecture_id] == 1

    def _tell_reused(self, started: Started) -> None:
        if started.outcome in ("complete", "pruned", "failed"):
            self.observers.tell("reused", started)

    def _next_number(self) -> int | None:
        """Return the number that the next trial gets; None where the budget is spent."""
        return self._read(queries.number_within, self.trials.info.id, self.job.trials)

    def _images(self) -> DataSet:
        self.data = self.data or load(self.config.data, cache_dir=cache_dir(self.config.folder))
        return self.data

    def _elsewhere(self) -> list[queries.Known]:
        recipe = self.config.recipe
        return self._read(queries.known, recipe.hash, recipe.epochs, self.trials.info.id)

    def _networks(self, first: int) -> list[queries.Tried]:
        return self._read(queries.tried, self.trials.info.id, first)

    def _fidelity(self, architecture_id: str) -> int:
        """Return the epochs of a network at first: its bracket's, or what the store has already.

        What this study has of it decides alone: it goes on by a promotion only.
        """
        rungs = self.schedule.rungs
        if len(rungs) == 1:
            return rungs[0]
        seen = self._seen()
        ours = [one for one in seen if one.architecture_id == architecture_id]
        if ours:
            return max((one.fidelity for one in ours if one.ended), default=ours[0].fidelity)
        known = self._read(queries.trained, architecture_id, self.config.recipe.hash)
        reached = [epochs for epochs, _ in known if epochs in rungs]
        return max([self.schedule.base(seen), *reached])

    def _promotion(self, one: Seen, epochs: int) -> Proposal:
        found = self._read(queries.evaluation, one.evaluation_id)
        trial = self.trials.shown(one.number)
        expected = {k: v for k, v in trial.user_attrs.items() if k.startswith("predicted_")}
        table, architecture = self.config.latency, Architecture.from_json(found.architecture)
        return Proposal(
            architecture_id=found.architecture_id,
            architecture=found.architecture,
            notation=found.notation,
            cost=found.cost,
            recipe_hash=found.recipe_hash,
            fidelity=epochs,
            params=trial.params,
            distributions=trial.distributions,
            prediction=expected,
            latency_ms=None if table is None else table.milliseconds(architecture),
            promoted_from=one.number,
        )

    def _evaluate(self, started: Started) -> None:
        """Train one trial to whatever end it comes to, and tell the store."""
        lease, evaluation = started.lease, started.evaluation
        if lease is None or evaluation is None:
            return
        if evaluation.deaths >= MAX_DEATHS:
            reason = f"given up: {evaluation.deaths} workers died without finishing an epoch"
            self._finish(lease, "failed", reason=reason)
            return
        self.observers.tell("started", lease, evaluation)
        try:
            with _heartbeat(self.trials, lease) as lost:
                self._train(lease, evaluation.architecture, lost)
        except LostLease as error:
            log.warning("%s", error)
            self.observers.tell("left", lease, str(error))

    def _train(self, lease: Lease, architecture: Mapping[str, Any], lost: threading.Event) -> None:
        from nas.training.checkpoint import Checkpoints
        from nas.training.trainer import Control

        network_of = Architecture.from_json(architecture)
        checkpoints = Checkpoints(self.config.checkpoint_url(network_of.id), lease.attempt)
        control = Control(
            checkpoints,
            on_epoch=lambda result: self._report(lease, result),
            should_stop=lambda: lost.is_set() or self.should_stop(),
            on_full=self._wait_for_space,
        )
        try:
            self._fetch_checkpoint(network_of.id, checkpoints)
            result = self._result(network_of, control)
            self._keep(checkpoints, result)
        except Stopped as stop:
            self._finish(lease, stop.state, metrics=stop.metrics, seconds=self._seconds(lease))
        except Interrupted as error:
            self.trials.release(lease)
            self.observers.tell("left", lease, str(error))
        except TrialError as error:
            self._finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        except LostLease:
            raise
        except (NasError, OSError):  # the database, the disk, the data: no fault of the network
            with suppress(NasError):
                self.trials.release(lease)
            raise
        except Exception as error:  # whatever a network does, it ends its trial, not the search
            log.exception("trial %d", lease.number)
            self._finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        else:
            reason = SMALLER.format(result.parts) if result.parts > 1 else None
            metrics, seconds = result.metrics, result.seconds
            self._finish(lease, "complete", metrics=metrics, reason=reason, seconds=seconds)
            checkpoints.drop()
            self._drop_weights()

    def _result(self, architecture: Architecture, control: "Control") -> "TrainResult":
        """Train; once more in smaller batches where memory does not suffice."""
        from nas.training.trainer import train

        try:
            return train(architecture, self._images(), self.config.recipe, control=control)
        except OutOfMemory as error:
            log.warning("once more with batches in %d parts: %s", PARTS, error)
        _free_memory()  # outside of the handler, whose traceback holds the tensors
        return train(architecture, self._images(), self.config.recipe, control=control, parts=PARTS)

    def _keep(self, checkpoints: "Checkpoints", result: "TrainResult") -> None:
        while True:
            try:
                return checkpoints.save_weights(result.state)
            except DiskFull as error:
                self._wait_for_space(error)

    def _wait_for_space(self, error: DiskFull) -> None:
        """Hold the trial while the disk is full; raise Interrupted when somebody asks to stop."""
        log.warning("paused: %s", error)
        ends = time.monotonic() + SPACE_WAIT
        while time.monotonic() < ends:
            if self.should_stop():
                raise Interrupted(str(error))
            time.sleep(WAIT)

    def _finish(
        self,
        lease: Lease,
        state: Final,
        *,
        metrics: Metrics | None = None,
        reason: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Tell a trial, to the observers first: a told trial is frozen."""
        end = (lease, state, metrics or {}, reason)
        self.observers.tell("ending", *end)
        url = self.config.checkpoint_url(Architecture.from_json(lease.architecture).id)
        self.trials.finish(
            lease,
            state,
            metrics=metrics,
            reason=reason,
            seconds=seconds,
            checkpoint=None if state == "failed" else url,
        )
        self.observers.tell("ended", *end)

    def _report(self, lease: Lease, result: "EpochResult") -> None:
        """Store an epoch; raise Stopped at the trial's rung and where the pruner gives it up."""
        point = CurvePoint(
            epoch=result.epoch,
            metrics=result.metrics,
            train_loss=result.train_loss,
            seconds=result.seconds,
            learning_rate=result.learning_rate,
        )
        value = self.trials.report(lease, point)
        if not result.restored:
            self.observers.tell("epoch", lease, point, value)
        if result.epoch == lease.fidelity < result.epochs:
            raise Stopped("complete", result.metrics)
        last = result.restored or result.epoch == result.epochs
        if not last and self.trials.should_prune(lease, self.study):
            raise Stopped("pruned", result.metrics)

    def _seconds(self, lease: Lease) -> float:
        return sum(point.seconds for point in self._read(queries.curve, lease.evaluation_id))

    def _fetch_checkpoint(self, architecture_id: str, checkpoints: "Checkpoints") -> None:
        """Take over the checkpoint that another study has of the same training, if we have none."""
        from nas.training.checkpoint import Checkpoints

        known = self._read(queries.trained, architecture_id, self.config.recipe.hash)
        for _, elsewhere in known:
            if elsewhere is not None and checkpoints.take_over(Checkpoints(elsewhere)):
                return

    def _drop_weights(self) -> None:
        """Delete the weights of trials that are not among the best any more."""
        from nas.training.checkpoint import with_weights

        best = self._read(queries.best, self.trials.info.id, KEPT_WEIGHTS)
        if len(best) < KEPT_WEIGHTS:
            return
        running = self._read(queries.running, self.trials.info.id)  # they may be finishing
        kept = {self.config.checkpoint_url(trial.architecture_id) for trial in best + running}
        for training in with_weights(self.config.checkpoint_root):
            if training.url not in kept:
                training.drop_weights()


def _observers(config: Config, store: Store, study: str) -> list[Observer]:
    """Return who is told what happens to this study's trials."""
    shown: list[Observer] = [Showcase(config, store, study)] if config.showcase else []
    return [Journal(config.folder), *shown]


def _free_memory() -> None:
    """Give back what a training that ran out of memory has left."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _heartbeat(trials: Trials, lease: Lease) -> Iterator[threading.Event]:
    """Renew a lease in the background; the event is set when another worker has taken it."""
    over, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(lease.seconds / 3):
            try:
                trials.renew(lease)
            except LostLease:
                lost.set()
                return
            except NasError as error:  # a busy database: the next beat may get through
                log.warning("%s", error)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()


def work(job: Job, should_stop: Callable[[], bool]) -> None:
    """Run one worker to its end: the same function in this process, in another, on a cluster."""
    import torch

    torch.set_num_threads(job.threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    deadline = float("inf") if job.deadline is None else job.deadline
    store = Store.open(job.store)
    try:
        worker = Worker(job, store, lambda: should_stop() or time.time() > deadline)
        worker.get_ready()
        worker.run()
    finally:
        store.close()


def run(text: str, should_stop: Callable[[], bool]) -> str | None:
    """Run the worker of a job given as JSON; return what a person has to hear of its end."""
    try:
        work(Job(**json.loads(text)), should_stop)
    except StoreError as error:  # the database may come back: the driver tries again
        return str(error)
    except UserError as error:
        return f"{MISTAKE}{error}"
    return None


def main() -> None:
    """Be a worker process: the job comes as JSON on standard input."""
    log_to_stderr(LOG_FORMAT)
    sys.excepthook = lambda *error: log.critical("the worker died", exc_info=error)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    text = sys.stdin.read()
    driver = json.loads(text)["driver"]
    sys.exit(run(text, lambda: asked.is_set() or os.getppid() != driver))


if __name__ == "__main__":
    main()
