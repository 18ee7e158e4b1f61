"""Losses, class weights and balanced sampling: the registries of nas/training/losses.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import TINY
from torch.nn import functional
from training_kit import few_digits

from nas.errors import UserError
from nas.training import trainer
from nas.training.images import sampling_multipliers, shuffled
from nas.training.losses import LOSSES, WEIGHTINGS, Classes, classes_of
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe

CPU = torch.device("cpu")
RECIPE = Recipe("set", "0" * 32, epochs=3)
COUNTS = np.array([100, 30, 5])
LABELS = np.repeat(np.arange(3), COUNTS)
RETINA = np.array([25810, 2443, 5292, 873, 708])  # the training set of the Kaggle challenge


def loss_of(
    name: str, logits: torch.Tensor, labels: torch.Tensor, **values: object
) -> torch.Tensor:
    """Return a loss under a recipe with these values."""
    recipe = replace(RECIPE, loss=name, **values)
    return LOSSES[name].compute(logits, labels, classes_of(LABELS, recipe, CPU), recipe)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of 40 images, with gradients, and labels of three classes."""
    torch.manual_seed(0)
    return torch.randn(40, 3, requires_grad=True), torch.arange(40) % 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_loss_trains_under_every_weighting(loss: str, weighting: str) -> None:
    """Steps along a loss's gradient make it smaller, whatever the weights of the classes."""
    logits, labels = batch()
    values = []
    for _ in range(50):
        value = loss_of(loss, logits, labels, class_weights=weighting)
        (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
        values.append(value.item())
    assert values[-1] < values[0]
    assert np.isfinite(values).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_certain_network_has_a_finite_loss(loss: str) -> None:
    """Logits a thousand apart, right or wrong, give a finite loss and finite gradients."""
    logits = torch.tensor([[1000.0, 0.0, 0.0], [0.0, 1000.0, -1000.0]], requires_grad=True)
    value = loss_of(loss, logits, torch.tensor([0, 2]))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_neutral_settings_are_the_cross_entropy(smoothing: float, weighting: str) -> None:
    """Focal loss without gamma and logit adjustment without tau are torch's cross-entropy."""
    logits, labels = batch()
    same = {"label_smoothing": smoothing, "class_weights": weighting}
    plain = loss_of("cross_entropy", logits, labels, **same)
    assert torch.allclose(loss_of("focal", logits, labels, focal_gamma=0.0, **same), plain)
    assert torch.equal(loss_of("logit_adjusted", logits, labels, logit_tau=0.0, **same), plain)


def test_the_focal_loss_of_a_published_example() -> None:
    """At gamma 2 an answer of probability 0.9 counts a hundredth of its cross-entropy."""
    logits = torch.tensor([[0.9, 0.1]]).log()
    classes = Classes(torch.ones(2), torch.zeros(2))
    value = LOSSES["focal"].compute(
        logits, torch.tensor([0]), classes, replace(RECIPE, label_smoothing=0.0)
    )
    assert value.item() == pytest.approx(-np.log(0.9) / 100, rel=1e-5)


def test_logit_adjustment_favours_the_rare_class() -> None:
    """Of equal logits the adjusted loss is -log of the class's share: a rare class costs most."""
    logits = torch.zeros(1, 3, requires_grad=True)
    values = {}
    for label in range(3):
        value = loss_of("logit_adjusted", logits, torch.tensor([label]), label_smoothing=0.0)
        values[label] = value.item()
    assert values == pytest.approx(dict(enumerate(-np.log(COUNTS / COUNTS.sum()))), rel=1e-5)


def test_an_ordinal_loss_of_two_classes_is_the_cross_entropy() -> None:
    """With one threshold there is nothing but below and above."""
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 2), torch.arange(20) % 2
    recipe = replace(RECIPE, label_smoothing=0.2)
    classes = Classes(torch.tensor([0.5, 2.0]), torch.zeros(2))
    ordinal = LOSSES["ordinal"].compute(logits, labels, classes, recipe)
    expected = functional.cross_entropy(
        logits, labels, weight=classes.weights, label_smoothing=0.2, reduction="none"
    )
    smooth = (
        classes.weights[labels]
        * functional.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")
    ).sum() / classes.weights[labels].sum()
    assert expected.shape == (20,)
    assert torch.allclose(ordinal, smooth)


def test_an_ordinal_loss_grows_with_the_distance() -> None:
    """A wrong answer costs more, the further it is from the right grade; cross-entropy is blind."""
    answers = torch.eye(5) * 4
    right = torch.zeros(5, dtype=torch.long)
    classes = Classes(torch.ones(5), torch.zeros(5))
    losses, plain = (
        [
            LOSSES[name].compute(answers[k : k + 1], right[:1], classes, RECIPE).item()
            for k in range(5)
        ]
        for name in ("ordinal", "cross_entropy")
    )
    assert losses == sorted(losses)
    assert len({round(loss, 6) for loss in losses}) == 5
    assert len({round(loss, 6) for loss in plain[1:]}) == 1


def weights(weighting: str, **values: object) -> np.ndarray:
    """Return the weights of the three classes."""
    recipe = replace(RECIPE, class_weights=weighting, **values)
    return classes_of(LABELS, recipe, CPU).weights.numpy()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_image_weighs_one_on_average(weighting: str) -> None:
    """Weights change which images count, not how much all of them do; rare ones count more."""
    found = weights(weighting, class_balance=0.5)
    assert found @ COUNTS == pytest.approx(COUNTS.sum(), rel=1e-5)
    assert list(found) == sorted(found)


def test_weightings_at_their_ends() -> None:
    """A power of 0 and an effective number with b = 0 weigh nothing; the others go to 1/n."""
    assert weights("power") == pytest.approx([1, 1, 1])
    assert weights("effective_number", effective_beta=0.0) == pytest.approx([1, 1, 1])
    inverse = weights("inverse_frequency")
    assert inverse == pytest.approx(135 / 3 / COUNTS, rel=1e-5)
    assert weights("power", class_balance=1.0) == pytest.approx(inverse)
    assert weights("effective_number", effective_beta=0.99999) == pytest.approx(inverse, rel=1e-3)


def test_the_pneumonia_papers_weights() -> None:
    """For two classes 1/n is w+ = N-/N and w- = N+/N, up to a factor."""
    recipe = replace(RECIPE, class_weights="inverse_frequency")
    negative, positive = classes_of(np.repeat([0, 1], [1214, 3494]), recipe, CPU).weights.tolist()
    assert positive / negative == pytest.approx((1214 / 4708) / (3494 / 4708), rel=1e-5)


def test_the_retina_papers_multipliers() -> None:
    """Sampling in full balance has the five multipliers that the retina study prints."""
    printed = [0.272, 2.875, 1.327, 8.047, 9.922]
    assert sampling_multipliers(RETINA, 1.0) == pytest.approx(printed, abs=1e-3)
    assert sampling_multipliers(RETINA, 0.0) == pytest.approx([1] * 5)


def test_balanced_sampling_draws_classes_equally() -> None:
    """In full balance an epoch has as many images, about a third of each class, by the seed."""
    epochs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        epochs.append(np.concatenate(shuffled(LABELS, 16, balance=1.0)))
    assert [len(epoch) for epoch in epochs] == [len(LABELS)] * 3
    assert np.bincount(LABELS[epochs[0]]) == pytest.approx([45, 45, 45], abs=15)
    assert (epochs[0] == epochs[1]).all()
    assert (epochs[0] != epochs[2]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "focus"}, "No loss named 'focus'. Did you mean 'focal'"),
        ({"class_weights": "inverse"}, "No class_weights named 'inverse'."),
        ({"focal_gamma": -1.0}, "focal_gamma is 0 to 20, not -1"),
        ({"effective_beta": 1.0}, "effective_beta is 0 to 0.99999, not 1"),
        ({"balanced_sampling": 2.0}, "balanced_sampling is 0 to 1, not 2"),
    ],
)
def test_bad_settings(change: dict[str, object], message: str) -> None:
    """A setting out of its range is refused with the rule and the value."""
    with pytest.raises(UserError, match=message):
        replace(RECIPE, **change)


def test_the_settings_are_described() -> None:
    """A recipe's description has the loss, the class weights and the sampling."""
    recipe = replace(RECIPE, loss="focal", class_weights="effective_number", balanced_sampling=0.5)
    words = recipe.describe()
    assert "Focal loss with gamma 2, label smoothing 0.1, an image in a class of n" in words
    assert "weighing (1 - b)/(1 - b^n), b = 0.999, and drawn in proportion to n^-0.5;" in words
    assert "weighing" not in RECIPE.describe()


@pytest.mark.parametrize(
    "values",
    [{"loss": loss} for loss in LOSSES] + [{"balanced_sampling": 1.0}],
    ids=lambda values: next(iter(values.values())),
)
def test_a_recipe_with_it_trains(values: dict[str, object]) -> None:
    """A few epochs under each loss, and under balanced sampling, end above the majority rate."""

    digits = few_digits()
    result = trainer.train(TINY, digits, replace(default_recipe(digits, epochs=6), **values))
    assert result.metrics["accuracy"] > 1.5 * result.metrics["majority_rate"]
