"""Data small enough to train on in a test."""

from dataclasses import replace

from nas import data
from nas.data import DataSet, Split


def few_digits() -> DataSet:
    """Return the digits with fewer images for training."""
    whole = data.load("digits")
    splits = dict(whole.splits)
    few = splits["train"]
    splits["train"] = Split(few.labels[::4], lambda resolution: few.images(resolution)[::4])
    return replace(whole, splits=splits)
