"""Training by the labels alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nas.training.methods import Aids, Guide, MicroBatch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training.recipe import Recipe

teaches = reads = one_class = False


def words(_: "Recipe") -> str:
    """Say nothing: it is the usual training."""
    return ""


def begin(_module: "nn.Module", _recipe: "Recipe", _aids: Aids) -> Guide:
    """Begin; there is nothing to prepare."""
    return Guide(_losses)


def _losses(batch: MicroBatch) -> "Iterator[Tensor]":
    yield batch.loss(batch.answer(batch.x))
