"""The registry of blocks: one file per published idea, found by looking into this folder.

A folder named in the environment variable NAS_BLOCKS (several, separated as in PATH) is looked into
as well, in every process: a block of your own is one file there.

A block file holds an `nn.Module` that reads as the architecture does, the function `cost` that
counts the same operators on a tape, and a `BLOCK` that says which options it has and how a row of
data becomes the module's arguments. The module's source is also what the exported code consists of,
so it uses torch and other classes of this folder, nothing else.
"""

import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from torch import nn

from nas.architecture import Architecture, Row, Value
from nas.cost import Cost, Tape
from nas.errors import SpaceError, unknown

OWN_FOLDERS = [path for path in os.environ.get("NAS_BLOCKS", "").split(os.pathsep) if path]
__path__.extend(OWN_FOLDERS)

Options = dict[str, Value]
Arguments = dict[str, Any]


class Option(NamedTuple):
    """A block's option: its default, what a valid value is (in words and as a test).

    `structural` marks options that can make a block impossible at some widths (more kernel groups
    than channels, say), so that a search space is checked for it beforehand.
    """

    default: Value
    rule: str
    valid: Callable[[Value], bool]
    structural: bool = False


def ceil_size(size: int, stride: int, options: Options | None = None) -> int:  # noqa: ARG001
    """Return the output size of a convolution or pooling with 'same' padding."""
    return -(-size // stride)


@dataclass(frozen=True)
class Block:
    """What the rest of the house knows of a block.

    `arguments(options, in_channels, out_channels, stride)` gives the literal keyword arguments with
    which both `module(**arguments)` and `cost(tape, **arguments)` are called; it raises SpaceError
    where the widths do not allow the options. `cost` names the arguments it counts with and takes
    the others as `**_`. `canonical` (same arguments, returns block name and options) drops what has
    no effect. `out_size(size, stride, options)` is the height and width of the output.
    """

    name: str
    module: type[nn.Module]
    options: Mapping[str, Option]
    arguments: Callable[[Options, int, int, int], Arguments]
    cost: Callable[..., None]
    canonical: Callable[[Options, int, int, int], tuple[str, Options]]
    out_size: Callable[[int, int, Options], int] = ceil_size

    def check(self, name: str, value: Value) -> None:
        """Refuse an option this block does not have, or a value that breaks its rule."""
        if name not in self.options:
            raise SpaceError(f"{self.name}: " + unknown("option", name, self.options))
        option = self.options[name]
        if not option.valid(value):
            raise SpaceError(f"{self.name}.{name} is {option.rule}, not {value!r}.")

    def complete(self, options: Mapping[str, Value]) -> Options:
        """Fill in the defaults."""
        return {name: options.get(name, option.default) for name, option in self.options.items()}


@cache
def _found() -> dict[str, Block]:
    """Import every block file; raises SpaceError for one of the user's own that can't be used."""
    found: dict[str, Block] = {}
    for folder in OWN_FOLDERS:
        if not os.path.isdir(folder):
            raise SpaceError(f"NAS_BLOCKS names folders; there is no folder {folder}.")
        _check_names(folder)
    for info in pkgutil.iter_modules(__path__):
        spec = find_spec(f"{__name__}.{info.name}")
        file = str(spec and spec.origin)
        try:
            module = import_module(f"{__name__}.{info.name}")
        except Exception as error:
            if os.path.dirname(file) == os.path.dirname(__file__):
                raise
            raise SpaceError(f"{file}: {type(error).__name__}: {error}") from error
        block = getattr(module, "BLOCK", None)
        if block is not None and block.name in found:
            raise SpaceError(f"{file}: there is another block named {block.name!r}.")
        if block is not None:
            found[block.name] = block
    return found


def _check_names(folder: str) -> None:
    """Refuse a file of the user's that has the name of one of ours: it would never be read."""
    ours = {info.name for info in pkgutil.iter_modules(__path__[: -len(OWN_FOLDERS)])}
    for info in pkgutil.iter_modules([folder]):
        if info.name in ours:
            raise SpaceError(f"{folder}/{info.name}.py: nas has a file of this name; rename yours.")


def names() -> list[str]:
    """Return the names of all blocks."""
    return sorted(_found())


def get(name: str) -> Block:
    """Return the block of this name; raises SpaceError with the available ones."""
    block = _found().get(name)
    if block is None:
        raise SpaceError(unknown("block", name, names()))
    return block


def arguments(row: Row, in_channels: int) -> Arguments:
    """Return the literal arguments of a row's module (and of its cost)."""
    block = get(row.block)
    options = block.complete(dict(row.options))
    return block.arguments(options, in_channels, row.out_channels, row.stride)


def out_size(row: Row, size: int) -> int:
    """Return the height and width of a row's output."""
    if row.stride == 1:
        return size
    block = get(row.block)
    if block.out_size is ceil_size:  # as nearly always; this is asked for every row counted
        return ceil_size(size, row.stride)
    return block.out_size(size, row.stride, block.complete(dict(row.options)))


def build(row: Row, in_channels: int) -> nn.Module:
    """Build a row's module."""
    return get(row.block).module(**arguments(row, in_channels))


def cost(row: Row, in_channels: int, size: int) -> Cost:
    """Count a row's block for one image of (in_channels, size, size); remembered on the row."""
    counted = row.counted.get((in_channels, size))
    if counted is None:
        tape = Tape(in_channels, size)
        get(row.block).cost(tape, **arguments(row, in_channels))
        counted = row.counted[in_channels, size] = tape.cost()
    return counted


def canonical_row(row: Row, in_channels: int) -> Row:
    """Check a row and drop the options that have no effect at these widths."""
    block = get(row.block)
    for name, value in row.options:
        block.check(name, value)
    options = block.complete(dict(row.options))
    block.arguments(options, in_channels, row.out_channels, row.stride)
    name, options = block.canonical(options, in_channels, row.out_channels, row.stride)
    defaults = get(name).options
    kept = ((key, value) for key, value in options.items() if value != defaults[key].default)
    return Row(name, row.out_channels, row.stride, tuple(sorted(kept)))


def canonical(architecture: Architecture) -> Architecture:
    """Return the same network in canonical rows; raises SpaceError where a row breaks a rule."""
    parts: dict[str, tuple[Row, ...]] = {}
    channels = architecture.in_channels
    for part in ("stem", "body", "head"):
        rows = []
        for number, row in enumerate(getattr(architecture, part), start=1):
            try:
                rows.append(canonical_row(row, channels))
            except SpaceError as error:
                raise SpaceError(f"{part}, row {number}: {error}") from None
            channels = row.out_channels
        parts[part] = tuple(rows)
    if not architecture.head or architecture.head[-1].block != "classifier":
        raise SpaceError("The head's last row is a classifier.")
    if channels != architecture.classes:
        raise SpaceError(
            f"The classifier gives {channels} logits for {architecture.classes} classes."
        )
    return replace(architecture, stem=parts["stem"], body=parts["body"], head=parts["head"])
