"""Recipes as people see and write them: values in tables, a TOML file, words such as key=value.

A key is a table's name and a setting's, `optimiser.learning_rate`; the setting that a table is
named for is its `name`, `optimiser.name`. Importing this module imports no torch.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from nas.errors import UserError, unknown
from nas.files.reading import parse_toml, read_toml
from nas.quantities import plain
from nas.training import augmentations
from nas.training.augmentations import OPERATIONS
from nas.training.recipe import Recipe, declared

GROUPS = ("training", "optimiser", "schedule", "loss", "regularisation", "method", "augmentation")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
Values = Mapping[str, Any]
"""Values of a recipe by their keys: all of them, or some."""


@dataclass(frozen=True)
class RecipeKey:
    """A value that people set in a recipe, with its key, what it does, and its limits as text.

    At an `optional` key's default a recipe is the same without it. `default` is None where it
    depends on the data.
    """

    key: str
    words: str
    default: Any
    low: str
    high: str
    names: Sequence[str] = ()
    optional: bool = True
    kind: type = float

    def checked(self, value: Any) -> Any:
        """Return a value as its type; raises UserError with the rule for any other and for NaN."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise UserError(f"{self.key} is {_KINDS[self.kind]}, not {value!r}.")
        table, _, name = self.key.partition(".")
        if table == "augmentation":
            augmentations.switched_on(augmentations.off() | {name: value})
        else:
            field = table if name == "name" else name
            declared()[field].check(field, value)
        return value


def recipe_keys() -> dict[str, RecipeKey]:
    """Return all values of a recipe by their keys, table by table."""
    found = {}
    types = {each.name: each for each in fields(Recipe)}
    usual = augmentations.tuned()
    for name, setting in declared().items():
        key = f"{setting.group}.{'name' if name == setting.group else name}"
        default = types[name].default
        found[key] = RecipeKey(
            key, setting.words, None if default is MISSING else default, *setting.limits,
            tuple(setting.registry or ()), setting.neutral and name != setting.group,
            types[name].type,  # type: ignore[arg-type]
        )  # fmt: skip
    for name, row in OPERATIONS.items():
        key, limits = f"augmentation.{name}", (f"{row.low:g}", f"{row.high:g}")
        kind = bool if isinstance(row.neutral, bool) else float
        limits = ("", "") if kind is bool else limits
        words = row.words.format(usual.get(name, row.high))
        words = words if kind is bool or name in usual else f"at {row.high:g}: {words}"
        default, optional = usual.get(name, row.neutral), name not in usual
        found[key] = RecipeKey(key, words, default, *limits, optional=optional, kind=kind)
    return {key: found[key] for key in sorted(found, key=_first)}


def _first(key: str) -> tuple[int, bool]:
    """Order keys by their tables, a table's `name` first."""
    table, _, name = key.partition(".")
    return GROUPS.index(table), name != "name"


def values(recipe: Recipe) -> dict[str, Any]:
    """Return all values of a recipe by their keys."""
    found = {}
    for key in recipe_keys():
        table, _, name = key.partition(".")
        if table == "augmentation":
            found[key] = recipe.augmentation.get(name, OPERATIONS[name].neutral)
        else:
            found[key] = getattr(recipe, table if name == "name" else name)
    return found


def build(given: Values, *, data: str, fingerprint: str, seed: int) -> Recipe:
    """Make a recipe of values; an augmentation that is left out is off."""
    return Recipe(data=data, fingerprint=fingerprint, seed=seed, **_fields(given))


def changed(recipe: Recipe, given: Values) -> Recipe:
    """Return a recipe with other values; raises UserError as `checked` and the recipe do."""
    others = _fields({key: checked(key, value) for key, value in given.items()})
    augmentation = dict(recipe.augmentation) | others.pop("augmentation")
    return replace(recipe, augmentation=augmentation, **others)


def _fields(given: Values) -> dict[str, Any]:
    """Return values by the fields of a recipe, the augmentations in one of them."""
    known: dict[str, Any] = {"augmentation": {}}
    for key, value in given.items():
        table, _, name = key.partition(".")
        into = known["augmentation"] if table == "augmentation" else known
        into[table if name == "name" else name] = value
    return known


def grouped(given: Values) -> dict[str, dict[str, Any]]:
    """Return values as tables."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        table, _, name = key.partition(".")
        found.setdefault(table, {})[name] = value
    return found


def checked(key: str, value: Any) -> Any:
    """Return the value of a key as its type; raises UserError for an unknown key, a wrong value."""
    table, dot, name = key.partition(".")
    if table not in GROUPS:
        raise UserError(unknown("table of a recipe", table, GROUPS))
    known = {
        key.partition(".")[2]: row for key, row in recipe_keys().items() if key.startswith(table)
    }
    if not dot:
        raise UserError(f"{table} is a table of a recipe; its keys: {', '.join(known)}.")
    if name not in known:
        raise UserError(unknown(f"key of a recipe's table {table}", name, known))
    return known[name].checked(value)


def read(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read values from tables or keys; raises UserError that begins with `where` it stands."""
    found = {}
    for key, value in _flat(given):
        try:
            found[key] = checked(key, plain(value))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return found


def _flat(given: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for table, content in given.items():
        if isinstance(content, Mapping):
            yield from ((f"{table}.{name}", value) for name, value in content.items())
        else:
            yield table, content


def read_word(word: str, flag: str) -> tuple[str, Any]:
    """Read key=value, the value as TOML, where a name needs no quotes."""
    key, equals, text = word.partition("=")
    if not equals:
        raise UserError(f"{flag} is key=value, such as optimiser.learning_rate=3e-3, not {word!r}.")
    try:
        value = parse_toml(f"value = {text}", flag)["value"]
    except UserError:
        value = text.strip()
    (found,) = read({key.strip(): value}, f"{flag} {word}").items()
    return found


def read_file(path: str) -> dict[str, Any]:
    """Read the values of a TOML file; raises UserError with the file's name."""
    try:
        content = read_toml(path)
    except UserError as error:
        raise UserError(f"--recipe {path} can't be read as TOML: {error}") from None
    return read(content, f"--recipe {path}")


def word(key: str, value: Any) -> str:
    """Write a value as key=value; `read_word` reads it back."""
    return f"{key}={json.dumps(value)}"


def shown(recipe: Recipe, default: Recipe) -> dict[str, Any]:
    """Return the values that a file of the recipe has: not the optional ones that `default` has."""
    usual, known = values(default), recipe_keys()
    return {
        key: value
        for key, value in values(recipe).items()
        if not (known[key].optional and value == known[key].default == usual[key])
    }


def toml(recipe: Recipe, default: Recipe) -> str:
    """Write a recipe as a TOML file that says what each value does and where `default` differs.

    Read over `default` it is the same recipe.
    """
    known, usual = recipe_keys(), values(default)
    lines = [f"# {line}" for line in textwrap.wrap(recipe.describe(), 98)]
    for table, content in grouped(shown(recipe, default)).items():
        lines += ["", f"[{table}]"]
        width = max(len(f"{name} = {json.dumps(value)}") for name, value in content.items())
        for name, value in content.items():
            key = f"{table}.{name}"
            mark = "" if value == usual[key] else f"[default {json.dumps(usual[key])}] "
            line = f"{name} = {json.dumps(value)}"
            lines.append(f"{line:{width}}  # {mark}{_said(known[key], recipe)}")
    return "\n".join(lines)


def _said(row: RecipeKey, recipe: Recipe) -> str:
    """Return what a value does; of an augmentation that is on, with its strength."""
    table, _, name = row.key.partition(".")
    if table != "augmentation":
        return row.words
    strength = recipe.augmentation.get(name)
    return "off" if strength is None else OPERATIONS[name].words.format(strength)


def table() -> str:
    """Return the table of all values for the documents."""
    lines = ["| key | from | to | default | does |", "| --- | --- | --- | --- | --- |"]
    for row in recipe_keys().values():
        default = "by the data" if row.default is None else f"`{json.dumps(row.default)}`"
        names = f": {', '.join(f'`{name}`' for name in row.names)}" if row.names else ""
        lines.append(f"| `{row.key}` | {row.low} | {row.high} | {default} | {row.words}{names} |")
    return "\n".join(lines)
