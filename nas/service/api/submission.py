"""A search as it is submitted: the options of `nas search`, less those that are the server's own.

The JSON schema of a submission and its checks derive from the options' declaration. A search space
is a name or JSON, a recipe a name or JSON tables, data a name, a path below a data root, or an
upload: nothing of a request is opened as another path, imported or fetched.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nas.data import medmnist
from nas.data import names as data_names
from nas.errors import NasError, SpaceError, UserError, unknown
from nas.files import shipped
from nas.service.api.problems import Fault, Problem, pointer
from nas.study import options
from nas.study.options import Declared, servers
from nas.training import recipe_file, recipes

UPLOAD = "upload:"
HIGHEST = 100  # priority
MOST_FAULTS = 20  # that are told
_AMOUNT = r"^\s*[0-9]*\.?[0-9]+\s*[A-Za-z]*\s*$"
FindUpload = Callable[[str], Path]


@dataclass(frozen=True)
class Submission:
    """A search that was checked: its title, its priority, the options that a worker runs."""

    title: str
    priority: int
    options: dict[str, Any]


@cache
def submittable() -> Mapping[str, Declared]:
    """Return the options of a search that a client may set."""
    return {name: one for name, one in options.declared().items() if name not in servers()}


def read(body: Any, roots: Sequence[Path], find_upload: FindUpload) -> Submission:
    """Check a submission; raises Problem with the faults that options have by themselves.

    `find_upload` returns an upload's file, or raises NotFound.
    """
    if not isinstance(body, dict):
        raise _problem([Fault("A submission is a JSON object of options.", pointer())])
    given = {name: value for name, value in body.items() if value is not None}
    words: dict[str, Any] = {}
    faults = []
    for name, value in given.items():
        try:
            words |= _read(name, value, roots, find_upload)
        except UserError as error:
            faults.append(Fault(str(error), pointer(name), options=_valid(name)))
            if len(faults) == MOST_FAULTS:  # whoever sends thousands does not read them
                break
    if faults:
        raise _problem(faults)
    words = _with_recipe(words)
    priority, title = words.pop("priority", 0), words.pop("study", None)
    try:
        space = read_space(words.get("space", default("space")))
        options.check(options.read({**words, "space": space}))
    except UserError as error:
        raise _problem([Fault(str(error), _pointer_of(error))]) from None
    return Submission(title or _title(words, given), priority, words)


def default(name: str) -> Any:
    """Return the default of an option."""
    return options.declared()[name].default


def refused(name: str, text: str) -> Problem:
    """Return the problem of one option."""
    return _problem([Fault(text, pointer(name))])


def _problem(faults: list[Fault]) -> Problem:
    detail = faults[0].detail if len(faults) == 1 else f"The search has {len(faults)} mistakes."
    return Problem(422, detail, kind="invalid-search", faults=faults)


def _read(name: str, value: Any, roots: Sequence[Path], find_upload: FindUpload) -> dict[str, Any]:
    """Return what an option that a client gives is to a worker."""
    if name in servers():
        raise UserError(f"{name!r} is set where the server is started, not by a search.")
    if name == "priority":
        if type(value) is not int or abs(value) > HIGHEST:
            raise UserError(
                f"priority is a whole number from -{HIGHEST} to {HIGHEST}, not {value!r}."
            )
        return {name: value}
    if name not in submittable():
        known = [*submittable(), "priority"]
        raise UserError(unknown("option", name, known, listing="Submission in /openapi.json"))
    if name == "space":
        read_space(value)
        return {name: value}
    if name == "data":
        return {name: source(value, roots, find_upload)}
    if name == "recipe":
        return {name: _recipe(value)}
    checked = submittable()[name].checked(value)
    return {name: list(checked) if name == "set" else value}


def read_space(value: Any) -> Any:
    """Return a space by its name, or of JSON; raises SpaceError."""
    if isinstance(value, dict):
        from nas.search_space import SearchSpace

        return SearchSpace.from_json(value)
    return check_name(value)


def check_name(value: Any) -> str:
    """Return the name of a shipped space or network; raises SpaceError for anything else."""
    if (listed := shipped.listed()) is None:
        from nas.search_space import names

        known = names()
    else:
        known = [each["name"] for each in listed]
    if not isinstance(value, str) or value not in known:
        text = unknown("search space", value, known, listing="/api/v1/spaces")
        raise SpaceError(f"{text} Or give the space as JSON.")
    return value


def source(value: Any, roots: Sequence[Path], find_upload: FindUpload) -> str:
    """Return data as a worker reads it: a name, or an absolute path; raises UserError.

    A path outside of the data roots is refused in the same words whether it exists or not.
    """
    if not isinstance(value, str) or not value:
        raise UserError(f"data is a name, a path below a data root, or {UPLOAD}ID, not {value!r}.")
    if value in named_data():
        return value
    if value.startswith(UPLOAD):
        return str(find_upload(value.removeprefix(UPLOAD)))
    for root in roots:
        with suppress(OSError, ValueError):  # a name that no file can have
            path, top = Path(root, value).resolve(), root.resolve()
            if path.is_relative_to(top) and path.exists():
                return str(path)
    where = "below the data roots" if roots else "here: the server has no data root"
    raise UserError(
        f"No such data {where}. {unknown('data set', value, named_data(), listing='/api/v1/data')} "
        f"Or send the data first: POST /api/v1/uploads, then {UPLOAD}ID."
    )


def named_data() -> list[str]:
    """Return the names of data sets."""
    return [*data_names(), *medmnist.names()]


def _recipe(value: Any) -> Any:
    """Return a recipe's name, or the values of its tables by their keys."""
    if isinstance(value, dict):
        return recipe_file.read(value, "recipe")
    if not isinstance(value, str) or value not in recipes.names():
        raise UserError(f"{unknown('recipe', value, recipes.names())} Or give its tables as JSON.")
    return value


def _with_recipe(words: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a recipe's tables into words of `set`, as little in effect as a recipe's file is.

    Options such as `epochs` win over a file's values, and so over these.
    """
    if not isinstance(values := words.get("recipe"), dict):
        return dict(words)
    won = {f"training.{name}" for name, one in options.declared().items() if one.recipe}
    won &= {f"training.{name}" for name in words}
    tables = [recipe_file.word(*pair) for pair in values.items() if pair[0] not in won]
    others = {name: value for name, value in words.items() if name != "recipe"}
    return others | {"set": [*tables, *words.get("set", ())]}


def _title(words: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Name a search by its space and its data, as the client calls them."""
    space = words.get("space", default("space"))
    name = space if isinstance(space, str) else str(space["name"])
    return f"{name}-{os.path.basename(given.get('data', default('data')))}"[:100]


def _valid(name: str) -> list[str]:
    if name not in submittable():
        return [*submittable(), "priority"]
    names = submittable()[name].names
    return [] if names is None else list(names())


def _pointer_of(error: NasError) -> str:
    """Return where a fault is that begins with an option's flag, else the whole body."""
    flag = str(error).partition(" ")[0]
    named = [name for name, one in submittable().items() if one.flag == flag]
    return pointer(*named)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a submission."""
    properties = {name: _property(one) for name, one in submittable().items()}
    properties["priority"] = {
        "type": "integer", "minimum": -HIGHEST, "maximum": HIGHEST, "default": 0,
        "description": "Searches of a higher priority begin first.",
    }  # fmt: skip
    return {
        "type": "object",
        "description": "The options of nas search, by their names; null is the default.",
        "properties": properties,
        "additionalProperties": False,
        "examples": [{"space": "mixconv", "data": "digits", "target_flops": "2M", "trials": 2}],
    }


def _property(one: Declared) -> dict[str, Any]:
    facts: dict[str, Any] = {"description": f"{one.help} Default: {one.default_text}."}
    if one.name in ("space", "recipe"):
        kinds = [{"type": "string", **_enumerated(one.name)}, {"type": "object"}]
    elif one.name == "set":
        kinds = [{"type": "array", "items": {"type": "string"}}, {"type": "object"}]
    elif one.types[0] is tuple:
        kinds = [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]
    elif one.names is not None:
        kinds = [{"type": "string", "enum": list(one.names())}]
    elif one.read is not None and one.types[0] is not str:
        kinds = [{"type": "string", "pattern": _AMOUNT}, {"type": "number", "exclusiveMinimum": 0}]
    else:
        word = {str: "string", int: "integer", float: "number", bool: "boolean"}[one.types[0]]
        limits = {"minimum": one.at_least, "maximum": one.at_most}
        kinds = [
            {"type": word} | {key: value for key, value in limits.items() if value is not None}
        ]
    return facts | {"anyOf": [*kinds, {"type": "null"}]}


def listed(name: str) -> list[str]:
    """Return the names of the recipes or of the spaces there are."""
    if name == "recipe":
        return list(recipes.names())
    return [each["name"] for each in shipped.listed() or ()]


def _enumerated(name: str) -> dict[str, Any]:
    return {"enum": names} if (names := listed(name)) else {}
