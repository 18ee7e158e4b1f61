"""Folds: how images are divided, what is scored on them, and what is handed over."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_kit import arguments, nas_here, result
from test_training import TINY, curve

from nas import data
from nas.data import DataSet, Split
from nas.data.dataset import in_memory
from nas.data.folds import divided, joined, part, possible
from nas.errors import DataError, Interrupted
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.images import gather
from nas.training.metrics import ERROR, epoch_metrics
from nas.training.metrics.predictions import pooled
from nas.training.recipe import Recipe
from nas.training.recipes import ENOUGH, compose, default_recipe
from nas.training.reports import gain_error
from nas.training.trainer import Control, TrainResult


def few(train: int = 60, validation: int = 40) -> DataSet:
    """Return digits with few images for training and validation."""
    whole = data.load("digits")
    cut = {"train": train, "validation": validation}
    splits = {
        name: part(split, np.arange(cut.get(name, len(split))))
        for name, split in whole.splits.items()
    }
    return replace(whole, splits=splits)


FEW = few()
PLAIN = replace(default_recipe(FEW, epochs=3), augmentation={"rotation": 20.0})
RECIPE = replace(PLAIN, folds=3)


def labelled(train: list[int], validation: list[int], groups: list[int] | None = None) -> DataSet:
    """Return a data set of two classes with these labels, and groups of all images."""
    splits, at = {}, 0
    for name, labels in (("train", train), ("validation", validation), ("test", [0, 1])):
        images = np.zeros((len(labels), 8, 8, 1), np.uint8)
        split = in_memory(images, np.array(labels, np.int64))
        own = None if groups is None else np.array(groups[at : at + len(labels)])
        splits[name] = Split(split.labels, split.images, own)
        at += len(labels)
    return DataSet("few", "0", ("cat", "dog"), 1, 8, frozenset(), splits)


LABELS = st.lists(st.integers(0, 1), min_size=12, max_size=60)


@given(train=LABELS, validation=LABELS, count=st.integers(2, 5))
def test_folds_partition_the_images(train: list[int], validation: list[int], count: int) -> None:
    """Each train and validation image is in one fold; folds differ by one image of a class."""
    images = labelled(train, validation)
    if possible(images, count) < count:
        with pytest.raises(DataError, match=r"class '(cat|dog)' has [0-4] images"):
            divided(images, count)
        return
    folds = divided(images, count)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(train) + len(validation)))
    counts = np.array([np.bincount(joined(images).labels[fold], minlength=2) for fold in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert all(
        (one == other).all() for one, other in zip(folds, divided(images, count), strict=True)
    )


@given(
    patients=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), min_size=8, max_size=20),
    count=st.integers(2, 4),
)
def test_a_group_is_in_one_fold(patients: list[tuple[int, int]], count: int) -> None:
    """Groups never straddle folds, every fold has images and leaves some of each class to train on;
    where that can't be, an error says so.
    """
    labels = [label for label, images in patients for _ in range(images)]
    groups = [patient for patient, (_, images) in enumerate(patients) for _ in range(images)]
    images = labelled(labels[:7], labels[7:], groups)
    fewest = min(sum(label == each for label, _ in patients) for each in (0, 1))
    try:
        folds = divided(images, count)
    except DataError:
        assert possible(images, count) < count
        return
    assert fewest >= count
    members = [set(np.array(groups)[fold].tolist()) for fold in folds]
    assert sum(map(len, members)) == len(set(groups)) == len(set().union(*members))
    for fold in folds:
        assert set(np.delete(np.array(labels), fold).tolist()) == {0, 1}
        assert len(fold)


def test_recipes_without_folds_keep_their_ids() -> None:
    """One fold is the validation split: it is no part of a recipe's id, JSON or words."""
    one = replace(RECIPE, folds=1)
    assert one.hash == PLAIN.hash != RECIPE.hash
    assert ("folds" in one.to_json(), RECIPE.to_json()["folds"]) == (False, 3)
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert "on 3 folds of the train and validation images" in RECIPE.describe()


@pytest.mark.parametrize("changes", [{}, {"early_stopping": 1, "learning_rate": 0.0}], ids=str)
def test_an_interrupted_training_resumes_bit_for_bit(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """All networks go on from one checkpoint, also where the first is in the middle of an epoch."""
    recipe = replace(RECIPE, **changes)
    whole, expected = trained(recipe)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6  # in the second epoch, after two of its four networks

    control = Control(Checkpoints(str(tmp_path)), should_stop=should_stop)
    with pytest.raises(Interrupted, match="Stopped in epoch 2"):
        trainer.train(TINY, FEW, recipe, control=control)
    again, resumed = trained(recipe, Checkpoints(str(tmp_path)))
    assert curve(again) == curve(whole)
    assert again[0].restored
    assert all(torch.equal(resumed.state[name], expected.state[name]) for name in expected.state)


def trained(
    recipe: Recipe, checkpoints: Checkpoints | None = None, *, refit: bool = True
) -> tuple[list[trainer.EpochResult], TrainResult]:
    """Return the epochs and the result of a training."""
    epochs: list[trainer.EpochResult] = []
    control = Control(checkpoints, epochs.append)
    return epochs, trainer.train(TINY, FEW, recipe, control=control, refit=refit)


def test_the_metric_is_of_pooled_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch's metrics are of all images, each as the network says that did not see it."""
    made = []
    predict = trainer.predict

    def spied(*arguments: Any) -> Any:
        made.append(predict(*arguments))
        return made[-1]

    monkeypatch.setattr(trainer, "predict", spied)
    epochs, _ = trained(RECIPE)
    assert len(made) == RECIPE.folds * RECIPE.epochs
    last = pooled(made[-RECIPE.folds :])
    order = np.concatenate(divided(FEW, RECIPE.folds))
    assert (last.labels == joined(FEW).labels[order]).all()
    error = {ERROR: gain_error(last, RECIPE.metric)}
    assert epochs[-1].metrics == epoch_metrics(last, RECIPE.metric) | error
    for fold in gather(FEW, RECIPE, RECIPE.rung(1), 8)[:-1]:
        assert fold.validation is not None
        assert len(fold.members) + len(fold.validation) == len(order)


def test_the_refit_changes_no_metric(tmp_path: Path) -> None:
    """Without the network on all images the curve is the same, and there are no weights. Its
    checkpoint is none of a training that hands weights over.
    """
    (whole, with_refit), (bare, without) = trained(RECIPE), trained(RECIPE, refit=False)
    assert curve(bare) == curve(whole)
    assert (without.metrics, without.state) == (with_refit.metrics, {})
    trained(RECIPE, Checkpoints(str(tmp_path)), refit=False)
    epochs, again = trained(RECIPE, Checkpoints(str(tmp_path)))
    assert not any(epoch.restored for epoch in epochs)
    assert all(torch.equal(again.state[name], with_refit.state[name]) for name in again.state)


def test_folds_are_automatic_for_few_validation_images() -> None:
    """They come where validation is small and the classes allow it; what is said wins."""
    enough = few(400, ENOUGH)
    assert [compose(each, folds=3).folds for each in (FEW, enough)] == [3, 1]
    assert compose(FEW, folds=3, given={"folds": 1}).folds == 1
    assert compose(FEW, folds=3, words=["training.folds=2"]).folds == 2
    assert compose(FEW).folds == 1
    two = labelled([0] * 20 + [1], [0, 1])
    assert [compose(each, folds=5).folds for each in (two, labelled([0, 1], [0]))] == [2, 1]


def test_more_folds_than_images_of_a_class_are_refused(tmp_path: Path) -> None:
    """The error names the class and its images, has exit code 2, and comes before the store."""
    ended = nas_here("search", *arguments(tmp_path, images=10, folds=22), "--json")
    assert ended.returncode == 2
    assert "in each of 22 folds; class '0' has 21 images" in " ".join(ended.stderr.split())
    assert not (tmp_path / "nas.db").exists()


def test_a_search_on_folds(tmp_path: Path) -> None:
    """Trials keep no weights, finalists have the refit's; the first lines say what is trained."""
    words = arguments(tmp_path, images=32, folds=3, finalists=1, final_seeds=2, workers=0)
    ended = nas_here("search", *words, "--json")
    best = result(ended)["best"]
    said = " ".join(ended.stderr.split())
    assert "scores are of 3 folds of all 64 train and validation images, 3 for finalists" in said
    assert "32 validation images can't tell networks apart" in said
    assert "a trial trains 3 networks" in said
    assert 0 <= best["validation"]["accuracy"] <= 1
    assert best["test"]["accuracy"] >= 0.5
    kept = sorted(path.parent.parent.parent.name for path in tmp_path.rglob("weights.safetensors"))
    assert kept == ["tiny-finalists"] * 2
