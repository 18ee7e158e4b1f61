"""A search space as JSON and back, so that it travels over a wire without Python.

`schema.json` beside this file is the published JSON Schema.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nas.cost import Limits
from nas.errors import SpaceError
from nas.search_space.nodes import (
    BlockSpec,
    Choice,
    Compound,
    Description,
    PerLayer,
    Scaled,
    Stage,
)

FORMAT = "nas.search_space/1"
FIELDS = ("resolution", "dropout", "in_channels", "classes")
STAGE_FIELDS = ("block", "width", "depth", "stride")
Read = Callable[[Any, str], Any]


def to_json(space: Description) -> dict[str, Any]:
    """Return the space as plain data."""
    data: dict[str, Any] = {"format": FORMAT, "name": space.name}
    data |= {name: _write(getattr(space, name)) for name in FIELDS}
    if space.scaling:
        data["scaling"] = {name: _write(value) for name, value in vars(space.scaling).items()}
    limits = {name: limit for name, limit in space.limits._asdict().items() if limit is not None}
    if limits:
        data["limits"] = limits
    for part in ("stem", "stages", "head"):
        stages: tuple[Stage, ...] = getattr(space, part)
        data[part] = [
            {name: _write(getattr(stage, name)) for name in STAGE_FIELDS} for stage in stages
        ]
    return data


def _write(value: Any) -> Any:
    match value:
        case Choice(options, None):
            return {"choice": [_write(option) for option in options]}
        case Choice(options, name):
            return {"choice": [_write(option) for option in options], "name": name}
        case PerLayer(chosen):
            return {"per_layer": _write(chosen)}
        case Scaled(base, multiplier, divisor):
            return {"base": base, "multiplier": _write(multiplier), "divisor": divisor}
        case BlockSpec(name, options):
            return {"block": name} | {key: _write(option) for key, option in options}
        case _:
            return value


def from_json(data: Any) -> dict[str, Any]:
    """Return the arguments of SearchSpace; raises SpaceError where the form is wrong."""
    fields = _object(data, "a search space", required=("format", "name", "stages"))
    if fields.pop("format") != FORMAT:
        raise SpaceError(f'A search space is an object with "format": "{FORMAT}".')
    arguments: dict[str, Any] = {"name": fields.pop("name")}
    for part in ("stem", "stages", "head"):
        stages = fields.pop(part, [])
        if not isinstance(stages, list):
            raise SpaceError(f"{part} is a list of stages, not {stages!r}.")
        named = [f"{part} {number}" for number in range(1, len(stages) + 1)]
        arguments[part] = [_stage(*pair) for pair in zip(stages, named, strict=True)]
    if "scaling" in fields:
        scaling = _object(fields.pop("scaling"), "scaling", optional=tuple(vars(Compound())))
        arguments["scaling"] = Compound(**{k: _value(v, k) for k, v in scaling.items()})
    if "limits" in fields:
        arguments["limits"] = Limits.checked(**_object(fields.pop("limits"), "limits"))
    for name in FIELDS:
        if name in fields:
            arguments[name] = _value(fields.pop(name), name)
    if fields:
        raise SpaceError(f"A search space has no field {', '.join(map(repr, fields))}.")
    return arguments


def _stage(data: Any, where: str) -> Stage:
    fields = _object(data, where, required=("block", "width"), optional=("depth", "stride"))
    arguments = {name: _value(value, where) for name, value in fields.items() if name != "block"}
    return Stage(block=_value(fields["block"], where, _block), **arguments)


def _value(data: Any, where: str, plain: Read | None = None) -> Any:
    """Read a value, a choice or a choice per layer; `plain` reads what is neither."""
    if isinstance(data, Mapping):
        if "choice" in data:
            fields = _object(data, where, required=("choice",), optional=("name",))
            if not isinstance(fields["choice"], list):
                raise SpaceError(f"{where}: a choice is a list, not {fields['choice']!r}.")
            options = tuple(plain(o, where) if plain else o for o in fields["choice"])
            return Choice(options, fields.get("name"))
        if "per_layer" in data:
            fields = _object(data, where, required=("per_layer",), optional=())
            chosen = _value(fields["per_layer"], where, plain)
            if not isinstance(chosen, Choice):
                raise SpaceError(f"{where}: per_layer holds a choice, not {chosen!r}.")
            return PerLayer(chosen)
        if "base" in data:
            fields = _object(data, where, required=("base", "multiplier"), optional=("divisor",))
            multiplier = _value(fields["multiplier"], where)
            return Scaled(fields["base"], multiplier, fields.get("divisor", 8))
    return plain(data, where) if plain else data


def _block(data: Any, where: str) -> BlockSpec:
    fields = _object(data, where, required=("block",))
    name = fields.pop("block")
    if not isinstance(name, str):
        raise SpaceError(f"{where}: a block's name is text, not {name!r}.")
    options = {key: _value(value, f"{where}.{key}") for key, value in fields.items()}
    return BlockSpec(name, tuple(sorted(options.items())))


def _object(
    data: Any,
    where: str,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Return a copy of a JSON object that has what it needs; `optional` None allows anything."""
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where} is an object, not {data!r}.")
    missing = [name for name in required if name not in data]
    if missing:
        raise SpaceError(f"{where} needs {', '.join(missing)}.")
    if optional is not None and (unknown := data.keys() - {*required, *optional}):
        names = ", ".join(sorted(map(str, unknown)))
        raise SpaceError(f"{where} has no field {names}; fields: {', '.join(required + optional)}.")
    return dict(data)
