"""Evaluate: the seam between a trial and the evaluator that measures its architecture.

Training is one evaluator. A supernet and a table of results are others: an object with the two
methods of `Evaluator` is handed to `nas.study.worker`. Nobody subclasses the worker.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Protocol

from nas.architecture import Architecture
from nas.config import Config
from nas.data import DataSet
from nas.errors import DiskFull, Interrupted, OutOfMemory
from nas.store import queries
from nas.store.engine import WAITING
from nas.store.records import CurvePoint, Metrics
from nas.store.trials import Trials
from nas.study.aids import aids_of
from nas.training.methods import Aids
from nas.training.recipe import Recipe

if TYPE_CHECKING:
    from nas.training.checkpoint import Checkpoints
    from nas.training.trainer import Control, EpochResult, TrainResult

WEIGHTS_KEPT = 10  # of the best trials; the weights of others can be trained again
SPACE_WAIT, SPACE_TICK = 5.0, 0.5  # seconds between two writes to a full disk; to hear of a stop
PARTS = 2  # of a batch that did not fit into memory
ACCUMULATED = "ran out of memory; trained with batches in {} parts, their gradients added up"
log = logging.getLogger("nas")


@dataclass(frozen=True, kw_only=True)
class TrialControl:
    """The trial of an evaluator: where its files are, and the functions that it calls.

    `recipe` is how the trial is trained, its seed included.
    `report` stores the metrics of an epoch; its second argument says that the epoch was trained
    before, by an earlier attempt or at a lower rung. It raises where the pruner stops the trial and
    where another worker has the lease: the exception passes through the evaluator.
    `should_stop` is asked often; when it is true the evaluator raises Interrupted.
    `checkpoints` is the folder, or URL, of this training, `attempt` the number of the workers that
    have held the trial so far, this one included: no two attempts write the same file.
    """

    attempt: int
    recipe: Recipe
    checkpoints: str
    report: Callable[[CurvePoint, bool], None]
    should_stop: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The metrics at the fidelity that was asked for, and the seconds of all epochs up to it.

    `note` is stored as the trial's reason. `clean_up` is called once the result is stored.
    """

    metrics: Metrics
    seconds: float
    note: str | None = None
    clean_up: Callable[[], None] = lambda: None


class Evaluator(Protocol):
    """Measures architectures for one worker."""

    def get_ready(self) -> None:
        """Load the data and code of every evaluation, before the worker holds its first trial."""

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:
        """Measure an architecture at a fidelity, in epochs, and report each epoch up to it.

        Raises TrialError where the architecture can't be measured: the trial fails. A NasError or
        an OSError of another kind leaves the trial to other workers and ends this one.
        """


class _RungReached(Exception):
    """Ends a training at a rung below the whole training."""


class Training:
    """The evaluator that trains: under the study's recipe, from the checkpoint where one exists."""

    def __init__(self, config: Config, images: Callable[[], DataSet], trials: Trials) -> None:
        self.config, self.images, self.trials = config, images, trials
        self._learnt = ("", "", ""), Aids()

    def get_ready(self) -> None:
        """Import what trains, which takes seconds the first time, and load the images."""
        from nas.training import trainer  # noqa: F401

        self.images()

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:
        """Train up to a rung, or to the end, where the weights are kept."""
        from nas.training.checkpoint import Checkpoints
        from nas.training.trainer import Control

        checkpoints = Checkpoints(control.checkpoints, control.attempt)
        epochs: dict[int, CurvePoint] = {}

        def on_epoch(result: "EpochResult") -> None:
            names = [each.name for each in fields(CurvePoint)]
            point = CurvePoint(**{name: getattr(result, name) for name in names})
            epochs[point.epoch] = point
            control.report(point, result.restored)
            if point.epoch == fidelity < result.epochs:
                raise _RungReached

        def on_full(error: DiskFull) -> None:
            _wait_for_space(error, control.should_stop)

        recipe = control.recipe
        self._take_over(architecture.id, recipe, checkpoints)
        training = Control(checkpoints, on_epoch, control.should_stop, on_full)
        try:
            result = self._train(architecture, recipe, training)
        except _RungReached:
            seconds = sum(point.seconds for point in epochs.values())
            return Result(metrics=epochs[fidelity].metrics, seconds=seconds)
        if fidelity < recipe.epochs:  # stopped early, before it came to its rung
            return Result(metrics=result.metrics, seconds=result.seconds)
        while result.state:
            try:
                checkpoints.save_weights(result.state)
                break
            except DiskFull as error:
                on_full(error)
        steps = result.accumulation_steps
        return Result(
            metrics=result.metrics,
            seconds=result.seconds,
            note=ACCUMULATED.format(steps) if steps > recipe.accumulation_steps else None,
            clean_up=lambda: self._clean_up(checkpoints),
        )

    def _train(
        self, architecture: Architecture, recipe: Recipe, control: "Control"
    ) -> "TrainResult":
        from nas.training import trainer

        refit = self.config.finals is None  # else the finalists are handed over, not the trials
        images, aids = self.images(), self._aids(recipe)
        return within_memory(
            partial(
                trainer.train, architecture, images, recipe, control=control, refit=refit, aids=aids
            )
        )

    def _aids(self, recipe: Recipe) -> Aids:
        """Return the aids that a recipe names; those of the last one are kept."""
        names = recipe.teacher, recipe.unlabelled, recipe.start
        if self._learnt[0] != names:
            self._learnt = names, aids_of(self.config, recipe, self.images())
        return self._learnt[1]

    def _take_over(self, architecture_id: str, recipe: Recipe, checkpoints: "Checkpoints") -> None:
        """Copy the checkpoint that another study has of the same training, if we have none."""
        from nas.training.checkpoint import Checkpoints

        trained = self.trials.read(queries.trained, architecture_id, recipe.hash)
        for _, folder in trained:
            if folder is not None and checkpoints.take_over(Checkpoints(folder)):
                return

    def _clean_up(self, checkpoints: "Checkpoints") -> None:
        checkpoints.drop()
        self.drop_weights()

    def drop_weights(self) -> None:
        """Delete the weights of trials that are not among the best any more.

        Finalists are few: each keeps its weights.
        """
        if self.config.finalists:
            return
        from nas.training.checkpoint import with_weights

        # First those that may be finishing: what they finish as is read after them.
        running = self.trials.read(queries.running, self.trials.info.id)
        best = self.trials.read(queries.best, self.trials.info.id, WEIGHTS_KEPT)
        if len(best) < WEIGHTS_KEPT:
            return
        needed = {
            self.config.checkpoint_url(trial.architecture_id, trial.recipe_hash)
            for trial in best + running
        }
        for training in with_weights(self.config.checkpoint_root):
            if training.url not in needed:
                training.drop_weights()


def _wait_for_space(error: DiskFull, should_stop: Callable[[], bool]) -> None:
    """Hold the trial while the disk is full; raise Interrupted when somebody asks to stop."""
    log.warning("%s space: %s", WAITING, error)
    ends = time.monotonic() + SPACE_WAIT
    while time.monotonic() < ends:
        if should_stop():
            raise Interrupted(str(error))
        time.sleep(SPACE_TICK)


def within_memory(train: "Callable[..., TrainResult]") -> "TrainResult":
    """Train; once more with accumulated gradients where a whole batch exceeds the memory."""
    try:
        return train()
    except OutOfMemory as error:
        log.warning("once more with batches in %d parts: %s", PARTS, error)
    _free_memory()  # outside of the handler, whose traceback holds the tensors
    return train(accumulation_steps=PARTS)


def _free_memory() -> None:
    """Give back what a training that ran out of memory has left."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
