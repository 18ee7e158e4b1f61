"""A search space as JSON and back, so that it travels over a wire without Python.

`schema.json` beside this file is the published JSON Schema.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from nas.architecture import Value
from nas.cost import Cost
from nas.errors import SpaceError, unknown
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
LATER = ("stem", "head", "classifier", "recipe", "scaling", "limits", "fit_kernels")
STAGE_FIELDS = ("block", "width", "depth", "stride")
Read = Callable[[Any, str], Any]


def to_json(space: Description) -> dict[str, Any]:
    """Return the space as plain data."""
    data: dict[str, Any] = {"format": FORMAT, "name": space.name}
    data |= {name: _write(getattr(space, name)) for name in FIELDS}
    if space.classifier:
        data["classifier"] = {name: _write(value) for name, value in space.classifier.items()}
    if space.recipe:
        data["recipe"] = {key: _write(chosen) for key, chosen in space.recipe.items()}
    if space.fit_kernels:  # spaces were stored before the field existed
        data["fit_kernels"] = True
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
        case Choice(options, name, written):
            data: dict[str, Any] = {"choice": [_write(option) for option in options]}
            data |= {} if name is None else {"name": name}
            return data | ({} if written is None else {"labels": list(written)})
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
    fields = _object(data, "a search space")
    if fields.pop("format", None) != FORMAT:
        raise SpaceError(f'A search space is an object with "format": "{FORMAT}".')
    optional = (*LATER, *FIELDS)
    fields = _object(fields, "a search space", required=("name", "stages"), optional=optional)
    arguments: dict[str, Any] = {"name": fields.pop("name")}
    for part in ("stem", "stages", "head"):
        arguments[part] = _stages(fields.pop(part, []), part)
    for part in ("classifier", "recipe"):
        if part in fields:
            given = _object(fields.pop(part), part)
            arguments[part] = {
                str(name): _value(value, f"{part}.{name}") for name, value in given.items()
            }
    if "scaling" in fields:
        scaling = _object(fields.pop("scaling"), "scaling", optional=tuple(vars(Compound())))
        values = {name: _value(value, f"scaling.{name}") for name, value in scaling.items()}
        arguments["scaling"] = Compound(**values)
    if "limits" in fields:
        arguments["limits"] = _object(fields.pop("limits"), "limits", optional=Cost._fields)
    return arguments | {name: _value(value, name) for name, value in fields.items()}


def _stages(data: Any, part: str) -> list[Stage]:
    if not isinstance(data, list):
        raise SpaceError(f"{part} is a list of stages, not {_shown(data)}.")
    named = "stage" if part == "stages" else part
    return [_stage(stage, f"{named}{number}") for number, stage in enumerate(data, start=1)]


def _stage(data: Any, where: str) -> Stage:
    fields = _object(data, where, required=("block", "width"), optional=("depth", "stride"))
    block = _value(fields.pop("block"), f"{where}.block", _block)
    width = _value(fields.pop("width"), f"{where}.width", _width)
    values = {name: _value(value, f"{where}.{name}") for name, value in fields.items()}
    return Stage(block=block, width=width, **values)


def _width(data: Any, where: str) -> Value | Scaled:
    if not isinstance(data, Mapping) or "base" not in data:
        return _plain(data, where)
    fields = _object(data, where, required=("base", "multiplier"), optional=("divisor",))
    values = {name: _value(value, f"{where}'s {name}") for name, value in fields.items()}
    return Scaled(**values)


def _value(data: Any, where: str, plain: Read | None = None) -> Any:
    """Read a value, a choice or a choice per layer; `plain` reads what is neither."""
    plain = plain or _plain
    if isinstance(data, Mapping) and "per_layer" in data:
        inner = _object(data, where, required=("per_layer",), optional=())["per_layer"]
        if not (isinstance(inner, Mapping) and "choice" in inner):
            raise SpaceError(f"{where}: per_layer holds a choice, not {_shown(inner)}.")
        return PerLayer(_choice(inner, where, plain))
    if isinstance(data, Mapping) and "choice" in data:
        return _choice(data, where, plain)
    return plain(data, where)


def _choice(data: Mapping[str, Any], where: str, plain: Read) -> Choice:
    fields = _object(data, where, required=("choice",), optional=("name", "labels"))
    if not isinstance(fields["choice"], list):
        raise SpaceError(f"{where}: a choice is a list, not {_shown(fields['choice'])}.")
    if "name" in fields and not isinstance(fields["name"], str):
        raise SpaceError(f"{where}: a shared choice's name is text, not {_shown(fields['name'])}.")
    labels = fields.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise SpaceError(f"{where}: a choice's labels are a list, not {_shown(labels)}.")
    written = None if labels is None else tuple(_plain(label, where) for label in labels)
    return Choice(
        tuple(plain(option, where) for option in fields["choice"]), fields.get("name"), written
    )


def _plain(data: Any, where: str) -> Value:
    """Read text, a number or true/false; JSON does not tell 16.0 from 16, so it becomes whole."""
    if isinstance(data, Mapping) and data.keys() & {"choice", "per_layer"}:
        raise SpaceError(f"{where}: a choice can't stand inside another.")
    if not isinstance(data, Value):
        raise SpaceError(f"{where} is text, a number or true/false, not {_shown(data)}.")
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _block(data: Any, where: str) -> BlockSpec:
    if isinstance(data, Mapping) and data.keys() & {"choice", "per_layer"}:
        raise SpaceError(f"{where}: a choice can't stand inside another.")
    fields = _object(data, where, required=("block",))
    name = fields.pop("block")
    if not isinstance(name, str):
        raise SpaceError(f"{where}: a block's name is text, not {_shown(name)}.")
    stage = where.removesuffix(".block")
    options = {str(key): _value(value, f"{stage}.{key}") for key, value in fields.items()}
    return BlockSpec(name, tuple(sorted(options.items())))


def _object(
    data: Any,
    where: str,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Return a copy of a JSON object that has what it needs; `optional` None allows anything."""
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where} is an object, not {_shown(data)}.")
    missing = [name for name in required if name not in data]
    if missing:
        raise SpaceError(f"{where} needs {', '.join(missing)}.")
    if optional is not None and (extra := data.keys() - {*required, *optional}):
        name = min(map(str, extra))
        raise SpaceError(f"{where}: {unknown('field', name, required + optional)}")
    return dict(data)


def _shown(data: Any) -> str:
    """Write a value for a message; a large one is cut short."""
    return reprlib.repr(data)
