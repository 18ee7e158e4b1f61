"""Optuna's median pruner: Golovin et al., Google Vizier, KDD 2017."""

from optuna.pruners import BasePruner, MedianPruner

from nas.pruners import Factor

LADDER = False
BRACKETS = False


def make(epochs: int, factor: Factor) -> BasePruner:  # noqa: ARG001
    """Make a pruner that waits for five whole trials and for a third of a trial's epochs.

    During the warm-up of the learning rate a metric says little.
    """
    return MedianPruner(n_startup_trials=5, n_warmup_steps=-(-epochs // 3))
