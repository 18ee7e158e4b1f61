"""The registry of pruners, which end a trial before its last epoch: one file per pruner.

The file's name is the pruner's name. `ladder.py` holds the rules of the pruners with rungs.
"""

from typing import TYPE_CHECKING, Protocol

from nas.registry import Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

DEFAULT = "median"


class Pruner(Protocol):
    """A pruner's file.

    With `LADDER` trainings stop at rungs and the best go on; with `BRACKETS` they begin at several.
    """

    LADDER: bool
    BRACKETS: bool

    def make(self, epochs: int) -> "BasePruner":
        """Make the pruner within a trial of this many epochs."""


_registry: Registry[Pruner] = Registry("pruner", __name__, helpers=("ladder",))
names, check, get = _registry.names, _registry.check, _registry.get


def ladders() -> list[str]:
    """Return the names of the pruners with rungs."""
    return [name for name in names() if get(name).LADDER]
