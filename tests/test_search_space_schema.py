"""The published JSON Schema: it and `from_json` agree on what a space's document looks like."""

import json
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_strategies import search_spaces

from nas.errors import SpaceError
from nas.search_space import (
    Compound,
    Limits,
    SearchSpace,
    block,
    choice,
    load,
    names,
    per_layer,
    scaled,
    stage,
)

SCHEMA = json.loads(resources.files("nas.search_space").joinpath("schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SPACE = SearchSpace(
    name="everything",
    resolution=choice(16, 32),
    fit_kernels=True,
    stem=stage(block("conv"), width=16, stride=2),
    stages=[
        stage(
            choice(
                block("mbconv", kernels=per_layer(choice("3", "5")), se_ratio=choice(0, 0.25)),
                block("conv", activation=choice("relu", "silu", name="activation")),
            ),
            width=scaled(16, choice(0.75, 1.0)),
            depth=choice(1, 2),
        ),
        stage(per_layer(choice(block("conv"), block("mbconv", skip="none"))), width=choice(16, 24)),
    ],
    head=stage(block("conv"), width=choice(64, 64, 80, labels=("a", "b", 3))),
    dropout=choice(0, 0.2),
    classifier={"hidden_channels": choice(0, 32), "activation": "silu"},
    recipe={"regularisation.dropout": choice(0, 0.2), "optimiser.name": choice("sgd", "adamw")},
    scaling=Compound(alpha=1.2, phi=choice(0, 1)),
    limits=Limits(macs=10**7),
)
JUNK = (
    None, True, -1, 0, 1.5, "", "a b", [], {}, [1], {"choice": []}, {"choice": [[]]},
    {"choice": 3}, {"per_layer": 3}, {"per_layer": {"choice": []}}, {"base": 8},
    {"choice": [{"choice": [1, 2]}]}, {"per_layer": {"per_layer": {"choice": [1]}}},
    {"choice": [16, 16]}, {"choice": [16], "name": ""}, {"choice": [16], "names": "x"},
    {"per_layer": {"choice": [16], "name": "x"}}, 10**7, 16.0, {"choice": [16.0, 8]},
    {"choice": [16, 16], "labels": ["x", "y"]}, {"choice": [16, 8], "labels": ["x", "x"]},
    {"choice": [16, 8], "labels": "xy"}, {"choice": [16, 8], "labels": [None, 1]},
)  # fmt: skip
# What from_json says about what a certain block allows, which the schema does not know.
RULES = (
    "No block named", "No option named", " is odd kernel", " is one odd", " is one of",
    " is a number from", " is true or false", "mbconv.se_ratio is", "ends every network by itself",
    "has other options elsewhere", "groups is a whole", "groups need", "divides the",
    "classifier.hidden_channels is", "labels are text",
    "'activation' is both a place", "'conv' is there twice", "'mbconv' is there twice",
)  # fmt: skip
Path = tuple[str | int, ...]


def refused_by_the_schema(data: Any) -> bool:
    """Whether the schema refuses a document."""
    return not VALIDATOR.is_valid(data)


def refused_by_us(data: Any) -> str:
    """Return why from_json refuses a document; empty where it does not."""
    try:
        SearchSpace.from_json(data)
    except SpaceError as error:
        return str(error)
    return ""


def paths(data: Any, here: Path = ()) -> list[Path]:
    """Return the place of every value in a document."""
    inside = data.items() if isinstance(data, dict) else enumerate(data)
    found: list[Path] = []
    for key, value in inside:
        found.append((*here, key))
        if isinstance(value, (dict, list)):
            found += paths(value, (*here, key))
    return found


def changed(path: Path, change: Callable[[Any, Any], None]) -> Any:
    """Return the document of SPACE after a change to the container and key that a path ends in."""
    data = json.loads(json.dumps(SPACE.to_json()))
    container = data
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return data


def setitem(container: Any, key: str | int, junk: Any) -> None:
    """Put junk into the place."""
    container[key] = junk


def is_about_form(message: str) -> bool:
    """Whether a message is about what the schema knows."""
    return message != "" and not any(words in message for words in RULES)


PLACES = paths(SPACE.to_json())


def test_the_schema_is_one() -> None:
    """It is valid under draft 2020-12, and everything in it is described."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    described = SCHEMA["properties"] | SCHEMA["$defs"]
    assert [name for name, part in described.items() if not part.get("description")] == []


def test_the_example_has_every_kind_of_value() -> None:
    """What the mutations below start from uses every property that the schema has."""
    assert set(SPACE.to_json()) == set(SCHEMA["properties"])
    assert not refused_by_the_schema(SPACE.to_json())
    assert refused_by_us(SPACE.to_json()) == ""


@pytest.mark.parametrize("name", names())
def test_a_shipped_space_follows_the_schema(name: str) -> None:
    """Every shipped space and member, as it is written."""
    VALIDATOR.validate(load(name).to_json())


@settings(deadline=None)
@given(search_spaces())
def test_a_random_space_follows_the_schema(space: SearchSpace) -> None:
    """Whatever to_json writes, once through JSON's text."""
    VALIDATOR.validate(json.loads(json.dumps(space.to_json())))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_both_agree_on_a_value_of_another_kind(path: Path) -> None:
    """Each value of a document replaced by junk is refused by both or by neither."""

    for junk in JUNK:
        data = changed(path, partial(setitem, junk=junk))
        why = refused_by_us(data)
        if refused_by_the_schema(data):
            assert why, f"{junk!r}: only the schema refuses it"
        else:
            assert not is_about_form(why), f"{junk!r}: the schema does not refuse it: {why}"


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_both_agree_on_a_missing_value(path: Path) -> None:
    """A value taken out is refused by both where it is needed, by neither where it is not.

    That there is a label for each option is more than a schema can say.
    """
    data = changed(path, lambda container, key: container.pop(key))
    why = refused_by_us(data)
    assert why if refused_by_the_schema(data) else not is_about_form(why)


@pytest.mark.parametrize(
    "path", [p for p in PLACES if isinstance(p[-1], str)], ids=lambda path: ".".join(map(str, path))
)
def test_both_agree_on_an_unknown_field(path: Path) -> None:
    """A field more is refused by both; in a block it is an option, which the block refuses."""
    data = changed((*path[:-1], "surplus"), partial(setitem, junk=1))
    why = refused_by_us(data)
    assert why
    assert refused_by_the_schema(data) or "No option named 'surplus'" in why


@pytest.mark.parametrize("data", [None, [], "mixconv", 3, {}, {"format": "nas.search_space/1"}])
def test_both_refuse_what_is_no_space(data: Any) -> None:
    """Something that is not an object, or has nothing in it."""
    assert refused_by_the_schema(data)
    assert refused_by_us(data)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(("choice", "per_layer", "block", "width", "base")), inner),
))  # fmt: skip
def test_any_json_is_a_space_or_a_space_error(data: Any) -> None:
    """No document makes `from_json` raise anything but SpaceError, in whatever place it stands."""
    whole = SPACE.to_json()
    stages = whole["stages"]
    for document in (
        data,
        whole | {"resolution": data},
        whole | {"scaling": data},
        whole | {"limits": {"macs": data}},
        whole | {"stages": [data]},
        whole | {"stages": [stages[0] | {"width": data}]},
        whole | {"stages": [stages[0] | {"block": data}]},
        whole | {"stages": [stages[0] | {"block": {"block": "mbconv", "kernels": data}}]},
    ):
        refused_by_us(document)
