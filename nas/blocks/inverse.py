"""From the arguments of a block's module back to its row: how an emitted file is read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nas import blocks
from nas.architecture import Row
from nas.blocks import Arguments, Block, Options, Place, options
from nas.blocks.classes import loaded
from nas.blocks.layer_norm import NORMS
from nas.errors import SpaceError


def row_of(block: Block, arguments: Arguments, in_channels: int) -> Row:
    """Return the row whose module has these arguments; raises SpaceError where there is none."""
    out_channels: Any = arguments.get("out_channels", arguments.get("classes"))
    stride: Any = arguments.get("stride", arguments.get("patch", 1))
    for name, number in (("width", out_channels), ("stride", stride)):
        if type(number) is not int or number < 1:
            raise SpaceError(f"{block.module.__name__}: its {name} is a number, not {number!r}.")
    place = Place(in_channels, out_channels, stride)
    reasons = []
    for values in _candidates(block, arguments, place):
        given = tuple(sorted((name, v) for name, v in values.items() if v != block.defaults[name]))
        row = Row(block.name, out_channels, stride, given)
        try:
            for name, value in given:
                block.check(name, value)
            expected = blocks.module_arguments(row, in_channels)
        except SpaceError as error:
            reasons.append(str(error))
            continue
        if expected == arguments:
            return row
        reasons += [
            f"its {name} is {value!r} after a layer of {in_channels} channels, not"
            f" {arguments[name]!r}."
            for name, value in expected.items()
            if arguments[name] != value
        ]
    raise SpaceError(
        f"{block.module.__name__} with these arguments is no {block.name}: {reasons[0]}"
    )


def _candidates(block: Block, arguments: Arguments, place: Place) -> Iterator[Options]:
    """Yield options that may give these arguments; only the partition is tried."""
    values = {name: arguments[name] for name in block.options if name in arguments}
    try:
        for name, written in _WRITTEN.items():
            if name in arguments:
                values |= written(arguments[name], arguments, place)
        if block.options_of is not None:
            values |= block.options_of(arguments, place)
    except (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError):
        raise SpaceError(
            f"{block.module.__name__} has arguments that no {block.name} has."
        ) from None
    known = {name: value for name, value in values.items() if name in block.options}
    partitions = ("equal", "exponential") if "partition" in block.options else (None,)
    for partition in partitions:
        yield known if partition is None else {**known, "partition": partition}


def named(value: Any, table: Mapping[str, Any]) -> str:
    """Return the name of a class in an option's table; else an empty one, which no option has."""
    return next((name for name, known in table.items() if loaded(known) is value), "")


def expansion(width: int, channels: int) -> float:
    """Return the expansion with int(expansion x channels) = width."""
    return options.canonical_expansion((width + 0.5) / channels, channels)


def _squeeze(se: Any, arguments: Arguments, place: Place) -> Options:
    if se is None:
        return {"se_ratio": 0.0}
    width = place.in_channels
    same = se.activation is arguments["activation"]
    return {
        "se_ratio": options.canonical_ratio(se.channels / width, width, se.channels),
        "se_gate": named(se.gate, options.GATES),
        "se_activation": "same" if same else named(se.activation, options.ACTIVATIONS),
    }


def _skip(skip: Any, _: Arguments, __: Place) -> Options:
    return {"skip": "none"} if skip is None else {"skip": skip.kind, "drop_path": skip.drop_path}


# Options of the arguments that several blocks share; a block's `options_of` has the others.
_WRITTEN: dict[str, Callable[[Any, Arguments, Place], Options]] = {
    "kernel": lambda kernel, *_: {"kernels": str(kernel)},
    "kernels": lambda kernels, *_: {"kernels": ".".join(map(str, kernels))},
    "activation": lambda kind, *_: {"activation": named(kind, options.ACTIVATIONS)},
    "norm": lambda kind, *_: {"norm": named(kind, NORMS)},
    "group_channels": lambda groups, _, place: {"expansion": expansion(sum(groups), place[0])},
    "hidden_channels": lambda width, _, place: {"expansion": expansion(width, place[0])},
    "mid_channels": lambda width, _, place: {
        "ratio": options.canonical_ratio(width / place[1], place[1], width)
    },
    "se": _squeeze,
    "skip": _skip,
}
