"""An emitted file's text back to its architecture, from its literal constructor calls.

Nothing of the file is run: only whole numbers, names and calls of the classes of blocks are
understood.
"""

import ast
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from torch import nn

from nas import blocks
from nas.architecture import Architecture, Row
from nas.blocks import modules
from nas.blocks.inverse import row_of
from nas.errors import SpaceError
from nas.files.reading import reading

SIZES = ("IN_CHANNELS", "RESOLUTION", "CLASSES")


def is_emitted(text: str) -> bool:
    """Tell whether a Python text looks like an emitted file, not like a search space."""
    return "\nclass Network(nn.Module):" in text and "\nIN_CHANNELS = " in text


def parsed(text: str, where: str) -> Architecture:
    """Return the architecture of an emitted file; raises SpaceError, with the line if there is one.

    `where` is what the message begins with, such as the file's path.
    """
    with reading(where, SpaceError):
        try:
            body = ast.parse(text).body
        except SyntaxError as error:
            raise SpaceError(f"{where}, line {error.lineno}: not Python: {error.msg}.") from None
        sizes = dict(_sizes(body))
        networks = [n for n in body if isinstance(n, ast.ClassDef) and n.name == "Network"]
        if missing := [name for name in SIZES if name not in sizes]:
            raise SpaceError(f"{where}: no model.py that nas wrote: it has no {missing[0]}.")
        if len(networks) != 1:
            raise SpaceError(f"{where}: no model.py that nas wrote: it has no class Network.")
        return _Reader(where).network(networks[0], *(sizes[name] for name in SIZES))


def _sizes(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers that a file's top level assigns."""
    for node in body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Constant(int(number))):
                yield name, number


class _Reader:
    """Reads the class Network; remembers the file's name for messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.blocks = {
            blocks.get(name).module.__name__: blocks.get(name) for name in blocks.names()
        }
        self.classes = dict(_classes())

    def network(self, node: ast.ClassDef, channels: int, size: int, classes: int) -> Architecture:
        """Return the architecture that the class builds and runs."""
        methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
        if methods.keys() != {"__init__", "forward"}:
            raise self.error(node, "Network has the methods __init__ and forward, no others")
        parts: dict[str, tuple[Row, ...]] = {}
        width = channels
        for name, layers in self.parts(methods["__init__"]):
            rows = []
            for call in layers:
                rows.append(self.row(call, width))
                width = rows[-1].out_channels
            parts[name] = tuple(rows)
        self.check_forward(methods["forward"], list(parts))
        stem, head = parts.pop("stem", ()), parts.pop("head", ())
        body = tuple(row for rows in parts.values() for row in rows)
        try:
            return blocks.canonical(Architecture(channels, size, classes, stem, body, head))
        except SpaceError as error:
            raise SpaceError(f"{self.where}: {error}") from None

    def parts(self, init: ast.FunctionDef) -> Iterator[tuple[str, list[ast.expr]]]:
        """Yield each part's name and the calls of its layers."""
        for node in init.body:
            match node:
                case ast.Assign(
                    [ast.Attribute(ast.Name("self"), name)],
                    ast.Call(ast.Attribute(ast.Name("nn"), "Sequential"), layers, []),
                ):
                    yield name, layers
                case ast.Expr() if ast.unparse(node) == "super().__init__()":
                    pass
                case _:
                    raise self.error(node, "a part is self.NAME = nn.Sequential(...)")

    def check_forward(self, forward: ast.FunctionDef, names: list[str]) -> None:
        """Refuse a network that does not run its parts one after another."""
        if len(names) < 2 or (names[0], names[-1]) != ("stem", "head"):
            raise self.error(forward, "Network's first part is stem, its last one head")
        expected = [*(f"x = self.{name}(x)" for name in names[:-1]), "return self.head(x)"]
        if [ast.unparse(node) for node in forward.body] != expected:
            raise self.error(forward, "forward runs the parts one after another, in their order")

    def row(self, call: ast.expr, in_channels: int) -> Row:
        """Return the row of a layer's constructor call."""
        match call:
            case ast.Call(ast.Name(name)) if name in self.blocks:
                block = self.blocks[name]
                row_arguments = self.arguments(call, block.module)
            case _:
                raise self.error(call, f"a layer is one of {', '.join(sorted(self.blocks))}")
        try:
            return row_of(block, row_arguments, in_channels)
        except SpaceError as error:
            raise self.error(call, str(error).rstrip(".")) from None

    def arguments(self, call: ast.Call, kind: type) -> dict[str, Any]:
        """Return a constructor call's arguments by name, defaults included."""
        values = [self.value(argument) for argument in call.args]
        named = {str(keyword.arg): self.value(keyword.value) for keyword in call.keywords}
        try:
            bound = inspect.signature(kind).bind(*values, **named)
        except TypeError as error:
            raise self.error(call, f"{kind.__name__}: {error}") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def value(self, node: ast.expr) -> Any:
        """Return the value of a literal, a block's class or one of torch.nn, or a tuple."""
        match node:
            case ast.Constant(bool() | int() | float() | str() | None as value):
                return value
            case ast.Tuple(items):
                return tuple(map(self.value, items))
            case ast.Attribute(ast.Name("nn"), name) if isinstance(getattr(nn, name, None), type):
                return getattr(nn, name)
            case ast.Name(name) if name in self.classes:
                return self.classes[name]
            case ast.Call(ast.Name(name)) if issubclass(self.classes.get(name, object), tuple):
                kind = self.classes[name]
                return kind(**self.arguments(node, kind))
        raise self.error(node, f"{ast.unparse(node)} is no argument that nas writes")

    def error(self, node: ast.stmt | ast.expr, rule: str) -> SpaceError:
        """Return the error of a place in the file."""
        return SpaceError(f"{self.where}, line {node.lineno}: {rule}.", node.lineno)


def _classes() -> Iterator[tuple[str, type]]:
    """Yield the classes that blocks use: their modules and the named tuples of these."""
    for info in pkgutil.iter_modules(modules.__path__):
        import_module(f"{modules.__name__}.{info.name}")
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{blocks.__name__}."):
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == name:
                    yield value.__name__, value
