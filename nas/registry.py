"""One mechanism for all registries: a package whose modules are the members.

A new member is one new file in the package's folder. A file whose name begins with an underscore is
no member. Names are read from the folder, so that a command line can check one without importing
anything; the module of a member is imported when the member is asked for.
"""

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import Generic, TypeVar, cast

from nas.errors import UserError, unknown

Member = TypeVar("Member")


@dataclass(frozen=True)
class Registry(Generic[Member]):
    """The members of a package; `Member` is the protocol that each module follows.

    `kind` names a member in messages; with `hyphens`, users write `in-process` for `in_process.py`.

        _registry: Registry[Proxy] = Registry("proxy", __name__)
        names, check, get = _registry.names, _registry.check, _registry.get
    """

    kind: str
    package: str
    hyphens: bool = False
    helpers: tuple[str, ...] = ()  # modules that are no members
    error: type[UserError] = UserError

    def names(self) -> list[str]:
        """Return the names of all members; imports none."""
        modules = pkgutil.iter_modules(import_module(self.package).__path__)
        names = (m.name for m in modules if not m.name.startswith("_"))
        members = sorted(name for name in names if name not in self.helpers)
        return [name.replace("_", "-") for name in members] if self.hyphens else members

    def check(self, name: str) -> None:
        """Refuse an unknown name with the valid ones."""
        names = self.names()
        if name not in names:
            raise self.error(unknown(self.kind, name, names))

    def get(self, name: str) -> Member:
        """Import a member's module; raise the registry's error for an unknown name."""
        self.check(name)
        module = name.replace("-", "_") if self.hyphens else name
        return cast(Member, import_module(f"{self.package}.{module}"))
