"""The registry of the learning rate's schedules: a row of `SCHEDULES` is one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Position:
    """The place of a step in a training.

    `step` counts from 0 and `steps` are all of them, both after the warm-up. `scores` has the
    recipe's metric on the validation split after each epoch so far.
    """

    step: float
    steps: float
    steps_per_epoch: int
    scores: Sequence[float] = ()

    @property
    def epochs(self) -> float:
        """The epochs since the warm-up."""
        return self.step / self.steps_per_epoch


@dataclass(frozen=True)
class LearningRateSchedule:
    """The learning rate over a training.

    `words` name it with the recipe's settings; `share(position, recipe)` returns the factor of the
    recipe's learning rate. Where a schedule `rises` of its own, the recipe's warm-up is left out.
    """

    words: str
    share: "Callable[[Position, Recipe], float]"
    rises: bool = False


def _cosine(at: Position, recipe: "Recipe") -> float:
    end = recipe.final_learning_rate and recipe.final_learning_rate / recipe.learning_rate
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * at.step / at.steps))


def _exponential(at: Position, recipe: "Recipe") -> float:
    return math.pow(recipe.decay_rate, at.epochs / recipe.decay_epochs)


def _step(at: Position, recipe: "Recipe") -> float:
    return math.pow(recipe.decay_rate, at.epochs // recipe.decay_epochs)


def _plateau(at: Position, recipe: "Recipe") -> float:
    """Count the decays anew from the scores, so that a resumed training has the same rate."""
    best, waited, decays = -math.inf, 0, 0
    for score in at.scores:
        best, waited = max(best, score), 0 if score > best else waited + 1
        if waited >= recipe.decay_epochs:
            waited, decays = 0, decays + 1
    return recipe.decay_rate**decays


_RISE = 0.3  # of the steps
_START = 1 / 25  # of the highest learning rate


def _one_cycle(at: Position, _: "Recipe") -> float:
    """Rise and fall by half a cosine each, with the shares of torch's OneCycleLR."""
    top = _RISE * at.steps
    if at.step < top:
        return _START + (1 - _START) * 0.5 * (1 - math.cos(math.pi * at.step / top))
    return 0.5 * (1 + math.cos(math.pi * (at.step - top) / (at.steps - top)))


_DECAYS = "warm-up and {recipe.decay_rate:g} of the learning rate"

SCHEDULES = {
    # Loshchilov, Hutter, 2016, arXiv:1608.03983
    "cosine": LearningRateSchedule("warm-up and cosine", _cosine),
    # Tan, Le, 2019, arXiv:1905.11946: 0.97 in 2.4 epochs
    "exponential": LearningRateSchedule(
        f"{_DECAYS} every {{recipe.decay_epochs:g}} epochs, continuously", _exponential
    ),
    "step": LearningRateSchedule(f"{_DECAYS} every {{recipe.decay_epochs:g}} epochs", _step),
    "plateau": LearningRateSchedule(
        f"{_DECAYS} after {{recipe.decay_epochs:g}} epochs without a better score", _plateau
    ),
    # Smith, Topin, 2017, arXiv:1708.07120
    "one_cycle": LearningRateSchedule(
        "one cycle: a cosine up and one down", _one_cycle, rises=True
    ),
}


def learning_rate(
    recipe: "Recipe", step: int, steps_per_epoch: int, scores: Sequence[float] = ()
) -> float:
    """Return the learning rate of a step (from 0): a line up, then the schedule.

    `scores` has the recipe's metric after each epoch so far: a plateau is seen in it.
    """
    schedule = SCHEDULES[recipe.schedule]
    warmup_epochs = 0.0 if schedule.rises else recipe.warmup_epochs
    share = warmed_up(schedule.share, recipe, step, steps_per_epoch, warmup_epochs, scores)
    return recipe.learning_rate * share


def warmed_up(
    share: "Callable[[Position, Recipe], float]",
    recipe: "Recipe",
    step: int,
    steps_per_epoch: int,
    warmup_epochs: float,
    scores: Sequence[float] = (),
) -> float:
    """Return the factor of the learning rate at a step: a line up, then a schedule's `share`."""
    steps = recipe.epochs * steps_per_epoch
    warmup = min(warmup_epochs * steps_per_epoch, steps / 4)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return share(Position(step - warmup, steps - warmup, steps_per_epoch, scores), recipe)
