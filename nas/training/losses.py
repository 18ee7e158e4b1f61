"""The registries of losses and class weights: a row of `LOSSES` or `WEIGHTINGS` is one.

Reading them imports no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.training.targets import targets_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nas.data.dataset import Labels
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Classes:
    """The facts of the train split's classes that a loss may use.

    `weights`: (classes,), the weight of an image of each class, 1 on average over the images.
    `log_prior`: (classes,), the logarithm of each class's share of the images. Of several labels
    both are (labels, 2), without and with each.
    """

    weights: "Tensor"
    log_prior: "Tensor"


def _cross_entropy(
    logits: "Tensor", labels: "Tensor", classes: Classes, recipe: "Recipe"
) -> "Tensor":
    from torch.nn.functional import cross_entropy

    smoothing = recipe.label_smoothing
    return cross_entropy(logits, labels, weight=classes.weights, label_smoothing=smoothing)


def _focal(logits: "Tensor", labels: "Tensor", classes: Classes, recipe: "Recipe") -> "Tensor":
    """Lin et al., arXiv:1708.02002, over a softmax; with gamma 0 it is the cross-entropy."""
    log_p = logits.log_softmax(1)
    hard = (1 - log_p.exp()) ** recipe.focal_gamma
    targets = _targets(logits, labels, recipe)
    losses = -(classes.weights * targets * hard * log_p).sum(1)
    return losses.sum() / classes.weights[labels].sum()


def _logit_adjusted(
    logits: "Tensor", labels: "Tensor", classes: Classes, recipe: "Recipe"
) -> "Tensor":
    """Menon et al., arXiv:2007.07314, equation 10: rare classes must win by a larger margin."""
    adjusted = logits + recipe.logit_tau * classes.log_prior
    return _cross_entropy(adjusted, labels, classes, recipe)


def _ordinal(logits: "Tensor", labels: "Tensor", classes: Classes, recipe: "Recipe") -> "Tensor":
    """Average the cross-entropies of "above grade k" over k: far grades cost more than near ones.

    This is the ranked ignorance score of Toedter and Ahrens, Mon. Wea. Rev. 140 (2012), 2005-2017,
    divided by the number of its terms. For two classes it is the cross-entropy.
    """
    log_p = logits.log_softmax(1)
    at_most = log_p.logcumsumexp(1)[:, :-1]  # (N, classes - 1): log P(grade <= k)
    above = log_p.flip(1).logcumsumexp(1).flip(1)[:, 1:]  # log P(grade > k)
    target = _targets(logits, labels, recipe).cumsum(1)[:, :-1]
    losses = -(target * at_most + (1 - target) * above).mean(1)
    weights = classes.weights[labels]
    return (weights * losses).sum() / weights.sum()


def _targets(logits: "Tensor", labels: "Tensor", recipe: "Recipe") -> "Tensor":
    """Return the smoothed one-hot targets, (N, classes)."""
    from torch.nn.functional import one_hot

    count, smoothing = logits.shape[1], recipe.label_smoothing
    return one_hot(labels, count).to(logits.dtype) * (1 - smoothing) + smoothing / count


@dataclass(frozen=True)
class Loss:
    """The function that training minimises.

    `words` name it with the recipe's settings. `compute(logits, labels, classes, recipe)` returns
    the mean over the images (N,), each weighted by its class's weight. `one_class`: only where an
    image has one class.
    """

    words: str
    compute: "Callable[[Tensor, Tensor, Classes, Recipe], Tensor]"
    one_class: bool = False


LOSSES = {
    "cross_entropy": Loss("Label smoothing {recipe.label_smoothing:g}", _cross_entropy),
    "focal": Loss(
        "Focal loss with gamma {recipe.focal_gamma:g}, label smoothing {recipe.label_smoothing:g}",
        _focal,
    ),
    "logit_adjusted": Loss(
        "Logits adjusted by {recipe.logit_tau:g} times the logarithm of the classes' shares, "
        "label smoothing {recipe.label_smoothing:g}",
        _logit_adjusted,
    ),
    "ordinal": Loss(
        "Ordinal loss over the classes in their order, label smoothing {recipe.label_smoothing:g}",
        _ordinal,
        one_class=True,
    ),
}


@dataclass(frozen=True)
class Weighting:
    """A rule by which classes weigh in the loss.

    `words` are the weight of an image in a class of n images, with the recipe's settings.
    `compute(counts, recipe)` returns these weights, up to a common factor, for the classes'
    numbers of images (classes,).
    """

    words: str
    compute: "Callable[[Tensor, Recipe], Tensor]"


def _power(counts: "Tensor", recipe: "Recipe") -> "Tensor":
    return counts**-recipe.class_balance


def _inverse_frequency(counts: "Tensor", _: "Recipe") -> "Tensor":
    return 1 / counts


def _effective_number(counts: "Tensor", recipe: "Recipe") -> "Tensor":
    """Weigh by the effective number of images: Cui et al., arXiv:1901.05555, equation 2."""
    return ((1 - recipe.effective_beta) / (1 - recipe.effective_beta ** counts.double())).float()


WEIGHTINGS = {
    "power": Weighting("n^-{recipe.class_balance:g}", _power),
    "inverse_frequency": Weighting("1/n", _inverse_frequency),
    "effective_number": Weighting(
        "(1 - b)/(1 - b^n), b = {recipe.effective_beta:g}", _effective_number
    ),
}
"""The weightings by name; `power` with a class_balance of 0 weighs no class, with 1 it is 1/n."""


def classes_of(labels: "Labels", recipe: "Recipe", device: "torch.device") -> Classes:
    """Return the facts of the train split's classes, as tensors on a device."""
    import torch

    counts = torch.from_numpy(targets_of(labels).counts(labels)).float().clamp(min=1)
    compute = WEIGHTINGS[recipe.class_weights].compute
    facts = [facts_of(row, compute(row, recipe)) for row in counts.view(-1, counts.shape[-1])]
    weights = torch.stack([each.weights for each in facts]).view(counts.shape)
    log_prior = torch.stack([each.log_prior for each in facts]).view(counts.shape)
    return Classes(weights.to(device), log_prior.to(device))


def facts_of(counts: "Tensor", weights: "Tensor") -> Classes:
    """Return the facts of classes of so many images, by weights up to a common factor."""
    weights = weights * counts.sum() / (weights @ counts)
    return Classes(weights, (counts / counts.sum()).log())


def total_weights(labels: "Tensor", classes: Classes) -> "Tensor":
    """Return the images' total weight, (1,), of several labels for each, (labels,)."""
    import torch

    problems = targets_of(labels).problems(labels, classes)
    return torch.stack([facts.weights[each].sum() for each, facts in problems])


def share_of_loss(
    logits: "Tensor", labels: "Tensor", classes: Classes, recipe: "Recipe", weight: "Tensor"
) -> "Tensor":
    """Return what some images add to a batch's mean loss; `weight` is 1 / the total weight."""
    import torch

    targets, compute = targets_of(labels), LOSSES[recipe.loss].compute
    problems = zip(targets.outputs(logits), targets.problems(labels, classes), strict=True)
    means = torch.stack([compute(each, of, facts, recipe) for each, (of, facts) in problems])
    return (means * (total_weights(labels, classes) * weight)).mean()
