"""Distilling the Knowledge in a Neural Network: Hinton, Vinyals, Dean, arXiv:1503.02531."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nas.training.methods import Aids, Guide, MicroBatch, plain

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training.recipe import Recipe
    from nas.training.targets import Targets

teaches, reads, one_class = True, False, False


def words(recipe: "Recipe") -> str:
    """Say what the teacher's answers weigh."""
    return (
        f"A teacher's answers to the same images, at temperature {recipe.temperature:g}, weigh "
        f"{recipe.teacher_share:g}, the labels {1 - recipe.teacher_share:g}."
    )


def begin(module: "nn.Module", recipe: "Recipe", aids: Aids) -> Guide:
    """Begin with the teacher; it sees the images as the network does, changed and mixed."""
    if aids.teacher is None:
        return plain.begin(module, recipe, aids)
    teacher = aids.teacher.on(next(module.parameters()).device)
    share, temperature = recipe.teacher_share, recipe.temperature

    def losses(batch: MicroBatch) -> "Iterator[Tensor]":
        logits = batch.answer(batch.x)
        wanted = teacher.logits(batch.x, batch.look)
        apart = divergence(logits, wanted, temperature, batch.targets)
        # Times T^2: the gradients of soft targets shrink with it (section 2 of the paper).
        yield (1 - share) * batch.loss(logits) + share * temperature**2 * batch.share * apart

    return Guide(losses)


def divergence(
    logits: "Tensor", wanted: "Tensor", temperature: float, targets: "Targets"
) -> "Tensor":
    """Return KL(teacher || student) of probabilities at a temperature, the mean over the images.

    `logits` and `wanted`: (N, classes), the student's and the teacher's. Of several labels it is
    the mean over them too.
    """
    import torch
    from torch.nn.functional import kl_div

    pairs = zip(targets.outputs(logits), targets.outputs(wanted), strict=True)
    each = [
        kl_div(
            (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1),
            reduction="batchmean", log_target=True,
        )
        for student, teacher in pairs
    ]  # fmt: skip
    return torch.stack(each).mean()
