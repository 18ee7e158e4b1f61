"""Classes of modules by their names: a block is declared and counted without importing torch.

The import takes a second, which is longer than everything else that counting a network takes.
"""

from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from nas.blocks import modules


@dataclass(frozen=True)
class Class:
    """A class by its home and name; a call of it with keywords is an `Instance`."""

    home: str
    name: str

    @classmethod
    def torch(cls, name: str) -> "Class":
        """Name a class of torch.nn."""
        return cls("torch.nn", name)

    @classmethod
    def own(cls, file: str, name: str) -> "Class":
        """Name a class of a file of `nas/blocks/modules/`."""
        return cls(f"{modules.__name__}.{file}", name)

    def load(self) -> type:
        """Import the class."""
        loaded: type = getattr(import_module(self.home), self.name)
        return loaded

    def names(self, value: Any) -> bool:
        """Tell whether a value is this name, or the class itself, as blocks of your own have it."""
        return value == self or (isinstance(value, type) and value is self.load())

    def __call__(self, **arguments: Any) -> "Instance":
        return Instance(class_=self, **arguments)


class Instance(SimpleNamespace):
    """A constructor's call, not made yet: `class_`, and the arguments as attributes."""

    class_: Class


def loaded(value: Any) -> Any:
    """Return an argument of a module: its classes imported, its instances made."""
    if isinstance(value, Class):
        return value.load()
    if isinstance(value, Instance):
        fields = {name: loaded(field) for name, field in vars(value).items()}
        return fields.pop("class_")(**fields)
    if isinstance(value, tuple):
        make = getattr(value, "_make", tuple)  # a named tuple's
        return make(map(loaded, value))
    return value
