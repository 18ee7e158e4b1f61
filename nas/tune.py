"""Ray Tune on a study of ours: a searcher that names its trials, a trainable that runs them.

    search = NasSearch("mixconv", "digits", "2M", study="tune-2M", epochs=20)
    asha = ASHAScheduler(max_t=search.epochs)
    config = tune.TuneConfig(
        search_alg=search, scheduler=asha, metric="score", mode="max", num_samples=24
    )
    tune.Tuner(search.trainable, tune_config=config).fit()

The study in the store is the only truth: a Tune trial is a study's name and a trial's number, and
reports the epochs that the store has of it, trained just now or before. A trial that Tune stops
early is pruned in the store, with the epochs that it had. A driver that died is started again, by
`Tuner.restore` or by the same script: the study's trials are named first, then new ones are begun.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.search import Searcher

from nas.errors import LostLease, NasError, StoreError, TrialError, UserError
from nas.observers import Observer
from nas.store import queries
from nas.store.engine import parse, resolve, secrets, sqlite_file
from nas.store.records import CurvePoint, Evaluation, Lease, Metrics, StoredArchitecture
from nas.store.store import Store
from nas.study import options as declared
from nas.study.announcement import announce
from nas.study.asker import WAIT
from nas.study.driver import is_dead
from nas.study.preparation import open_study, prepare
from nas.study.worker import WorkOrder, assemble

if TYPE_CHECKING:
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
        with closing(open_study(prepared)) as store, store.read() as connection:
            self.study_id = queries.study(connection, prepared.name).id
        for line in announce(prepared)[:-1]:  # the last one is about a budget that is Tune's here
            say(line)
        self.study, self.store = prepared.name, url
        self.epochs = prepared.config.recipe.epochs
        self.numbers: dict[str, int] = {}  # of the study's trials, by Tune's ids
        self._opened: TuneStudy | None = None
        self._waiting: list[int] | None = None  # the study's trials that no Tune trial names yet

    @property
    def trainable(self) -> Callable[[dict[str, Any]], None]:
        """The function that `tune.Tuner` runs: it trains the trial that a configuration names."""
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
        """Return the name of a trial: one of the study that Tune has not named yet, else a new one.

        Evaluations that the study reuses are told to the sampler and not to Tune. None means that
        there is nothing for now, FINISHED that all networks of the space were tried.
        """
        study = self._open()
        if self._waiting is None:
            own = [t for t in study.trials.read(queries.trials, study.id) if t.reused_from is None]
            self._waiting = [t.number for t in own if t.number not in self.numbers.values()]
        number = self._waiting.pop(0) if self._waiting else study.begin()
        if number is None:
            return None if study.worker.asker.others_run() else str(Searcher.FINISHED)
        self.numbers[trial_id] = number
        return {"study": self.study, "trial": number, "choices": study.trials.shown(number).params}

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Prune a trial that Tune has stopped early; let go of one that was lost in an error."""
        number = self.numbers.get(trial_id, (result or {}).get("trial"))
        if number is not None:
            self._open().end(number, stopped=not error)

    def save(self, checkpoint_path: str) -> None:
        """Write which study this is, and which of its trials Tune's name, as JSON."""
        state = {"study": self.study, "study_id": self.study_id, "numbers": self.numbers}
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Go on with an experiment; raise StoreError where its study is another one now."""
        saved = json.loads(Path(checkpoint_path).read_text())
        study_id = self._open().id
        if (saved["study"], saved["study_id"]) != (self.study, study_id):
            raise StoreError(
                f"The experiment belongs to study {saved['study']!r} (number {saved['study_id']} "
                f"in its store), which is not study {self.study!r} (number {study_id}): it was "
                "deleted and made anew, or NAS_STORE names another store."
            )
        self.numbers, self._waiting = saved["numbers"], None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # a connection stays where it is

    def _open(self) -> "TuneStudy":
        if self._opened is None:
            order = _order(self.study, self.store, "tune")
            study = self._opened = TuneStudy(order, Store.open(order.store))
            study.trials.repair()
            study.store.expire(study.id, is_dead)  # the trials of drivers and workers that are gone
        return self._opened


def trainable(study: str, *, store: str | None = None) -> Callable[[dict[str, Any]], None]:
    """Return the function that `tune.Tuner` runs for a trial; `Tuner.restore` wants it again.

    It reports, epoch by epoch, the study's `score` with the `epoch`, the `trial` and the metrics.
    `store` is read from NAS_STORE, on the machine that trains, where it is not given.
    """
    url = _without_secrets(store)

    def nas(config: dict[str, Any]) -> None:
        if config["study"] != study:
            raise UserError(f"This trainable is of study {study!r}, not of {config['study']!r}.")
        _run(_order(study, url, f"tune{config['trial']}"), int(config["trial"]))

    return nas


def _run(order: WorkOrder, number: int) -> None:
    """Train a trial, or follow the worker that does, and report it; TrialError if it failed."""
    import torch

    torch.set_num_threads(order.threads)
    reporter = Reporter(number)
    with closing(Store.open(order.store)) as store:
        study = TuneStudy(order, store, reporter)
        while (evaluation := study.evaluation(number)).state == "running":
            reporter.catch_up(study, evaluation)
            if not study.train(number):
                time.sleep(WAIT)  # somebody else trains it, or died over it not long ago
        reporter.catch_up(study, evaluation)
        if evaluation.state == "failed":
            raise TrialError(f"Trial {number} of study {order.study}: {evaluation.reason}")
        if evaluation.state == "complete":
            score = study.config.score(evaluation.metrics, evaluation)
            reporter.report(evaluation.fidelity, evaluation.metrics, score, evaluation)


class Reporter(Observer):
    """Reports a trial to Tune: each epoch once, in order, the last when the trial has ended.

    Tune answers a report by ending this very process's thread where the scheduler stops the trial,
    and it stops each at its last epoch: by then the weights have to be kept and the trial told.
    """

    def __init__(self, number: int) -> None:
        self.number, self.reported = number, 0

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:
        """Report an epoch that was trained just now, unless it is the last."""
        if point.epoch < lease.fidelity:
            self.report(point.epoch, point.metrics, value, lease)

    def catch_up(self, study: "TuneStudy", evaluation: Evaluation) -> None:
        """Report the epochs that the store has and Tune has not seen, but for the last."""
        for point in study.trials.read(queries.curve, evaluation.id):
            if point.epoch < evaluation.fidelity:
                score = study.config.score(point.metrics, evaluation)
                self.report(point.epoch, point.metrics, score, evaluation)

    def report(self, epoch: int, metrics: Metrics, score: float, of: StoredArchitecture) -> None:
        """Report an epoch unless it was."""
        if epoch <= self.reported:
            return
        self.reported = epoch
        cost = {"macs": of.cost.macs, "params": of.cost.params}
        names = {"trial": self.number, "epoch": epoch, "architecture": of.architecture.id}
        tune.report({**metrics, **cost, **names, SCORE: score})


class TuneStudy:
    """A study whose trials Tune names: it begins some, trains one, ends one."""

    def __init__(self, order: WorkOrder, store: Store, *reporters: Observer) -> None:
        self.store, self.worker = store, assemble(order, store, reporters=reporters)
        self.trials, self.config = self.worker.trials, self.worker.config
        self.id = self.trials.info.id

    def begin(self) -> int | None:
        """Begin a trial, free for the process that will train it; None when there is none."""
        started = self.worker.asker.begin()
        if started is None or started.lease is None:
            return None
        self.trials.release(started.lease)
        return started.lease.number

    def evaluation(self, number: int) -> Evaluation:
        """Return a trial's evaluation."""
        trial = self.trials.read(queries.trial, self.id, number)
        return self.trials.read(queries.evaluation, trial.evaluation_id)

    def train(self, number: int) -> bool:
        """Train a trial that nobody holds to its end; False where somebody holds it."""
        started = self.trials.adopt(number)
        if started is None or started.lease is None:
            return False
        try:
            self.worker.evaluate(started)
        except SystemExit:  # what Tune ends a thread with
            with suppress(NasError):
                self.worker.leave(started.lease, "Ray Tune has stopped it")
            raise
        return True

    def end(self, number: int, *, stopped: bool) -> None:
        """End a trial that Tune has ended: as pruned if it was stopped and has an epoch.

        A worker that still trains it can't write any more. A trial without an epoch, or whose
        process was lost, is left to the next worker.
        """
        evaluation = self.evaluation(number)
        if evaluation.state != "running":
            return
        self.store.expire(self.id, lambda worker: worker == evaluation.worker)
        points = self.trials.read(queries.curve, evaluation.id)
        started = self.trials.adopt(number) if stopped and points else None
        if started is not None and started.lease is not None:
            seconds = sum(point.seconds for point in points)
            with suppress(LostLease):
                last = points[-1].metrics
                self.worker.finish(started.lease, "pruned", metrics=last, seconds=seconds)


def _order(study: str, store: str | None, name: str) -> WorkOrder:
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)  # which Ray sets to an actor's CPUs
    worker = f"{socket.gethostname()}:{os.getpid()}:{name}"
    return WorkOrder(store=resolve(store), study=study, worker=worker, threads=threads)


def _without_secrets(store: str | None) -> str | None:
    """Return a store's URL as any machine's process may read it; None leaves it to NAS_STORE.

    Tune writes it into the experiment's folder, so no password may be in it.
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
