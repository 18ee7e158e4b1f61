"""The registry of named recipes: a module with `values(data)` is one; its docstring says which.

`values` returns tables as a recipe's TOML file has them. What they leave out is the default for the
data; the augmentations that a data set forbids, or that its images have too few channels for, are
left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from nas.errors import UserError, unknown
from nas.registry import Registry
from nas.training import augmentations, metrics, recipe_file
from nas.training.augmentations import OPERATIONS
from nas.training.recipe import Recipe, check_fits

if TYPE_CHECKING:
    from nas.data import DataSet

DEFAULT = "short"
EPOCHS = 20  # after each the network is validated, and may be stopped or pruned

# The power that classes are weighed by where the metric counts rare and frequent ones alike: 0
# finds fewer rare ones, 1 unlearns the frequent. python -m benchmarks.recipe_tuning balance
BALANCE = 0.5
_WEIGHING = {"loss.name", "loss.class_weights", "loss.class_balance", "training.balanced_sampling"}


class NamedRecipe(Protocol):
    """A module of this package."""

    __doc__: str

    def values(self, data: "DataSet") -> Mapping[str, Mapping[str, Any]]:
        """Return the recipe's tables for a data set."""


_registry: Registry[NamedRecipe] = Registry("recipe", __name__)
names, get = _registry.names, _registry.get

# The updates of a short training by the number n of train images: PER_ROOT times the root of n, but
# from FEWEST_PASSES to MOST_PASSES over the images, and LEAST at least. To tune them: python -m
# benchmarks.recipe DATA training.epoch_updates=N, on train and validation images of several sets.
# On 546 images of 28 px 240 updates were too few for a final training and 2,700 too many; 850 to
# 1,000 were best. A search ranks networks in fewer.
LONGER = 1.8  # times the updates of a short training, for a network that is trained in full
LEAST, PER_ROOT, FEWEST_PASSES, MOST_PASSES = 500, 22.0, 5, 20
BATCH = 64

# A validation split with fewer images than ENOUGH is too small to rank networks: the standard error
# of an accuracy of 0.9 is more than 2 points. A trial is then scored on SEARCH_FOLDS, and trains as
# many networks; a training in full is on FINAL_FOLDS, whose networks see more of the images.
ENOUGH, SEARCH_FOLDS, FINAL_FOLDS = 225, 3, 5


def words(name: str) -> str:
    """Return what a named recipe is: the first line of its module's docstring."""
    return get(name).__doc__.partition("\n")[0]


def default_updates(images: int) -> int:
    """Return the default number of updates for a train split of this many images."""
    one_pass, by_root = images / BATCH, PER_ROOT * math.sqrt(images)
    passes = min(max(by_root, FEWEST_PASSES * one_pass), MOST_PASSES * one_pass)
    return round(max(LEAST, passes))


def default_balance(metric: str) -> float:
    """Return the power that classes of an image each are weighed by, by default, for a metric."""
    row = metrics.METRICS.get(metric)
    return BALANCE if row is not None and row.balanced else 0.0


def epochs_of(updates: float) -> dict[str, int]:
    """Divide a training into epochs; after each the network is validated."""
    return {"epochs": EPOCHS, "epoch_updates": math.ceil(updates / EPOCHS)}


def check(recipe: str) -> None:
    """Raise UserError unless this is a recipe's name or a file that holds one."""
    if recipe.endswith(".toml"):
        recipe_file.read_file(recipe)
    elif recipe not in names():
        raise UserError(f"{unknown('recipe', recipe, names())} A file's name ends with .toml.")


def compose(
    data: "DataSet",
    recipe: str = DEFAULT,
    *,
    given: Mapping[str, Any] | None = None,
    words: Sequence[str] = (),
    folds: int | None = None,
    digests: Mapping[str, str] | None = None,
) -> Recipe:
    """Return a named recipe, or a file's, for a data set.

    The metric of images with several labels is AUROC where nothing else is asked for: accuracy
    hardly tells networks apart where most labels are absent. Classes are weighed by
    `default_balance` where nothing says how.
    The `digests` of a teacher and of images without labels make it a recipe of their method, where
    it names none; then folds are not automatic.
    The fields `given` (epochs, metric, seed) win over it, and `words`, such as
    optimiser.learning_rate=3e-3, over all. Where none of these has `folds`, they are automatic: at
    most so many. An epoch is a pass over the train split where epochs are
    set without `epoch_updates`. Raises UserError for what can't be trained, DataError where the
    data forbid it.
    """
    check(recipe)
    fields = {key: value for key, value in (given or {}).items() if value is not None}
    seed, is_file = fields.pop("seed", 0), recipe.endswith(".toml")
    usual = {"training.metric": "auroc"} if data.task == "labels" else {}
    if digests:  # folds would be scored by a teacher that has seen them
        usual |= {"method.name": "noisy_student" if "unlabelled" in digests else "distillation"}
        folds = None
    layers = [
        _named(data, DEFAULT) | usual | _automatic(data, folds),
        recipe_file.read_file(recipe) if is_file else _named(data, recipe),
        {f"training.{name}": value for name, value in fields.items()},
        dict(recipe_file.read_word(word, "--set") for word in words),
    ]
    values: dict[str, Any] = {}
    for layer in layers:
        if "training.epochs" in layer:
            values["training.epoch_updates"] = 0
        values |= layer
    if data.task == "classes" and _WEIGHING.isdisjoint(values):
        values["loss.class_balance"] = default_balance(values.get("training.metric", ""))
    built = recipe_file.build(values, data=data.name, fingerprint=data.fingerprint, seed=seed)
    check_fits(built, data)
    learnt: dict[str, Any] = dict(digests or {})
    return replace(built, metric=metrics.resolve(built.metric, data.classes), **learnt)


def lengthened(recipe: Recipe) -> Recipe:
    """Return a recipe of the same values for a network that is trained in full: a longer one."""
    return replace(recipe, epochs=math.ceil(LONGER * recipe.epochs), ladder=())


def _automatic(data: "DataSet", folds: int | None) -> dict[str, int]:
    """Return the folds of data whose validation split is too small, at most so many."""
    if folds is None or len(data.splits["validation"]) >= ENOUGH:
        return {}
    from nas.data.folds import possible

    return {"training.folds": possible(data, folds)}


def _named(data: "DataSet", name: str) -> dict[str, Any]:
    """Return a named recipe's values, less the augmentations that the data can't have."""
    layer = recipe_file.read(get(name).values(data), f"recipe {name}")
    strengths = recipe_file.grouped(layer).get("augmentation", {})
    missing = data.forbids.union(augmentations.too_few_channels(strengths, data.in_channels))
    return layer | {f"augmentation.{op}": OPERATIONS[op].neutral for op in missing}


def default_recipe(
    data: "DataSet", *, metric: str | None = None, epochs: int | None = None, seed: int = 0
) -> Recipe:
    """Return the default recipe for a data set: with `epochs`, of as many passes over it."""
    return compose(data, given={"metric": metric, "epochs": epochs, "seed": seed})
