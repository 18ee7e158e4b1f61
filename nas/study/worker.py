"""The ask - evaluate - tell loop of every worker, wherever it runs.

A worker asks for its own trial, holds a lease on it, evaluates, reports and tells. All lasting
state is in the store and in the checkpoints, so a worker may be killed at any instant.
"""

import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from typing import Any

import optuna

from nas import pruners
from nas.config import Config
from nas.credentials import log_to_stderr
from nas.errors import Interrupted, LostLease, NasError, StoreError, TrialError, UserError
from nas.executors import MISTAKE
from nas.observers import Observer, Observers
from nas.observers.journal import Journal
from nas.observers.showcase import Showcase
from nas.observers.trackers import Tracking
from nas.store import queries
from nas.store.engine import BACK, WAITING
from nas.store.records import CurvePoint, Lease, Metrics, Started
from nas.store.store import Store
from nas.store.trials import Final, Trials
from nas.study.asker import WAIT, Asker
from nas.study.evaluator import Evaluator, Training, TrialControl
from nas.training.recipe import Recipe

MAX_DEATHS = 5  # workers that died in a row without finishing an epoch: machines vanish too
LEASE_SECONDS = 30.0
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
log = logging.getLogger("nas")


@dataclass(frozen=True)
class WorkOrder:
    """A worker's order, as plain data; the rest is in the store.

    `trials` is the study's budget (None: no limit), `seconds` the time that is left when the worker
    starts, `driver` the process that started it: without it the worker stops. `lease` is the number
    of seconds for which a trial is held without a sign of life.
    """

    store: str = field(repr=False)  # it may have a password
    study: str
    worker: str
    trials: int | None = None
    seconds: float | None = None
    threads: int = 1
    driver: int = 0
    lease: float = LEASE_SECONDS

    def to_json(self) -> str:
        """Return the order as JSON text."""
        return json.dumps(asdict(self))


class Pruned(Exception):
    """The pruner stops the trial; carries the last epoch's metrics and the pruner's reason."""

    def __init__(self, metrics: Metrics, reason: str | None) -> None:
        super().__init__()
        self.metrics, self.reason = metrics, reason


@dataclass
class Worker:
    """One worker of one study, made of its parts: see `assemble`."""

    config: Config
    trials: Trials
    asker: Asker
    evaluator: Evaluator
    observers: Observers
    should_prune: Callable[[Lease], bool]
    pruned_for: Callable[[], str | None]  # the reason that the pruner gives
    should_stop: Callable[[], bool]

    def run(self) -> None:
        """Work until the budget is spent, time is up, nothing is left, or somebody asks to stop."""
        self.trials.repair()
        while not self.should_stop():
            started = self.asker.next()
            if started is not None:
                self.evaluate(started)
            elif self.asker.others_run():
                time.sleep(WAIT)  # one of them may die and leave its trial to us
            else:
                return

    def evaluate(self, started: Started) -> None:
        """Evaluate a started trial to its end, and tell the store."""
        lease, evaluation = started.lease, started.evaluation
        if lease is None or evaluation is None:
            return
        if evaluation.deaths >= MAX_DEATHS:
            reason = f"given up: {evaluation.deaths} workers died without finishing an epoch"
            self.finish(lease, "failed", reason=reason)
            return
        self.observers.tell("started", lease, evaluation)
        try:
            with _heartbeat(self.trials, lease) as lost:
                self._evaluate(lease, lambda: lost.is_set() or self.should_stop())
        except LostLease as error:
            log.warning("%s", error)
            self.observers.tell("left", lease, str(error))

    def _evaluate(self, lease: Lease, should_stop: Callable[[], bool]) -> None:
        control = TrialControl(
            attempt=lease.attempt,
            recipe=self._recipe(lease),
            checkpoints=self._checkpoints(lease),
            report=partial(self._report, lease),
            should_stop=should_stop,
        )
        try:
            result = self.evaluator.evaluate(lease.architecture, lease.fidelity, control)
        except Pruned as stop:
            curve = self.trials.read(queries.curve, lease.evaluation_id)
            seconds = sum(point.seconds for point in curve)
            self.finish(lease, "pruned", metrics=stop.metrics, reason=stop.reason, seconds=seconds)
        except Interrupted as error:
            self.leave(lease, str(error))
        except TrialError as error:
            self.finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        except LostLease:
            raise
        except (NasError, OSError):  # the database, the disk, the data: no fault of the network
            with suppress(NasError):
                self.trials.release(lease)
            raise
        except Exception as error:  # a network may end its trial, not the search
            log.exception("trial %d", lease.number)
            self.finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        else:
            metrics, seconds = result.metrics, result.seconds
            self.finish(lease, "complete", metrics=metrics, reason=result.note, seconds=seconds)
            result.clean_up()

    def _report(self, lease: Lease, point: CurvePoint, restored: bool) -> None:
        """Store an epoch; raise Pruned where the pruner stops the trial."""
        value = self.trials.report(lease, point)
        if restored:
            return
        self.observers.tell("epoch", lease, point, value)
        if point.epoch < lease.fidelity and self.should_prune(lease):
            raise Pruned(point.metrics, self.pruned_for())

    def _recipe(self, lease: Lease) -> Recipe:
        """Return a trial's recipe: the study's, or one with another seed or with values found."""
        if lease.recipe_hash == self.config.recipe.hash:
            return self.config.recipe
        return Recipe.from_json(self.trials.read(queries.recipe, lease.recipe_hash))

    def _checkpoints(self, lease: Lease) -> str:
        return self.config.checkpoint_url(lease.architecture.id, lease.recipe_hash)

    def leave(self, lease: Lease, reason: str) -> None:
        """Let a trial go, to be taken up later, and tell the observers."""
        self.trials.release(lease)
        self.observers.tell("left", lease, reason)

    def finish(
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
        self.trials.finish(
            lease,
            state,
            metrics=metrics,
            reason=reason,
            seconds=seconds,
            checkpoint=None if state == "failed" else self._checkpoints(lease),
        )
        self.observers.tell("ended", *end)


def assemble(
    order: WorkOrder,
    store: Store,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    evaluator: Evaluator | None = None,
    observers: Observers | None = None,
    reporters: Sequence[Observer] = (),
) -> Worker:
    """Return a study's worker, whose time counts from now; by default it trains.

    It tells the `observers`, by default the study's journal, its showcase, its trackers and the
    `reporters`.
    """
    deadline = math.inf if order.seconds is None else time.monotonic() + order.seconds

    def is_over() -> bool:
        return should_stop() or time.monotonic() > deadline

    with store.read() as connection:
        config = Config.from_json(queries.study(connection, order.study).config)
    trials = Trials(
        store,
        order.study,
        score=config.score,
        worker=order.worker,
        lease_seconds=order.lease,
        full=config.recipe.epochs,
    )
    pruner = pruners.get(config.pruner).make(
        config.recipe.epochs, lambda trial: config.objective.factor(trial.user_attrs)
    )
    study = trials.optuna_study(pruner=pruner)
    if observers is None:
        showcase = [Showcase(config, store, order.study)] if config.showcase else []
        parameters = partial(_parameters, trials)
        tracking = [
            Tracking(name, config.folder, trials.info, parameters, config.score)
            for name in config.track
        ]
        observers = Observers([Journal(config.folder), *showcase, *tracking, *reporters])
    images = cache(config.load_data)
    asker = Asker(
        config, trials, study, images, observers, is_over,
        budget=order.trials, deadline=deadline,
    )  # fmt: skip
    return Worker(
        config,
        trials,
        asker,
        evaluator or Training(config, images, trials),
        observers,
        partial(trials.should_prune, study=study),
        partial(pruners.reason, pruner),
        is_over,
    )


def _parameters(trials: Trials, number: int) -> dict[str, Any]:
    return trials.shown(number).params


@contextmanager
def _heartbeat(trials: Trials, lease: Lease) -> Iterator[threading.Event]:
    """Renew a lease in the background; the event is set when another worker has taken it."""
    over, lost = threading.Event(), threading.Event()

    def beat() -> None:
        is_away = False
        while not over.wait(lease.seconds / 3):
            try:
                trials.renew(lease)
            except LostLease:
                lost.set()
                return
            except NasError as error:  # a busy database: the next beat may get through
                log.warning("%s the database: %s", WAITING, error)
                is_away = True
            else:
                if is_away:
                    log.warning(BACK)
                is_away = False

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()


def work(
    order: WorkOrder, should_stop: Callable[[], bool], evaluator: Evaluator | None = None
) -> None:
    """Run one worker to its end: the same function in this process, in another, on a cluster."""
    import torch

    torch.set_num_threads(order.threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with closing(Store.open(order.store)) as store:
        worker = assemble(order, store, should_stop, evaluator=evaluator)
        worker.evaluator.get_ready()
        worker.run()


def run(
    text: str, should_stop: Callable[[], bool], evaluator: Evaluator | None = None
) -> str | None:
    """Run the worker of an order given as JSON; return an error that a person has to read."""
    try:
        work(WorkOrder(**json.loads(text)), should_stop, evaluator)
    except StoreError as error:  # the database may come back: the driver tries again
        return str(error)
    except UserError as error:
        return f"{MISTAKE}{error}"
    return None


def main(evaluator: Evaluator | None = None) -> None:
    """Run as a worker process: the order comes as JSON on standard input."""
    log_to_stderr(LOG_FORMAT)
    sys.excepthook = lambda *error: log.critical("the worker died", exc_info=error)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    text = sys.stdin.read()
    driver = json.loads(text)["driver"]
    sys.exit(run(text, lambda: asked.is_set() or os.getppid() != driver, evaluator))


if __name__ == "__main__":
    main()
