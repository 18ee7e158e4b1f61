"""What people ask before a search: which spaces and recipes there are, what networks cost."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Response

from nas.commands import networks, recipe, space
from nas.errors import UserError, unknown
from nas.service.api import child
from nas.service.api.exchange import Body, Route, ValueAnswer, answer, problems, takes
from nas.service.api.problems import Fault, Problem, pointer
from nas.service.api.searches import told, told_value
from nas.service.api.service import Reader, Server, Service
from nas.service.api.submission import check_name, named_data, read_space

router = APIRouter(tags=["before a search"], route_class=Route)
PATIENCE = 30.0  # seconds for the pre-flight of a space that is not shipped
LIST = told_value("The list.", {"type": "array", "items": {"type": "object"}})
ONE = told("The answer.", {"type": "object"})
_COUNT: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}
_SIZE: dict[str, Any] = {"type": ["integer", "null"], "minimum": 1, "maximum": 16_384}
IMAGES = {"resolution": _SIZE, "classes": _SIZE, "in_channels": _SIZE}
LIMITS = dict.fromkeys(("target_flops", "max_flops", "max_params", "max_memory"), _COUNT)
NAMED = {"anyOf": [{"type": "string"}, {"type": "object"}]}
MALFORMED = problems(400, 408, 413, 415)


def _fields(required: str, **others: Any) -> dict[str, Any]:
    """Return the schema of a body with one field that is required."""
    return {
        "type": "object",
        "properties": {required: NAMED, **others},
        "required": [required],
        "additionalProperties": False,
    }


COST = _fields("network", **IMAGES)
PREFLIGHT = _fields("space", **LIMITS, target_device={"type": ["string", "null"]}, **IMAGES)


def _read(body: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a body's fields; raises Problem for others than those of the schema."""
    (required,), known = schema["required"], schema["properties"]
    if not isinstance(body, dict):
        raise _refused("The body is a JSON object.", pointer())
    for name in body:
        if name not in known:
            raise _refused(unknown("field", name, known), pointer(name))
    if body.get(required) is None:
        raise _refused(f"The field {required!r} is missing.", pointer(required))
    for name in IMAGES:
        if type(body.get(name)) not in (int, type(None)):
            raise _refused(f"{name} is a whole number, not {body[name]!r}.", pointer(name))
    return {name: value for name, value in body.items() if value is not None}


def _refused(text: str, where: str) -> Problem:
    return Problem(422, text, kind="invalid", faults=[Fault(text, where)])


@router.get("/spaces", name="spaces", responses={200: LIST})
def spaces(_: Reader) -> Response:
    """List the search spaces and published networks that a search can name."""
    return ValueAnswer(space.spaces())


@router.get("/recipes", name="recipes", responses={200: LIST})
def recipes(_: Reader) -> Response:
    """List the recipes that a search can name."""
    return ValueAnswer(recipe.recipes())


@router.get("/data", name="data", responses={200: LIST})
def data(_: Reader) -> Response:
    """List the data sets that a search can name."""
    return answer([{"name": name} for name in named_data()])


@router.post(
    "/preflight", name="preflight", responses={200: ONE, **MALFORMED},
    openapi_extra=takes(PREFLIGHT),
)  # fmt: skip
def preflight(server: Server, _: Reader, body: Body) -> Response:
    """Return a space's parameters, size, cost range, and what is near a target; nas space show."""
    words = _read(body, PREFLIGHT)
    given = words.pop("space")
    if isinstance(given, str):
        return answer(space.space_preflight(check_name(given), **words).to_json())
    read_space(given)
    return answer(of_json(server, given, words))


def of_json(server: Service, given: Any, words: dict[str, Any]) -> Any:
    """Return the pre-flight of a space of a client's: it may be one that takes hours."""
    server.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=server.folder, prefix=".new-") as folder:
        (path := Path(folder, "space.json")).write_text(json.dumps(given))
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]
        show = ("space", "show", str(path), *flags, "--json")
        return child.run("nas.cli", *show, store=server.url, seconds=PATIENCE)


@router.post("/cost", name="cost", responses={200: ONE, **MALFORMED}, openapi_extra=takes(COST))
def cost(_: Reader, body: Body) -> Response:
    """Count a network's macs, parameters, activations and memory; nas cost."""
    words = _read(body, COST)
    network = words.pop("network")
    if not isinstance(network, str | dict):
        raise UserError("network is the name of a published network, or an architecture's JSON.")
    of = check_name(network) if isinstance(network, str) else network
    return answer(networks.cost_of(of, **words).to_json())
