"""Values of a recipe that a search chooses: which may be choices, and the rules that they keep."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import UserError
from nas.training import recipe_file
from nas.training.recipe import Recipe, check_fits

if TYPE_CHECKING:
    from nas.data import DataSet

# Rungs and pruners compare trials epoch by epoch and by one metric; memory is no question of
# accuracy; a method comes with its teacher or none.
SAME_FOR_ALL = (
    "training.epochs", "training.epoch_updates", "training.early_stopping", "training.metric",
    "training.folds", "training.accumulation_steps", "method.name",
)  # fmt: skip


def check(choices: Mapping[str, Sequence[Any]], recipes: Iterable[Recipe], data: "DataSet") -> None:
    """Check a search space's choices by a recipe's keys, in each of the recipes they are put into.

    Raises UserError for a key that is unknown or the same for all trials, a value that is out of
    its range, and one that the recipe or the data forbid.
    """
    recipes = tuple(recipes)
    for key, option in ((key, option) for key, options in choices.items() for option in options):
        try:
            if key in SAME_FOR_ALL:
                raise UserError(f"no choice: all trials share {', '.join(SAME_FOR_ALL)}.")
            for recipe in recipes:
                check_fits(recipe_file.changed(recipe, {key: option}), data)
        except UserError as error:
            raise UserError(f"The search space's recipe, {key} = {option!r}: {error}") from None


def chosen(
    choices: Mapping[str, Sequence[Any]], base: Recipe, recipe: Recipe
) -> dict[str, Any] | None:
    """Return the values among the choices that turn the base into a recipe; None where none do.

    Of a value without effect, such as the magnitude of no RandAugment, it is the first choice.
    """
    values = recipe_file.values(recipe)
    found = {
        key: values[key] if values[key] in options else options[0]
        for key, options in choices.items()
    }
    return found if recipe_file.changed(base, found).hash == recipe.hash else None
