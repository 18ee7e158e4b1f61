"""Source code taken from our modules: a definition, and before it everything it refers to."""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType

from nas import blocks
from nas.errors import NasError

WIDTH = 100
Import = ast.Import | ast.ImportFrom
_HEAD = re.compile(r"(def \w+\()\n    (.*[^,])\n(\).*:)$", re.MULTILINE)  # in three lines


class Definitions:
    """The definitions a file needs, each after those it refers to: their `texts`, by name.

    They come from modules of the package `home`. Names `taken` by the file itself are refused, and
    so is one name for two things. Names that are `given` have another home: a module of ours, or
    the name of one that the file imports from, "" where the file itself has them.
    """

    def __init__(
        self,
        taken: Iterable[str] = (),
        home: str = blocks.__name__,
        given: Mapping[str, str | ModuleType] | None = None,
    ) -> None:
        self.texts: dict[str, str] = {}
        self._home, self._given = home, given or {}
        self._origins = dict.fromkeys(taken, "the exported file")
        self._imports: set[tuple[str, str, str]] = set()  # module, name or "", alias or ""

    def add(self, module: ModuleType, name: str) -> None:
        """Add a definition of this module; first what it refers to, there and in other modules."""
        text, top_level = _top_level(module)
        node = top_level[name]
        if self._is_given(module, name):
            return
        if isinstance(node, Import):
            self._add_imported(module, node, name)
            return
        if name in self._origins:
            if self._origins[name] == module.__name__:
                return
            raise NasError(f"{module.__name__}.{name}: {self._origins[name]} has a {name} as well.")
        self._origins[name] = module.__name__
        taken = _annotated(_segment(text, node))
        node = ast.parse(taken).body[0]
        lazy = [inner for inner in ast.walk(node) if isinstance(inner, Import)]
        for inner in lazy:
            for imported in _names(inner):
                self._add_imported(module, inner, imported)
        used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        for other in sorted(used & (top_level.keys() - {name}), key=_position(node)):
            self.add(module, other)
        self.texts[name] = _without(taken, lazy)

    def add_imports(self, tree: ast.AST) -> None:
        """Add import statements as they are."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._imports |= {(name.name, "", name.asname or "") for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                self._imports |= {(module, name.name, name.asname or "") for name in node.names}

    def import_lines(self) -> str:
        """Return the import statements, sorted as isort sorts them: the standard library first.

        Modules of the file's own package come last.
        """
        sections: tuple[list[str], ...] = ([], [], [])
        for modules in (False, True):  # `import a` stands before `from a import b`
            names: dict[str, list[tuple[str, str]]] = {}
            for module, name, alias in self._imports:
                if bool(name) == modules:
                    names.setdefault(module, []).append((name, alias))
            for module in sorted(names):
                known = module.partition(".")[0] in sys.stdlib_module_names
                section = sections[2 if module.startswith(".") else 0 if known else 1]
                section.extend(_import_lines(module, names[module]))
        return "\n\n".join("\n".join(section) for section in sections if section)

    def _is_given(self, module: ModuleType, name: str) -> bool:
        """Take a name from the home that it is given, if it has one."""
        home = self._given.get(name, module)
        if home is module:
            return False
        if isinstance(home, ModuleType):
            self.add(home, name)
        elif home:
            self._imports.add((home, name, ""))
        return True

    def _add_imported(self, module: ModuleType, node: Import, name: str) -> None:
        if self._is_given(module, name):
            return
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        origin = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        root = origin.partition(".")[0]
        if root == "torch" or root in sys.stdlib_module_names:
            imported = alias.name if isinstance(node, ast.ImportFrom) else ""
            self._imports.add((origin, imported, alias.asname or ""))
        elif origin.startswith(f"{self._home}.") and alias.asname is None:
            self.add(import_module(origin), alias.name)
        else:
            raise NasError(
                f"{module.__name__} uses {name} of {origin}; exported code may use torch, the"
                f" standard library and modules of {self._home}."
            )


@cache
def _top_level(module: ModuleType) -> tuple[str, dict[str, ast.stmt]]:
    """Return a module's text and its top-level statements by the names they define."""
    text = inspect.getsource(module)
    body = ast.parse(text).body
    for node in body:  # the imports for annotations alone
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            body = [*node.body, *body]
    return text, {name: node for node in body for name in _names(node)}


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


def _annotated(text: str) -> str:
    """Return a definition whose annotations are not strings."""
    lines = text.splitlines()
    written = (
        each
        for node in ast.walk(ast.parse(text))
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    )
    for each in sorted(written, key=lambda each: (-each.lineno, -each.col_offset)):
        line, start, end = lines[each.lineno - 1], each.col_offset, each.end_col_offset
        lines[each.lineno - 1] = line[:start] + str(each.value) + line[end:]
    head = _HEAD.match(plain := "\n".join(lines))
    if head is None or len("".join(head.groups())) > WIDTH:
        return plain
    return "".join(head.groups()) + plain[head.end() :]


def _without(text: str, imports: Iterable[Import]) -> str:
    """Return a function without imports of its own, which begin it."""
    lines = text.splitlines()
    for node in sorted(imports, key=lambda node: -node.lineno):
        del lines[node.lineno - 1 : node.end_lineno]
        if not lines[node.lineno - 1].strip():
            del lines[node.lineno - 1]
    return "\n".join(lines)


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
    plain.sort(key=lambda name: (not name.isupper(), not name[0].isupper(), name.lower()))
    return [*([_from(module, plain)] if plain else []), *lines]


def _from(module: str, names: list[str]) -> str:
    """Return a statement, a name in each line where it is long."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def docstring_text(text: str) -> str:
    """Return text that can stand in a docstring: one line, no quotes or backslashes."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.replace("\\", "/").replace('"', "'").split())
