"""When a trial is given up before its last epoch."""

from typing import TYPE_CHECKING

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

NAMES = ("median", "none", "successive_halving")
DEFAULT = "median"


def check(name: str) -> None:
    """Refuse an unknown pruner."""
    if name not in NAMES:
        raise UserError(unknown("pruner", name, NAMES))


def get(name: str, epochs: int) -> "BasePruner":
    """Make a pruner for trials of this many epochs.

    The median pruner waits for five whole trials and for a third of a trial's epochs, in which
    the warm-up of the learning rate says little. Successive halving is asynchronous (Li et al.,
    arXiv:1810.05934): rungs at a ninth and a third of the epochs.
    """
    from optuna import pruners

    check(name)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=-(-epochs // 3))
    if name == "successive_halving":
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, epochs // 9), reduction_factor=3)
    return pruners.NopPruner()
