"""The registry of the learning rate's schedules: a row of `SCHEDULES` is one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class LearningRateSchedule:
    """The learning rate after the warm-up.

    `words` name it; `share(step, steps)` returns the factor of the recipe's learning rate in a
    step, counted from 0, of all steps after the warm-up.
    """

    words: str
    share: Callable[[float, float], float]


SCHEDULES = {
    # Loshchilov, Hutter, 2016, arXiv:1608.03983
    "cosine": LearningRateSchedule(
        "warm-up and cosine", lambda step, steps: 0.5 * (1 + math.cos(math.pi * step / steps))
    ),
}


def learning_rate(recipe: "Recipe", step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step (from 0): a line up, then the schedule."""
    steps = recipe.epochs * steps_per_epoch
    warmup = min(recipe.warmup_epochs * steps_per_epoch, steps / 4)
    if step < warmup:
        return recipe.learning_rate * ((step + 1) / (warmup + 1))
    share = SCHEDULES[recipe.schedule].share(step - warmup, steps - warmup)
    return recipe.learning_rate * share
