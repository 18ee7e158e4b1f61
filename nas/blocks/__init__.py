"""The registry of blocks: one file per published idea, found by looking into this folder.

A folder named in the environment variable NAS_BLOCKS (several, separated as in PATH) is looked into
as well, in every process: a block of your own is one file there.

A block is an `nn.Module` that reads as the architecture does, in `nas/blocks/modules/`, the
function `cost` that counts the same operators on a tape, and a `BLOCK` that declares its options
and turns a row of data into the module's arguments. Torch is imported where a module is asked for.
An exported file consists of the modules' source, so a module uses torch, the standard library and
other modules. A block of your own may have its module in its one file.
"""

import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.architecture import Architecture, Row, Value
from nas.blocks.classes import Class, loaded
from nas.cost import Cost, Tape, Transcript
from nas.errors import SpaceError, unknown

if TYPE_CHECKING:
    from torch import nn

_GIVEN = os.environ.get("NAS_BLOCKS", "").split(os.pathsep)
OWN_FOLDERS = [os.path.expanduser(path) for path in _GIVEN if path]
__path__.extend(OWN_FOLDERS)

Options = dict[str, Any]  # every option of a block, by name
Arguments = dict[str, Any]  # of a module's constructor: literals, and names of `classes`
Args = SimpleNamespace  # the same as attributes


class Place(NamedTuple):
    """Where a block stands: the widths of its input and output, and its stride."""

    in_channels: int
    out_channels: int
    stride: int

    def sizes(self) -> Arguments:
        """Return the three as arguments of a constructor."""
        return {"in_channels": self[0], "out_channels": self[1], "stride": self[2]}

    @property
    def changes(self) -> bool:
        """Say whether the output's shape differs from the input's."""
        return self.stride > 1 or self.in_channels != self.out_channels


class Option(NamedTuple):
    """A block's option: its default, the rule for a value (in words and as a test).

    `structural` marks options that can make a block impossible at some widths (more kernel groups
    than channels, say), so that a search space is checked for it beforehand.

    `canonical(value, place, arguments)` returns the value that stands for all that give the block
    these arguments. Without it the default stands for every value that gives the same arguments.
    `fit(value, size)` returns the value without kernel taps that no pixel of a size x size map
    meets.
    """

    default: Value
    rule: str
    valid: Callable[[Any], bool]
    structural: bool = False
    canonical: Callable[[Any, Place, Arguments], Value] | None = None
    fit: Callable[[Any, int], Value] | None = None


def ceil_size(size: int, stride: int, options: Options | None = None) -> int:  # noqa: ARG001
    """Return the output size of a convolution or pooling with 'same' padding."""
    return -(-size // stride)


@dataclass(frozen=True)
class Block:
    """A block as the registry knows it.

    `class_` is its module's: the class, or its name. `arguments(options, place)` gives the keyword
    arguments of its constructor, as literals and names of classes; they are also the attributes of
    `args` in `cost(tape, args)`. It raises SpaceError where the widths do not allow the options.
    `canonical(options, place)` returns the name and the options of the block that this one is at
    these widths: another one where a simpler block is the same.
    `out_size(size, stride, options)` is the height and width of the output.
    `options_of(arguments, place)` returns the options that an argument of this block alone was made
    of; `inverse` knows those of arguments that blocks share, and of options passed as they are.
    `joined(arguments)` returns the options that say the same with fewer kernel groups, where
    neighbouring groups have one kernel size.
    """

    name: str
    class_: "Class | type[nn.Module]"
    options: Mapping[str, Option]
    arguments: Callable[[Options, Place], Arguments]
    cost: Callable[[Tape, Args], None]
    canonical: Callable[[Options, Place], tuple[str, Options]] | None = None
    out_size: Callable[[int, int, Options], int] = ceil_size
    options_of: Callable[[Arguments, Place], Options] | None = None
    joined: Callable[[Arguments], Options] | None = None

    @cached_property
    def module(self) -> "type[nn.Module]":
        """The module's class, imported."""
        module: type[nn.Module] = loaded(self.class_)
        return module

    @cached_property
    def defaults(self) -> Options:
        """Every option's default."""
        return {name: option.default for name, option in self.options.items()}

    def check(self, name: str, value: Value) -> None:
        """Refuse an option this block does not have, or a value that breaks its rule."""
        if name not in self.options:
            raise SpaceError(f"{self.name}: " + unknown("option", name, self.options))
        option = self.options[name]
        if not option.valid(value):
            raise SpaceError(f"{self.name}.{name} is {option.rule}, not {value!r}.")

    def complete(self, options: Mapping[str, Value]) -> Options:
        """Fill in the defaults."""
        return {**self.defaults, **options}


@cache
def _registered() -> dict[str, Block]:
    """Import every block file; raises SpaceError for one of the user's own that can't be used."""
    registered: dict[str, Block] = {}
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
        if block is not None and block.name in registered:
            raise SpaceError(f"{file}: there is another block named {block.name!r}.")
        if block is not None:
            registered[block.name] = block
    return registered


def _check_names(folder: str) -> None:
    """Refuse a file of the user's that has the name of one of ours: it would never be read."""
    ours = {info.name for info in pkgutil.iter_modules(__path__[: -len(OWN_FOLDERS)])}
    for info in pkgutil.iter_modules([folder]):
        if info.name in ours:
            raise SpaceError(f"{folder}/{info.name}.py: nas has a file of this name; rename yours.")


def names() -> list[str]:
    """Return the names of all blocks."""
    return sorted(_registered())


def get(name: str) -> Block:
    """Return the block of this name; raises SpaceError with the available ones."""
    block = _registered().get(name)
    if block is None:
        raise SpaceError(unknown("block", name, names()))
    return block


def arguments(row: Row, in_channels: int) -> Arguments:
    """Return the arguments of a row's cost, and of its module where their classes are imported."""
    block = get(row.block)
    place = Place(in_channels, row.out_channels, row.stride)
    return block.arguments({**block.defaults, **dict(row.options)}, place)


def out_size(row: Row, size: int) -> int:
    """Return the height and width of a row's output."""
    if row.stride == 1:
        return size
    block = get(row.block)
    if block.out_size is ceil_size:  # as nearly always; this is asked for every row counted
        return ceil_size(size, row.stride)
    return block.out_size(size, row.stride, block.complete(dict(row.options)))


def module_arguments(row: Row, in_channels: int) -> Arguments:
    """Return the arguments of a row's module, with their classes imported."""
    return {name: loaded(value) for name, value in arguments(row, in_channels).items()}


def build(row: Row, in_channels: int) -> "nn.Module":
    """Build a row's module."""
    return get(row.block).module(**module_arguments(row, in_channels))


def cost(row: Row, in_channels: int, size: int) -> Cost:
    """Count a row's block for one image of (in_channels, size, size); remembered on the row."""
    counted = row.counted.get((in_channels, size))
    if counted is None:
        tape = Tape(in_channels, size)
        get(row.block).cost(tape, Args(**arguments(row, in_channels)))
        counted = row.counted[in_channels, size] = tape.cost()
    return counted


def transcript(row: Row, in_channels: int, size: int) -> Transcript:
    """List the operators of a row's block; raises NasError where one is missing in the list."""
    tape = Transcript(in_channels, size)
    get(row.block).cost(tape, Args(**arguments(row, in_channels)))
    tape.check()
    return tape


def canonical_row(row: Row, in_channels: int) -> Row:
    """Check a row; write it the one way that stands for all rows of the same block."""
    block, place = get(row.block), Place(in_channels, row.out_channels, row.stride)
    for name, value in row.options:
        block.check(name, value)
    options = block.complete(dict(row.options))
    arguments = block.arguments(options, place)
    while block.canonical:
        name, options = block.canonical(options, place)
        if name == block.name:
            break
        block = get(name)
        options = {name: options.get(name, value) for name, value in block.defaults.items()}
        arguments = block.arguments(options, place)
    for name, default in block.defaults.items():
        if options[name] != default and _has_no_effect(block, name, options, place, arguments):
            options = {**options, name: default}
    for name, option in block.options.items():
        if option.canonical:
            options[name] = option.canonical(options[name], place, arguments)
    effective = {name: options[name] for name in options if options[name] != block.defaults[name]}
    return Row(block.name, row.out_channels, row.stride, tuple(sorted(effective.items())))


def fitted_row(row: Row, in_channels: int, size: int) -> Row:
    """Return a canonical row's function on (in_channels, size, size) without taps beyond the map.

    Taps that are more than size - 1 pixels from a kernel's centre only ever meet the padding. Where
    a block has one kernel size for two maps, the larger one counts, which is its input.
    """
    block = get(row.block)
    options = block.complete(dict(row.options))
    fits = {
        name: option.fit(options[name], size)
        for name, option in block.options.items()
        if option.fit is not None
    }
    if fits.items() <= options.items():
        return row
    fitted = replace(row, options=tuple((options | fits).items()), counted={})
    if block.joined is not None:
        options |= fits | block.joined(arguments(fitted, in_channels))
        fitted = replace(fitted, options=tuple(options.items()))
    return canonical_row(fitted, in_channels)


def _has_no_effect(
    block: Block, name: str, options: Options, place: Place, arguments: Arguments
) -> bool:
    """Whether an option's default gives the same arguments of the same block."""
    plain = {**options, name: block.defaults[name]}
    if block.canonical and block.canonical(plain, place)[0] != block.name:
        return False
    try:
        return block.arguments(plain, place) == arguments
    except SpaceError:
        return False


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
