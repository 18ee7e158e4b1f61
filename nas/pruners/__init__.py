"""The registry of pruners, which end a trial before its last epoch: one file per pruner.

The file's name is the pruner's name. `ladder.py` holds the rules of the pruners with rungs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nas.registry import Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

DEFAULT = "median"
Factor = Callable[["FrozenTrial"], float]
"""What a trial's metric is multiplied by in its score: the cost's part, which is certain."""


class Pruner(Protocol):
    """A pruner's file.

    With `LADDER` trainings stop at rungs and the best go on; with `BRACKETS` they begin at several.
    """

    LADDER: bool
    BRACKETS: bool

    def make(self, epochs: int, factor: Factor) -> "BasePruner":
        """Make the pruner within a trial of this many epochs.

        It may say in its `reason` why it has stopped the last trial.
        """


_registry: Registry[Pruner] = Registry("pruner", __name__, helpers=("ladder",))
names, check, get = _registry.names, _registry.check, _registry.get


def ladders() -> list[str]:
    """Return the names of the pruners with rungs."""
    return [name for name in names() if get(name).LADDER]


def reason(pruner: "BasePruner") -> str | None:
    """Return why a pruner has stopped the last trial that it was asked about, if it says so."""
    return getattr(pruner, "reason", None)
