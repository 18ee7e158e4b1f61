"""When a trial is given up before its last epoch."""

from typing import TYPE_CHECKING

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

NAMES = ("hyperband", "median", "none", "successive_halving")
LADDERS = ("hyperband", "successive_halving")  # nas.pruners.ladder says who goes on
DEFAULT = "median"


def check(name: str) -> None:
    """Refuse an unknown pruner."""
    if name not in NAMES:
        raise UserError(unknown("pruner", name, NAMES))


def get(name: str, epochs: int) -> "BasePruner":
    """Make what prunes within a trial of this many epochs; trials on a ladder end at their rung.

    The median pruner waits for five whole trials and for a third of a trial's epochs, in which
    the warm-up of the learning rate says little.
    """
    from optuna import pruners

    check(name)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=-(-epochs // 3))
    return pruners.NopPruner()
