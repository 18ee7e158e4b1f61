"""How long trainings are where the time limit is short: a few of them have to end within it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas import quantities
from nas.config import Config
from nas.study.finalists import RESERVED
from nas.study.options import SearchOptions
from nas.training.recipe import Recipe

ENOUGH = 8  # trials that the searching part of the time has to hold
PLANNED = 0.8  # of the time: trainings side by side are slower than one alone
LENGTHS = ("training.epochs", "training.epoch_updates")


def is_given(options: SearchOptions) -> bool:
    """Tell whether the user said how long a training is."""
    words = {word.partition("=")[0] for word in options.set}
    return bool(options.epochs or options.recipe or words.intersection(LENGTHS))


def as_stored(config: Config, study: Mapping[str, Any]) -> Config:
    """Return a configuration with the recipes of a stored one where they are its own, shorter."""
    stored = Config.from_json(study)
    finals = config.finals
    if finals is not None and stored.finals is not None:
        finals = replace(finals, recipe=_as_stored(finals.recipe, stored.finals.recipe))
    return replace(config, recipe=_as_stored(config.recipe, stored.recipe), finals=finals)


def _as_stored(recipe: Recipe, stored: Recipe) -> Recipe:
    shorter = 0 < stored.epoch_updates < recipe.epoch_updates
    return stored if shorter and _updates(stored, recipe.epoch_updates) == recipe else recipe


def parts(
    seconds: float, trials: int | None, workers: int, each: float, full: float
) -> tuple[float, float]:
    """Return the parts of a trial and of a training in full that a limit in seconds has time for.

    Whole they take `each` and `full` seconds; `full` is 0 where nothing is trained in full. A few
    trials, or all there are, and a training in full on each worker are to end.
    """
    ends = PLANNED * RESERVED * seconds if full else 0.0
    wanted = min(trials or ENOUGH, ENOUGH) * each / workers
    fits = (PLANNED * seconds - ends) / wanted if wanted else 1.0
    return min(1.0, fits), min(1.0, ends / full) if full else 1.0


def shortened(config: Config, part: float, final_part: float) -> Config:
    """Return a configuration whose trials and trainings in full are these parts as long."""
    finals = config.finals
    if finals is not None:
        finals = replace(finals, recipe=_part(finals.recipe, final_part))
    return replace(config, recipe=_part(config.recipe, part), finals=finals)


def sentence(before: Config, after: Config, seconds: float) -> str:
    """Say by how much trainings are shorter than they should be."""
    recipes = [("a trial", before.recipe, after.recipe)]
    if before.finals is not None and after.finals is not None:
        recipes.append(("a finalist", before.finals.recipe, after.finals.recipe))
    shorter = " and ".join(
        f"{what} has {short.epoch_updates} updates an epoch, not the {full.epoch_updates} that it "
        "should have"
        for what, full, short in recipes
        if short != full
    )
    return (
        f"{shorter}: a few trainings, and one in full, have to end within "
        f"{quantities.duration(seconds)}. More --time, a smaller --target-flops or --resolution "
        "gives better networks"
    )


def _part(recipe: Recipe, part: float) -> Recipe:
    return _updates(recipe, max(1, int(recipe.epoch_updates * part)))


def _updates(recipe: Recipe, updates: int) -> Recipe:
    return replace(recipe, epoch_updates=updates)
