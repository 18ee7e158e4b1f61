"""Source code taken from the block files: a class, and before it everything it refers to."""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from nas import blocks
from nas.errors import NasError

Import = ast.Import | ast.ImportFrom


class Definitions:
    """The definitions a file needs, each after those it refers to: their `texts`, by name.

    Names `taken` by the file itself are refused, and so is one name for two things.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.texts: dict[str, str] = {}
        self._origins = dict.fromkeys(taken, "the exported file")
        self._imports: set[tuple[str, str, str]] = set()  # module, name or "", alias or ""

    def add(self, module: ModuleType, name: str) -> None:
        """Add a definition of this module; first what it refers to, there and in other modules."""
        text, top_level = _top_level(module)
        node = top_level[name]
        if isinstance(node, Import):
            self._add_imported(module, node, name)
            return
        if name in self._origins:
            if self._origins[name] == module.__name__:
                return
            raise NasError(f"{module.__name__}.{name}: {self._origins[name]} has a {name} as well.")
        self._origins[name] = module.__name__
        used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        for other in sorted(used & (top_level.keys() - {name}), key=_position(node)):
            self.add(module, other)
        self.texts[name] = _segment(text, node)

    def add_imports(self, tree: ast.AST) -> None:
        """Add import statements as they are."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._imports |= {(name.name, "", name.asname or "") for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                self._imports |= {(module, name.name, name.asname or "") for name in node.names}

    def import_lines(self) -> str:
        """Return the import statements, sorted as isort sorts them: the standard library first."""
        sections: tuple[list[str], list[str]] = ([], [])
        for modules in (False, True):  # `import a` stands before `from a import b`
            names: dict[str, list[tuple[str, str]]] = {}
            for module, name, alias in self._imports:
                if bool(name) == modules:
                    names.setdefault(module, []).append((name, alias))
            for module in sorted(names):
                section = sections[module.partition(".")[0] not in sys.stdlib_module_names]
                section.extend(_import_lines(module, names[module]))
        return "\n\n".join("\n".join(section) for section in sections if section)

    def _add_imported(self, module: ModuleType, node: Import, name: str) -> None:
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        origin = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        root = origin.partition(".")[0]
        if root == "torch" or root in sys.stdlib_module_names:
            imported = alias.name if isinstance(node, ast.ImportFrom) else ""
            self._imports.add((origin, imported, alias.asname or ""))
        elif origin.startswith(f"{blocks.__name__}.") and alias.asname is None:
            self.add(import_module(origin), alias.name)
        else:
            raise NasError(
                f"{module.__name__} uses {name} of {origin}; an exported class may use torch, the"
                " standard library and other block files."
            )


@cache
def _top_level(module: ModuleType) -> tuple[str, dict[str, ast.stmt]]:
    """Return a module's text and its top-level statements by the names they define."""
    text = inspect.getsource(module)
    return text, {name: node for node in ast.parse(text).body for name in _names(node)}


def _names(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement defines."""
    match node:
        case ast.Import(names) | ast.ImportFrom(names=names):
            yield from (name.asname or name.name for name in names)
        case ast.ClassDef(name) | ast.FunctionDef(name):
            yield name
        case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
            yield name


def _segment(text: str, node: ast.stmt) -> str:
    """Return the lines of a statement with its decorators, without remarks to the linter."""
    decorators = getattr(node, "decorator_list", [])
    start = min(part.lineno for part in (node, *decorators))
    lines = text.splitlines()[start - 1 : node.end_lineno]
    return "\n".join(re.sub(r"\s+# noqa\b.*", "", line) for line in lines)


def _position(node: ast.AST) -> Callable[[str], tuple[int, int]]:
    """Return a key that sorts names by where they first stand in a statement."""
    first: dict[str, tuple[int, int]] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            place = (inner.lineno, inner.col_offset)
            first[inner.id] = min(place, first.get(inner.id, place))
    return first.__getitem__


def _import_lines(module: str, names: list[tuple[str, str]]) -> list[str]:
    """Return the statements that import these (name, alias) from a module, or the module itself."""
    lines = []
    for name, alias in sorted(names):
        if not name:
            lines.append(f"import {module} as {alias}" if alias else f"import {module}")
        elif alias:
            lines.append(f"from {module} import {name} as {alias}")
    plain = [name for name, alias in names if name and not alias]
    plain.sort(key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    return [*([f"from {module} import {', '.join(plain)}"] if plain else []), *lines]
