"""The ask - evaluate - tell loop: one function that every worker runs, wherever it runs.

A worker asks for its own trial, holds a lease on it, trains, reports and tells; all that matters
is in the store and in the checkpoints, so it may be killed at any instant.
"""

import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler

from nas import network, pruners, samplers
from nas.architecture import Architecture, Value
from nas.cost import Cost, Limits
from nas.data import DataSet, load
from nas.errors import Interrupted, LostLease, NasError, StoreError, TrialError, UserError
from nas.objective import Objective
from nas.preflight import Subject, draw_near, repair
from nas.search_space import SearchSpace
from nas.store import queries
from nas.store.records import CurvePoint, Lease, Metrics, Proposal, Started
from nas.store.store import Store
from nas.store.trials import Trials
from nas.training.recipe import Recipe

if TYPE_CHECKING:
    from nas.samplers._space import SpaceOracle

MAX_DEATHS = 3  # workers that died without finishing one more epoch
PATIENCE = (
    3  # proposals in a row that were known before, until we look for an unknown one ourselves
)
WALK = 200  # steps of that walk
WAIT = 0.5  # seconds between two looks at what others do
OPENING = 10  # trials drawn near the target before the sampler is asked
KEPT_WEIGHTS = 10  # of the best trials; others' weights can be trained again
LEASE_SECONDS = 30.0
MISTAKE = "nas: "  # begins the last words of a worker whose user has to change something
log = logging.getLogger("nas")


@dataclass(frozen=True)
class Job:
    """What a worker is started with, as plain data; the rest is in the store.

    `trials` is the study's budget (None: no limit), `deadline` a Unix time in seconds, `driver`
    the process that started the worker: without it the worker stops.
    """

    store: str
    study: str
    worker: str
    trials: int | None = None
    deadline: float | None = None
    threads: int = 1
    driver: int = 0

    def to_json(self) -> str:
        """Return the job as JSON text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Config:
    """A study's configuration as it is stored: what its name stands for."""

    space: SearchSpace
    data: str
    classes: int
    in_channels: int
    recipe: Recipe
    objective: Objective
    limits: Limits
    sampler: str
    pruner: str
    seed: int
    folder: str

    @property
    def subject(self) -> Subject:
        """The space for this data's images and classes."""
        return Subject(self.space, self.in_channels, self.classes)

    def score(self, metrics: Metrics, cost: Cost) -> float:
        """Return the objective's value; NaN where the metric is not a number."""
        value = metrics.get(self.recipe.metric)
        return float("nan") if value is None else self.objective.score(value, cost.macs)

    def checkpoint_dir(self, architecture_id: str) -> Path:
        """Return the folder of an evaluation's checkpoint and weights."""
        return Path(self.folder, "checkpoints", f"{architecture_id}-{self.recipe.hash}")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        parameters = {p.name: list(p.choices) for p in self.space.parameters()}
        return {
            "parameters": parameters,
            "space": self.space.to_json(),
            "data": self.data,
            "classes": self.classes,
            "in_channels": self.in_channels,
            "recipe": self.recipe.to_json(),
            "recipe_hash": self.recipe.hash,
            "objective": self.objective.to_json(),
            "limits": self.limits._asdict(),
            "sampler": self.sampler,
            "pruner": self.pruner,
            "seed": self.seed,
            "folder": self.folder,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Config":
        """Read a configuration back from the store."""
        names = ("data", "classes", "in_channels", "sampler", "pruner", "seed", "folder")
        return cls(
            space=SearchSpace.from_json(data["space"]),
            recipe=Recipe.from_json(data["recipe"]),
            objective=Objective(**data["objective"]),
            limits=Limits(**data["limits"]),
            **{name: data[name] for name in names},
        )


def cache_dir(folder: str) -> Path:
    """Return where resized images are kept: beside the studies."""
    return Path(folder).parent / ".cache"


class Pruned(Exception):
    """The pruner gave the trial up; carries the last epoch's metrics."""

    def __init__(self, metrics: dict[str, float]) -> None:
        super().__init__()
        self.metrics = metrics


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
            lease_seconds=LEASE_SECONDS,
        )
        self.study = self.trials.optuna_study(
            pruner=pruners.get(self.config.pruner, self.config.recipe.epochs)
        )
        self.data: DataSet | None = None
        self.oracle: SpaceOracle | None = None  # what it knows of networks is kept

    def run(self) -> None:
        """Work until the budget is spent, time is up, nothing is left, or somebody asks to stop."""
        self.trials.repair()
        while not self.should_stop():
            started = self.trials.adopt() or self._begin()
            if started is not None:
                self._evaluate(started)
            elif self._others_run():
                time.sleep(WAIT)  # one of them may die and leave its trial to us
            else:
                return

    def _others_run(self) -> bool:
        with self.store.read() as connection:
            return bool(queries.running(connection, self.trials.info.id))

    def _begin(self) -> Started | None:
        """Propose until there is something to train; None when there is nothing (for now)."""
        repeats = 0  # proposals in a row that this study has seen, or that others train now
        while not (self.should_stop() or self._is_spent()):
            number = self._count()
            rng = _random(self.config.seed, number, repeats)
            proposed, prediction = self._propose(number, rng)
            values = self._within(proposed, rng)
            if repeats >= PATIENCE:
                unseen = self._unseen(values, rng)
                if unseen is None:
                    return None
                values = unseen
            proposal = self._proposal(values, prediction if values == proposed else {})
            started = self.trials.start(proposal, budget=self.job.trials)
            if started.outcome == "run":
                return started
            if started.outcome == "budget":
                return None
            if started.outcome == "elsewhere" and repeats >= PATIENCE:
                time.sleep(WAIT)
            is_new = started.outcome != "elsewhere" and self._known()[proposal.architecture_id] == 1
            repeats = 0 if is_new else repeats + 1
        return None

    def _is_spent(self) -> bool:
        with self.store.read() as connection:
            spent = queries.spent(connection, self.trials.info.id)
        return self.job.trials is not None and spent >= self.job.trials

    def _count(self) -> int:
        with self.store.read() as connection:
            return queries.total(connection, self.trials.info.id)

    def _known(self) -> Counter[str]:
        trials = self.study.get_trials(deepcopy=False)
        return Counter(trial.user_attrs.get("architecture_id", "") for trial in trials)

    def _propose(
        self, number: int, rng: random.Random
    ) -> tuple[dict[str, Value], dict[str, float]]:
        """Ask the sampler; a model-based one has nothing to go by for the first trials.

        Those are drawn near the target, so that what is learnt first is learnt about networks of
        the cost that was asked for. Samplers without a model stay what they are. Beside the
        proposal comes what the sampler expects of it, where it says so.
        """
        config = self.config
        if number < OPENING and config.sampler not in samplers.PLAIN:
            return draw_near(config.subject, config.objective.target_flops, rng), {}
        seed = rng.randrange(2**31)
        if config.sampler == "nas":
            return self._propose_knowingly(seed)
        sampler: BaseSampler = samplers.get(config.sampler, seed)
        return samplers.propose(config.space, self.study, sampler), {}

    def _propose_knowingly(self, seed: int) -> tuple[dict[str, Value], dict[str, float]]:
        """Ask our own sampler, which is told what networks cost; it tells what it expects."""
        from nas.samplers._space import SpaceOracle
        from nas.samplers.nas import NasSampler

        config = self.config
        if self.oracle is None:
            self.oracle = SpaceOracle(config.subject, config.limits, config.objective)
        sampler = NasSampler(seed, oracle=self.oracle)
        values = samplers.propose(config.space, self.study, sampler)
        expected = sampler.last_prediction
        if expected is None:
            return values, {}
        return values, {"predicted_mean": expected.mean, "predicted_spread": expected.spread}

    def _within(self, values: dict[str, Value], rng: random.Random) -> dict[str, Value]:
        """Cut a proposal down to the limits where it breaks them."""
        for _ in range(WALK):
            kept = repair(self.config.subject, values, self.config.limits, rng)
            if kept is not None:
                return kept
            values = self.config.space.draw(rng)
        raise UserError(f"No architecture of {self.config.space.name} in reach keeps the limits.")

    def _unseen(self, values: dict[str, Value], rng: random.Random) -> dict[str, Value] | None:
        """Walk from neighbour to neighbour, within the limits, to an architecture without trial."""
        known = self._known()
        limits = self.config.limits.tightest(self.config.space.limits)
        for _ in range(WALK):
            inside = []
            neighbours = list(self.config.space.neighbours(values))
            rng.shuffle(neighbours)
            for neighbour in neighbours:
                architecture = self.config.subject.decode(neighbour)
                if limits.violation(network.cost(architecture)) is None:
                    if architecture.id not in known:
                        return neighbour
                    inside.append(neighbour)
            if not inside:
                return None
            values = rng.choice(inside)
        return None

    def _proposal(self, values: dict[str, Value], prediction: dict[str, float]) -> Proposal:
        architecture = self.config.subject.decode(values)
        choices = {p.name: p.choices for p in self.config.space.parameters()}
        return Proposal(
            architecture_id=architecture.id,
            architecture=architecture.to_json(),
            notation="\n".join(architecture.notation()),
            cost=network.cost(architecture),
            recipe_hash=self.config.recipe.hash,
            fidelity=self.config.recipe.epochs,
            params=values,
            distributions={name: CategoricalDistribution(choices[name]) for name in values},
            prediction=prediction,
        )

    def _evaluate(self, started: Started) -> None:
        """Train one trial to whatever end it comes to, and tell the store."""
        lease, evaluation = started.lease, started.evaluation
        if lease is None or evaluation is None:
            return
        if evaluation.deaths >= MAX_DEATHS:
            reason = f"given up: {evaluation.deaths} workers died without finishing an epoch"
            self.trials.finish(lease, "failed", reason=reason)
            return
        try:
            with _heartbeat(self.trials, lease) as lost:
                self._train(lease, evaluation.architecture, lost)
        except LostLease as error:
            log.warning("%s", error)

    def _train(self, lease: Lease, architecture: Mapping[str, Any], lost: threading.Event) -> None:
        from nas.training.checkpoint import drop, save_weights
        from nas.training.trainer import EpochResult, train

        def on_epoch(result: EpochResult) -> None:
            self.trials.report(
                lease,
                CurvePoint(
                    epoch=result.epoch,
                    metrics=result.metrics,
                    train_loss=result.train_loss,
                    seconds=result.seconds,
                    learning_rate=result.learning_rate,
                ),
            )
            last = result.restored or result.epoch == result.epochs
            if not last and self.trials.should_prune(lease, self.study):
                raise Pruned(result.metrics)

        network_of = Architecture.from_json(architecture)
        folder = self.config.checkpoint_dir(network_of.id)
        try:
            self.data = self.data or load(self.config.data, cache_dir=cache_dir(self.config.folder))
            result = train(
                network_of,
                self.data,
                self.config.recipe,
                checkpoint_dir=folder,
                on_epoch=on_epoch,
                should_stop=lambda: lost.is_set() or self.should_stop(),
            )
        except Pruned as pruned:
            self.trials.finish(lease, "pruned", metrics=pruned.metrics, checkpoint=str(folder))
        except Interrupted:
            self.trials.release(lease)
        except TrialError as error:
            self.trials.finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        except LostLease:
            raise
        except (NasError, OSError):  # the database, the disk, the data: no fault of the network
            with suppress(NasError):
                self.trials.release(lease)
            raise
        except Exception as error:  # whatever a network does, it ends its trial, not the search
            log.exception("trial %d", lease.number)
            self.trials.finish(lease, "failed", reason=f"{type(error).__name__}: {error}")
        else:
            save_weights(folder, result.state)
            self.trials.finish(
                lease,
                "complete",
                metrics=result.metrics,
                seconds=result.seconds,
                checkpoint=str(folder),
            )
            drop(folder)
            self._drop_weights()

    def _drop_weights(self) -> None:
        """Delete the weights of trials that are not among the best any more."""
        with self.store.read() as connection:
            best = queries.best(connection, self.trials.info.id, KEPT_WEIGHTS)
            running = queries.running(connection, self.trials.info.id)  # they may be finishing
        kept = {self.config.checkpoint_dir(trial.architecture_id) for trial in best + running}
        for path in Path(self.config.folder, "checkpoints").glob("*/weights.safetensors"):
            if len(best) == KEPT_WEIGHTS and path.parent not in kept:
                path.unlink(missing_ok=True)


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


def _random(*seeds: int) -> random.Random:
    """Return a generator that depends on the study's seed and the trial's number alone."""
    return random.Random(":".join(map(str, seeds)))


def work(job: Job, should_stop: Callable[[], bool]) -> None:
    """Run one worker to its end: the same function in this process, in another, on a cluster."""
    import torch

    torch.set_num_threads(job.threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    deadline = float("inf") if job.deadline is None else job.deadline
    store = Store.open(job.store)
    try:
        Worker(job, store, lambda: should_stop() or time.time() > deadline).run()
    finally:
        store.close()


def main() -> None:
    """Be a worker process: the job comes as JSON on standard input."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    job = Job(**json.loads(sys.stdin.read()))
    try:
        work(job, lambda: asked.is_set() or os.getppid() != job.driver)
    except StoreError as error:  # the database may come back: the driver tries again
        sys.exit(str(error))
    except UserError as error:
        sys.exit(f"{MISTAKE}{error}")


if __name__ == "__main__":
    main()
