"""The verbs about recipes: list, show, diff. Importing this module imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, Store, argument
from nas.commands._values import Several
from nas.commands.studies import reading
from nas.errors import StoreError, UserError, unknown
from nas.report.tables import Lines, Table

if TYPE_CHECKING:
    from nas.training.recipe import Recipe

Name = Annotated[str, argument("A recipe's name, a .toml file, a study's name, or STUDY:TRIAL.")]
Data = Annotated[
    str | None, Help("Data set that a named recipe or a file is for, as in nas search; digits.")
]


def recipes() -> Several[dict[str, Any]]:
    """List the named recipes."""
    from nas.training import recipes as registry

    values = [{"name": name, "words": registry.words(name)} for name in registry.names()]
    rows = [list(each.values()) for each in values]
    return Several(values, lambda _: [Table(["name", "what it is"], rows)])


@dataclass(frozen=True)
class ShownRecipe:
    """A recipe beside the default one."""

    name: str
    recipe: "Recipe"
    default: "Recipe"

    def to_json(self) -> dict[str, Any]:
        """Return all values by their tables, and the keys of those that are not the default's."""
        from nas.training import recipe_file

        values, usual = recipe_file.values(self.recipe), recipe_file.values(self.default)
        return {
            "name": self.name,
            "data": self.recipe.data,
            "hash": self.recipe.hash,
            "description": self.recipe.describe(),
            "values": recipe_file.grouped(values),
            "differs": [key for key, value in values.items() if value != usual[key]],
        }

    def lines(self) -> Lines:
        """Write the recipe as a TOML file that --recipe takes."""
        from nas.training import recipe_file

        yield f"# {self.name} for {self.recipe.data}, recipe {self.recipe.hash}"
        yield recipe_file.toml(self.recipe, self.default)


def recipe_show(name: Name, *, data: Data = None, store: Store = None) -> ShownRecipe:
    """Show a recipe as a file for --recipe: what each value does, and where it is no default."""
    from nas.training.recipe import Recipe
    from nas.training.recipes import default_balance

    recipe, default = _read(name, data, store)
    if default is None:
        default = Recipe(
            recipe.data,
            recipe.fingerprint,
            recipe.epochs,
            epoch_updates=recipe.epoch_updates,
            class_balance=default_balance(recipe.metric),
        )
    return ShownRecipe(name, recipe, default)


@dataclass(frozen=True)
class RecipeDiff:
    """The values in which two recipes differ, by their keys."""

    names: tuple[str, str]
    differences: dict[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the differences as a list."""
        rows = self.differences.items()
        listed = [{"key": key, "first": first, "second": second} for key, (first, second) in rows]
        return {"first": self.names[0], "second": self.names[1], "differences": listed}

    def lines(self) -> Lines:
        """Show the differences side by side."""
        rows = [[key, *map(_text, pair)] for key, pair in self.differences.items()]
        yield Table(["key", *self.names], rows) if rows else "the same recipe"


def recipe_diff(first: Name, second: Name, *, data: Data = None, store: Store = None) -> RecipeDiff:
    """Show the values in which two recipes differ."""
    from nas.training import recipe_file

    pair = [recipe_file.values(_read(name, data, store)[0]) for name in (first, second)]
    both = {key: (pair[0][key], pair[1][key]) for key in pair[0]}
    return RecipeDiff((first, second), {k: v for k, v in both.items() if v[0] != v[1]})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(name: str, data: str | None, store: str | None) -> "tuple[Recipe, Recipe | None]":
    """Return a recipe and the default for its data, which a study without `data` has not."""
    from nas.config import CACHE
    from nas.data import load
    from nas.training import recipes as registry

    named = name.endswith(".toml") or name in registry.names()
    recipe = None if named else _of_study(name, store)
    if recipe is not None and data is None:
        return recipe, None
    images = load(data or "digits", cache_dir=Path("studies", CACHE))
    recipe = recipe or registry.compose(images, name)
    return recipe, registry.default_recipe(images, metric=recipe.metric)


def _of_study(name: str, store: str | None) -> "Recipe":
    from nas.config import Config
    from nas.store import queries
    from nas.training.recipe import Recipe
    from nas.training.recipes import names

    study, colon, number = name.rpartition(":")
    try:
        with reading(store) as connection:
            if colon and number.isdecimal():
                trial = queries.trial(connection, queries.study(connection, study).id, int(number))
                return Recipe.from_json(queries.recipe(connection, trial.recipe_hash))
            return Config.from_json(queries.study(connection, name).config).recipe
    except StoreError as error:
        raise UserError(
            f"{unknown('recipe', name, names())} It is no .toml file and no study: {error}"
        ) from None
