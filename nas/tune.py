"""Ray Tune on a study of ours: a searcher that names its trials, a trainable that runs them.

    search = NasSearch("mixconv", "digits", "2M", study="tune-2M", epochs=20)
    asha = ASHAScheduler(max_t=search.epochs)
    config = tune.TuneConfig(
        search_alg=search, scheduler=asha, metric="score", mode="max", num_samples=24
    )
    tune.Tuner(search.trainable, tune_config=config).fit()

The study in the store is the only truth: a Tune trial is a study's name and a trial's number, and
reports what the store has of it, trained just now or before. What Tune stops early is pruned in the
store, with the epochs that it had. A driver that died is started again, by `Tuner.restore` or by
the same script: the study's trials are named first, then new ones are begun.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.search import Searcher

from nas.errors import LostLease, NasError, StoreError, TrialError, UserError
from nas.observers import Observers
from nas.store import queries
from nas.store.engine import parse, resolve, secrets, sqlite_file
from nas.store.records import CurvePoint, Evaluation, Lease
from nas.store.store import Store
from nas.study import options as declared
from nas.study.announcement import announce
from nas.study.driver import is_dead
from nas.study.preparation import open_study, prepare
from nas.study.worker import WAIT, Job, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nas.search_space import SearchSpace

SCORE = "score"


class NasSearch(Searcher):  # type: ignore[misc] # Tune's bases are not typed
    """Proposes for `tune.Tuner` as a study's own sampler does, within its limits and its store.

    Space, data, target and options are those of `nas.search`, but for those that are Tune's
    business: trials, time, workers and pruner. Raises UserError for what can't be searched and
    StoreError where the study's name means something else already.
    """

    def __init__(
        self,
        space: "str | SearchSpace" = "mixconv",
        data: str = "digits",
        target_flops: str | float | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        super().__init__(metric=SCORE, mode="max")
        for name, option in declared.declared().items():
            if name in options and not option.tunes:
                raise UserError(f"{name!r} is for `nas.search`; here Ray Tune's Tuner decides it.")
        url = _without_secrets(options.get("store"))
        options |= {"space": space, "data": data, "target_flops": target_flops}
        tunes = {"pruner": "none", "trials": 1, "workers": 1}
        prepared = prepare(declared.read(options | tunes), say=say)
        store = open_study(prepared)
        try:
            with store.read() as connection:
                self.study_id = queries.study(connection, prepared.name).id
        finally:
            store.close()
        for line in announce(prepared)[:-1]:  # the last one is about a budget that is Tune's here
            say(line)
        self.study, self.store = prepared.name, url
        self.epochs = prepared.config.recipe.epochs
        self.numbers: dict[str, int] = {}  # of the study's trials, by Tune's ids
        self._worker: TuneWorker | None = None
        self._waiting: list[int] | None = None  # the study's trials that no Tune trial names yet

    @property
    def trainable(self) -> Callable[[dict[str, Any]], None]:
        """What `tune.Tuner` runs: it trains the trial that a configuration names."""
        return trainable(self.study, store=self.store)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over Tune's metric; the study's own score is what the sampler goes by.

        Raises UserError where Tune has a space of its own.
        """
        if config or mode == "min":
            raise UserError(
                "The study says what is searched and that more is better: leave param_space out of "
                'the Tuner, and give its TuneConfig metric="score", mode="max".'
            )
        del spec
        self._metric, self._mode = metric or SCORE, mode or "max"
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the name of a trial: one of the study that has none yet, else a new one.

        What the study has measured before is told to the sampler and not to Tune. None means that
        there is nothing for now, FINISHED that all networks of the space were tried.
        """
        worker = self._opened()
        if self._waiting is None:
            named = set(self.numbers.values())
            self._waiting = [number for number in worker.own() if number not in named]
        number = self._waiting.pop(0) if self._waiting else worker.begin()
        if number is None:
            return None if worker.others_run() else str(Searcher.FINISHED)
        self.numbers[trial_id] = number
        return {"study": self.study, "trial": number, "choices": worker.choices(number)}

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Prune what Tune has stopped early; let go of what was lost with its process."""
        number = self.numbers.get(trial_id, (result or {}).get("trial"))
        if number is not None:
            self._opened().close(number, stopped=not error)

    def save(self, checkpoint_path: str) -> None:
        """Write which study this is, and which of its trials Tune's name, as JSON."""
        said = {"study": self.study, "study_id": self.study_id, "numbers": self.numbers}
        Path(checkpoint_path).write_text(json.dumps(said))

    def restore(self, checkpoint_path: str) -> None:
        """Go on with an experiment; raise StoreError where its study is not this one any more."""
        said = json.loads(Path(checkpoint_path).read_text())
        found = self._opened().trials.info.id
        if (said["study"], said["study_id"]) != (self.study, found):
            raise StoreError(
                f"The experiment belongs to study {said['study']!r} (number {said['study_id']} in "
                f"its store), which is not study {self.study!r} (number {found}): it was deleted "
                "and made anew, or NAS_STORE names another store."
            )
        self.numbers, self._waiting = said["numbers"], None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_worker": None}  # a connection stays where it is

    def _opened(self) -> "TuneWorker":
        if self._worker is None:
            self._worker = TuneWorker(_job(self.study, self.store, "tune"))
            self._worker.store_again()
        return self._worker


def trainable(study: str, *, store: str | None = None) -> Callable[[dict[str, Any]], None]:
    """Return what `tune.Tuner` runs for a study's trials; `Tuner.restore` wants it again.

    It reports, epoch by epoch, the study's `score` with the `epoch`, the `trial` and the metrics.
    `store` is read from NAS_STORE, on the machine that trains, where it is not given.
    """
    url = _without_secrets(store)

    def nas(config: dict[str, Any]) -> None:
        if config["study"] != study:
            raise UserError(f"This trainable is of study {study!r}, not of {config['study']!r}.")
        _run(_job(study, url, f"tune{config['trial']}"), int(config["trial"]))

    return nas


def _run(job: Job, number: int) -> None:
    """Train a trial or follow whoever does, and report it to Tune; TrialError if it has failed."""
    with _worker(job) as worker:
        told = Told(worker, number)
        while (evaluation := worker.evaluation(number)).state == "running":
            told.catch_up()
            if not worker.train(number, told):
                time.sleep(WAIT)  # somebody else trains it, or died over it not long ago
        told.catch_up()
        if evaluation.state == "failed":
            raise TrialError(f"Trial {number} of study {job.study}: {evaluation.reason}")
        if evaluation.state == "complete":
            told.report(worker.config.recipe.epochs, evaluation.metrics)


class Told(Observers):
    """What Tune was told of a trial: each epoch once, in order, the last when the trial has ended.

    Tune answers a report by ending this very process's thread where the scheduler stops the trial,
    and it stops each at its last epoch: by then the weights have to be kept and the trial told.
    """

    def __init__(self, worker: "TuneWorker", number: int) -> None:
        self.worker, self.number, self.epoch = worker, number, 0
        self.others = worker.observers

    def tell(self, event: str, *what: Any) -> None:
        """Tell the worker's observers, then Tune of an epoch."""
        self.others.tell(event, *what)
        if event == "epoch":
            point: CurvePoint = what[1]
            self._pass_on(point)

    def catch_up(self) -> None:
        """Report the epochs that the store has and Tune has not seen."""
        for point in self.worker.curve(self.number):
            self._pass_on(point)

    def _pass_on(self, point: CurvePoint) -> None:
        if point.epoch < self.worker.config.recipe.epochs:
            self.report(point.epoch, point.metrics)

    def report(self, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """Report an epoch unless it was."""
        if epoch <= self.epoch:
            return
        self.epoch = epoch
        found = self.worker.evaluation(self.number)
        score = self.worker.config.score(metrics, found.cost, found.architecture)
        cost = {"macs": found.cost.macs, "params": found.cost.params}
        named = {"trial": self.number, "epoch": epoch, "architecture": found.architecture_id}
        tune.report({**metrics, **cost, **named, SCORE: score})


class TuneWorker(Worker):
    """A worker whose trials are named by Tune: it begins some, trains one, ends one."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, Store.open(job.store), lambda: False)

    def store_again(self) -> None:
        """Free what the drivers and workers that are gone from this machine had."""
        self.trials.repair()
        self.store.expire(self.trials.info.id, is_dead)

    def own(self) -> list[int]:
        """Return the numbers of the trials that this study trained or trains itself."""
        with self.store.read() as connection:
            found = queries.trials(connection, self.trials.info.id)
        return [trial.number for trial in found if trial.reused_from is None]

    def begin(self) -> int | None:
        """Begin a trial, free for the process that will train it; None when there is none."""
        started = self._begin()
        if started is None or started.lease is None:
            return None
        self.trials.release(started.lease)
        return started.lease.number

    def others_run(self) -> bool:
        """Tell whether trials of the study still run."""
        return self._others_run()

    def choices(self, number: int) -> dict[str, Any]:
        """Return a trial's choices by their names."""
        return dict(self.trials.shown(number).params)

    def evaluation(self, number: int) -> Evaluation:
        """Return a trial's evaluation."""
        with self.store.read() as connection:
            found = queries.trial(connection, self.trials.info.id, number)
            return queries.evaluation(connection, found.evaluation_id)

    def curve(self, number: int) -> list[CurvePoint]:
        """Return a trial's epochs so far."""
        with self.store.read() as connection:
            found = queries.trial(connection, self.trials.info.id, number)
            return queries.curve(connection, found.evaluation_id)

    def train(self, number: int, told: Told) -> bool:
        """Train a trial that nobody holds to its end; False where somebody holds it."""
        started = self.trials.take(number)
        if started is None or started.lease is None:
            return False
        self.observers = told
        try:
            self._evaluate(started)
        except SystemExit:  # what Tune ends a thread with
            self._leave(started.lease)
            raise
        return True

    def close(self, number: int, *, stopped: bool) -> None:
        """End a trial that Tune has ended: as pruned if it was stopped and has an epoch.

        Whoever still trains it can't write any more. What has no epoch, or has lost its process, is
        left to whoever comes next.
        """
        found = self.evaluation(number)
        if found.state != "running":
            return
        self.store.expire(self.trials.info.id, lambda worker: worker == found.worker)
        points = self.curve(number)
        started = self.trials.take(number) if stopped and points else None
        if started is not None and started.lease is not None:
            seconds = sum(point.seconds for point in points)
            with suppress(LostLease):
                self._finish(started.lease, "pruned", metrics=points[-1].metrics, seconds=seconds)

    def _leave(self, lease: Lease) -> None:
        with suppress(NasError):
            self.trials.release(lease)
        self.observers.tell("left", lease, "Ray Tune has stopped it")


@contextmanager
def _worker(job: Job) -> "Iterator[TuneWorker]":
    import torch

    torch.set_num_threads(job.threads)
    worker = TuneWorker(job)
    try:
        yield worker
    finally:
        worker.store.close()


def _job(study: str, store: str | None, name: str) -> Job:
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)  # which Ray sets to an actor's CPUs
    worker = f"{socket.gethostname()}:{os.getpid()}:{name}"
    return Job(store=resolve(store), study=study, worker=worker, threads=threads)


def _without_secrets(store: str | None) -> str | None:
    """Return a store's URL as any machine's process may read it; None leaves it to NAS_STORE.

    Tune writes what it is given into the experiment's folder, so no password may be in it.
    """
    url = parse(resolve(store))
    if secrets(url):
        if store is None:
            return None
        raise UserError(
            "Ray Tune writes what it is given into files, a password too: set NAS_STORE, on every "
            "machine, and give no store here; or leave the password to PGPASSFILE."
        )
    file = sqlite_file(url)
    return resolve(store) if file is None else f"sqlite:///{file.absolute()}"
