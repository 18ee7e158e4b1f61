"""Uniform choice by choice: the baseline of every comparison."""

from optuna.samplers import BaseSampler, RandomSampler


def make(seed: int) -> BaseSampler:
    """Make the sampler."""
    return RandomSampler(seed=seed)
