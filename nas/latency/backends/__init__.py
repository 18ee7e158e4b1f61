"""What runs a network whose latency is measured: one file per back end.

A back end's file says which package it needs, where it runs, and prepares a module to be run. The
file's name, with hyphens, is the back end's name. Looking up the names imports nothing.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from nas.errors import UserError
from nas.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

EAGER = "torch"  # also of every table that names no back end: there was no other
PREFERRED = "onnxruntime"


class Backend(Protocol):
    """A back end's file.

    `PACKAGES` are imported, the first of them runs the networks; `EXTRA` installs them, "" where
    `nas` itself needs them.
    """

    PACKAGES: tuple[str, ...]
    EXTRA: str
    DEVICES: tuple[str, ...]
    MEMORY_FORMAT: str

    def prepare(self, module: "nn.Module", images: "Tensor", threads: int) -> Callable[[], object]:
        """Return what runs a module in evaluation mode once, on these images.

        Raises UserError where the back end can't run it on this machine.
        """


_registry: Registry[Backend] = Registry("latency back end", __name__, hyphens=True)
names, check = _registry.names, _registry.check


def get(name: str) -> Backend:
    """Import a back end; raises UserError for an unknown name, and for a package that is missing.

    The message names the extra that brings the package.
    """
    backend = _registry.get(name)
    if missing := _missing(backend):
        raise UserError(
            f"The latency back end {name} needs {' and '.join(missing)}: pip install "
            f"'nas[{backend.EXTRA}]'."
        )
    return backend


def default(device: str = "cpu") -> str:
    """Return the back end that is used where none is given: onnxruntime, if it is installed."""
    return EAGER if device != "cpu" or _missing(_registry.get(PREFERRED)) else PREFERRED


def _missing(backend: Backend) -> list[str]:
    return [package for package in backend.PACKAGES if find_spec(package) is None]
