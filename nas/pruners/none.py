"""No pruner: every trial is trained to its last epoch."""

from optuna.pruners import BasePruner, NopPruner

LADDER = False
BRACKETS = False


def make(epochs: int) -> BasePruner:  # noqa: ARG001
    """Make the pruner."""
    return NopPruner()
