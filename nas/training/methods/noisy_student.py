"""Self-training with Noisy Student improves ImageNet classification: Xie et al., arXiv:1911.04252.

A teacher labels images that have no labels, as they are. The student learns from them and from the
labelled images together, with noise: its recipe's augmentation, dropout and stochastic depth.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.training.methods import Aids, Guide, MicroBatch, plain

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training.recipe import Recipe

teaches = reads = one_class = True


def words(recipe: "Recipe") -> str:
    """Say which images the teacher labels."""
    return (
        f"A teacher labels images that have no labels; of those that it is at least "
        f"{recipe.least_confidence:.0%} sure of, {SELECTIONS[recipe.pseudo_labels].words}, "
        f"{recipe.unlabelled_ratio:g} are in a batch for each labelled one."
    )


def begin(module: "nn.Module", recipe: "Recipe", aids: Aids) -> Guide:
    """Begin with the teacher's labels; without an image that it labels it is plain training."""
    import torch
    from torch.nn.functional import cross_entropy

    from nas.training.images import channels_last, standardised

    usual = plain.begin(module, recipe, aids)
    if aids.teacher is None or aids.unlabelled is None:
        return usual
    device, images = next(module.parameters()).device, aids.unlabelled.images
    teacher = aids.teacher.on(device)
    labels = teacher.probabilities(images(teacher.resolution))
    pool = chosen(labels.cpu(), recipe)

    def losses(batch: MicroBatch) -> "Iterator[Tensor]":
        count, look = math.ceil(recipe.unlabelled_ratio * len(batch.x)), batch.look
        drawn = pool[torch.randint(len(pool), (count,))]
        pixels = images(batch.x.shape[-1])[drawn.numpy()]
        others = standardised(pixels, look.mean, look.std, device)
        x = torch.cat([batch.x, channels_last(look.change(others))])
        logits = batch.answer(x)
        wanted = labels[drawn.to(device)]
        loss = batch.share * cross_entropy(logits[len(batch.x) :], wanted)
        part = count / len(x)  # the loss is the mean over all images
        yield (1 - part) * batch.loss(logits[: len(batch.x)]) + part * loss

    return Guide(losses) if len(pool) and recipe.unlabelled_ratio else usual


def chosen(probabilities: "Tensor", recipe: "Recipe") -> "Tensor":
    """Return the indices of the images that are learnt from, by the teacher's answers.

    `probabilities`: (N, classes). An image that comes several times is drawn as often.
    """
    sure = (probabilities.amax(1) >= recipe.least_confidence).nonzero()[:, 0]
    return sure[SELECTIONS[recipe.pseudo_labels].choose(probabilities[sure])]


@dataclass(frozen=True)
class Selection:
    """A rule by which images that a teacher is sure of are taken.

    `words` name it. `choose(probabilities)`, of (N, classes), returns indices.
    """

    words: str
    choose: "Callable[[Tensor], Tensor]"


def _all(probabilities: "Tensor") -> "Tensor":
    import torch

    return torch.arange(len(probabilities))


def _balanced(probabilities: "Tensor") -> "Tensor":
    """Take as many of each class: the surest of many, few again and again (section 3.1)."""
    import torch

    confidence, answers = probabilities.max(1)
    classes = torch.unique(answers)
    each = -(-len(answers) // max(1, len(classes)))
    taken = [torch.empty(0, dtype=torch.long)]
    for label in classes:
        members = (answers == label).nonzero()[:, 0]
        surest = members[confidence[members].argsort(descending=True, stable=True)]
        taken.append(surest.repeat(-(-each // len(surest)))[:each])
    return torch.cat(taken)


SELECTIONS: Mapping[str, Selection] = {
    "balanced": Selection("as many of each class", _balanced),
    "all": Selection("each once", _all),
}
