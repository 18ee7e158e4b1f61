"""Uniform choice by choice: the baseline of every comparison."""

from optuna.samplers import BaseSampler, RandomSampler

from nas.samplers._oracle import Oracle

LEARNS = False
OPENING = 0


def make(seed: int, oracle: Oracle | None = None) -> BaseSampler:  # noqa: ARG001
    """Make the sampler."""
    return RandomSampler(seed=seed)
