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

    `PACKAGE` is imported, and installed with the extra `EXTRA` ("" for what `nas` itself needs).
    """

    PACKAGE: str
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
    if find_spec(backend.PACKAGE) is None:
        raise UserError(
            f"The latency back end {name} needs a package: pip install 'nas[{backend.EXTRA}]'."
        )
    return backend


def default(device: str = "cpu") -> str:
    """Return the back end that is used where none is given: onnxruntime, if it is installed."""
    installed = find_spec(_registry.get(PREFERRED).PACKAGE) is not None
    return PREFERRED if installed and device == "cpu" else EAGER
