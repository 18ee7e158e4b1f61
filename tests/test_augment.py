"""Recipes, augmentation and metrics."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from sklearn import metrics as referee

from nas import data
from nas.data import OPERATIONS
from nas.errors import UserError
from nas.training.augment import augmenter
from nas.training.metrics import metrics
from nas.training.recipe import (
    TUNED,
    Augmentation,
    Recipe,
    default_epochs,
    default_recipe,
)

RECIPE = Recipe("set", "0" * 32, epochs=3)


def test_operations_have_one_list() -> None:
    """A data set may forbid exactly the operations that an augmentation has."""
    assert {field.name for field in fields(Augmentation)} == OPERATIONS


def test_recipe_json() -> None:
    """A recipe survives JSON with its hash; every field of it decides about the hash."""
    again = Recipe.from_json(json.loads(json.dumps(RECIPE.to_json())))
    assert (again, again.hash) == (RECIPE, RECIPE.hash)
    assert len(RECIPE.hash) == 16
    assert replace(RECIPE, seed=1).hash != RECIPE.hash
    assert replace(RECIPE, augmentation=Augmentation()).hash != RECIPE.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "acuracy"}, "No metric named 'acuracy'. Did you mean 'accuracy'"),
        ({"epochs": 0}, "at least 1 epoch, not 0"),
        ({"batch_size": 1}, "at least 2 images, not 1"),
    ],
)
def test_bad_recipe(change: dict[str, object], message: str) -> None:
    """A recipe that can't be trained is refused with the rule and the value."""
    with pytest.raises(UserError, match=message):
        Recipe.from_json(RECIPE.to_json() | change)


def test_recipe_with_unknown_fields() -> None:
    """What is no recipe is refused with the fields that a recipe has."""
    with pytest.raises(UserError, match=r"'optimizer'.*Its fields: data, "):
        Recipe.from_json(RECIPE.to_json() | {"optimizer": "sgd"})


def test_default_recipe_obeys_the_data_set() -> None:
    """Digits are not flipped; everything else of the tuned augmentation stays, and is said."""
    recipe = default_recipe(data.load("digits"), metric="macro_f1", seed=3)
    assert recipe.augmentation == replace(TUNED, flip=False)
    assert (recipe.metric, recipe.seed, recipe.data) == ("macro_f1", 3, "digits")
    assert "mirrored" not in recipe.describe()
    assert "turned by up to" in recipe.describe()
    assert "not at all" in replace(recipe, augmentation=Augmentation()).describe()


def test_default_epochs() -> None:
    """Larger sets get fewer epochs but more steps, within bounds."""
    sizes = [50, 500, 1079, 4708, 50_000, 1_000_000]
    epochs = [default_epochs(size) for size in sizes]
    assert epochs == sorted(epochs, reverse=True)
    steps = [size * count for size, count in zip(sizes, epochs, strict=True)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_each_operation_alone(operation: str) -> None:
    """Each operation changes a batch, keeps its shape and type, and repeats with the seed."""
    off = {name: False if name == "flip" else 0.0 for name in OPERATIONS}
    change = augmenter(Augmentation(**(off | {operation: getattr(TUNED, operation)})))  # type: ignore[arg-type]
    x = torch.randn(16, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(change(x.clone()))
    assert outputs[0].shape == x.shape
    assert outputs[0].dtype == x.dtype
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], x)


def test_no_operation() -> None:
    """Without augmentation a batch stays as it is."""
    x = torch.randn(2, 1, 8, 8)
    assert augmenter(Augmentation())(x) is x


def test_values_are_not_clipped() -> None:
    """Standardised pixels lie beyond 0 to 1, and augmentation leaves them there."""
    x = torch.randn(64, 1, 16, 16) * 3
    y = augmenter(Augmentation(brightness=0.3, contrast=0.3))(x)
    assert y.min() < -4
    assert y.max() > 4


@pytest.mark.parametrize("size", [8, 28, 57, 96])
def test_sizes_are_shares_of_the_side(size: int) -> None:
    """Cutout blanks the same share of half of the images at any resolution."""
    torch.manual_seed(0)
    y = augmenter(Augmentation(cutout=0.5))(torch.ones(200, 1, size, size))
    blank = (y == 0).float().mean((1, 2, 3))
    assert (blank > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert blank[blank > 0].mean().item() == pytest.approx(0.25, abs=0.05)


def scores_of(answers: list[int], labels: list[int], classes: int) -> dict[str, float]:
    """Score certain answers."""
    return metrics(torch.eye(classes)[answers] * 5, torch.tensor(labels))


@pytest.mark.parametrize("classes", [2, 5])
def test_metrics_equal_scikit_learns(classes: int) -> None:
    """On random predictions every metric is scikit-learn's."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, classes)).astype(np.float32)
    labels = random.choice(classes, 200, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    found = metrics(torch.from_numpy(logits), torch.from_numpy(labels))
    answers, shares = logits.argmax(1), torch.from_numpy(logits).double().softmax(1).numpy()
    auroc = referee.roc_auc_score(
        labels, shares[:, 1] if classes == 2 else shares, multi_class="ovr"
    )
    assert found["accuracy"] == pytest.approx(referee.accuracy_score(labels, answers))
    expected = referee.balanced_accuracy_score(labels, answers)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    assert found["macro_f1"] == pytest.approx(referee.f1_score(labels, answers, average="macro"))
    assert found["auroc"] == pytest.approx(auroc)
    assert found["loss"] == pytest.approx(referee.log_loss(labels, shares), rel=1e-5)
    assert found["majority_rate"] == np.bincount(labels).max() / 200


def test_one_answer_is_recognisable() -> None:
    """A model that gives one answer is at the majority rate, at chance, and counted as one."""
    found = scores_of([1] * 10, [1] * 7 + [0] * 3, 2)
    assert found["predicted_classes"] == 1
    assert found["accuracy"] == found["majority_rate"] == 0.7
    assert found["balanced_accuracy"] == found["auroc"] == 0.5


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("label", [0, 1])
def test_absent_classes(classes: int, label: int) -> None:
    """Labels of one class only give finite numbers, and chance where nothing can be said."""
    found = scores_of([0, 1, 1], [label] * 3, classes)
    assert all(np.isfinite(value) for value in found.values())
    assert found["auroc"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx(found["accuracy"])


def test_absent_class_does_not_count() -> None:
    """The mean over classes leaves one out that no label has."""
    found = scores_of([0, 1, 0, 1, 2], [0, 1, 0, 1, 1], 3)
    assert found["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["auroc"] == pytest.approx((1 + 5 / 6) / 2)


def test_sure_answers_are_no_ties() -> None:
    """auroc tells apart probabilities that single precision rounds to 1."""
    logits = torch.tensor([[0.0, 30.0], [0.0, 40.0], [0.0, 50.0], [0.0, 20.0]])
    found = metrics(logits, torch.tensor([0, 1, 1, 0]))
    assert found["auroc"] == 1.0
