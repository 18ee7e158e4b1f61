"""The options of verbs: a Help beside a parameter's type makes an option of the parameter.

A command line needs no more than the verb's signature; a parameter without Help (a callback) is
Python's alone.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, TypedDict, get_args, get_origin, get_type_hints

from nas import quantities
from nas.errors import UnknownOption, unknown

_PLAIN = {str, int, float, bool, NoneType}
_MOST = 2**32 - 1  # a seed's largest value


@dataclass(frozen=True)
class Help:
    """The text of an option; its flag is the parameter's name unless `flags` are given.

    `default` is the command line's where it differs from the function's; `argument` makes it a word
    without a flag.
    """

    text: str
    flags: tuple[str, ...] = ()
    default: Any = None
    argument: bool = False


def argument(text: str) -> Help:
    """Explain a word that stands on the command line without a flag."""
    return Help(text, argument=True)


Store = Annotated[str | None, Help("Database URL; else NAS_STORE, else sqlite:///studies/nas.db.")]
StudyName = Annotated[str | None, Help("Name; the newest study if left out.")]
Target = Annotated[str | float | None, Help("A number such as 300M.")]
Names = Annotated[list[str], argument("Family members, or architectures' JSON files or code.")]
SpaceName = Annotated[str, argument("Name, or path of a .py or .json file.")]
Picture = Annotated[str | None, Help("Picture to write, .svg or .png.")]


class Images(TypedDict, total=False):
    """The images and classes that a network is for, where they are not its own."""

    resolution: Annotated[int | None, Help("Image size in pixels.")]
    classes: Annotated[int | None, Help("Number of classes.")]
    in_channels: Annotated[int | None, Help("Channels of the images.")]


def silent(_: object) -> None:
    """Take a line or a snapshot that nobody wants to see."""


def parameters(verb: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the names of a verb's parameters with their types and defaults, of a TypedDict too."""
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            (fields,) = get_args(parameter.annotation)
            for name, hint in get_type_hints(fields, include_extras=True).items():
                yield name, (hint, None)
        else:
            yield parameter.name, (parameter.annotation, parameter.default)


@cache
def checked(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Return a verb that reads its arguments as people give them.

    A path may be a Path and begin with ~, a number may be NumPy's. Raises UnknownOption, which is a
    TypeError, for a name that is no argument's, UserError for a value of another type.
    """
    hints = {name: hint for name, (hint, _) in parameters(verb)}

    @wraps(verb)
    def call(*given: Any, **named: Any) -> Any:
        for name in named:
            if name not in hints:
                kind, listing = f"argument of {verb.__name__}()", f"help(nas.{verb.__name__})"
                raise UnknownOption(unknown(kind, name, hints, listing=listing))
        values = [
            _read(name, hints[name], value) for name, value in zip(hints, given, strict=False)
        ]
        read = {name: _read(name, hints[name], value) for name, value in named.items()}
        return verb(*values, *given[len(hints) :], **read)

    call.__module__ = "nas"  # where pickle finds it
    return call


def _read(name: str, hint: Any, value: Any) -> Any:
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    types = get_args(base) if isinstance(base, UnionType) else (base,)
    if list[str] in types and value is not None:
        several = [value] if isinstance(value, str | os.PathLike) else value
        return [quantities.plain(each) for each in several]
    value, is_union = quantities.plain(value), isinstance(base, UnionType)
    if value is None or not _PLAIN.issuperset(types) or (base is hint and is_union):
        return value  # options of a search are read by their declaration
    kinds = tuple(kind for kind in types if kind is not NoneType)
    kinds += (int,) if str in kinds and float in kinds else ()  # such as 300M, or a number
    return quantities.checked(value, kinds, f"--{name.replace('_', '-')}", high=_MOST)
