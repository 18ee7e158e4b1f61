"""Augmentation adapts: weak while images are not learnt and not over-fitted, else the recipe's."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training import TINY
from training_kit import few_digits

from nas.training import trainer
from nas.training.adaptation import (
    FIT,
    GAP,
    LEARNT,
    LEAST,
    SHARE,
    next_share,
    no_skill_loss,
    weakened,
)
from nas.training.augmentations import off, switched_on, tuned
from nas.training.checkpoint import Checkpoints
from nas.training.metrics import FACTS
from nas.training.metrics.predictions import Predictions
from nas.training.recipes import compose, default_recipe
from nas.training.trainer import Control, EpochResult

DIGITS, LOSSES = few_digits(), st.floats(0, 5)


@given(loss=LOSSES, fit=LOSSES, share=st.floats(LEAST, 1), gap=st.floats(0.01, 1))
def test_the_share_falls_where_nothing_is_over_fitted(
    loss: float, fit: float, share: float, gap: float
) -> None:
    """It stays within its range, falls where the gap is small, and rises where it is large."""
    last = {"loss": loss, FIT: fit, SHARE: share}
    following, gap = next_share({GAP: gap}, DIGITS, last), gap * no_skill_loss(DIGITS)
    assert LEAST <= following <= 1
    if loss - fit >= gap or fit <= 0.29 * loss:
        assert following == 1 or following > share
    elif loss - fit < 0.69 * loss:
        assert following == LEAST or following < share
    assert next_share({}, DIGITS, last) == next_share({GAP: gap}, DIGITS, None) == 1


@given(fit=LOSSES, over=st.floats(-0.1, 0.1), share=st.floats(LEAST, 0.8))
def test_a_network_that_has_learnt_its_images_is_given_more(
    fit: float, over: float, share: float
) -> None:
    """With little loss on train images the share rises, however little the network over-fits."""
    last = {"loss": fit + over, FIT: fit, SHARE: share}
    strengths, learnt = {GAP: 0.15, LEARNT: 0.1}, fit < 0.1 * no_skill_loss(DIGITS)
    following = next_share(strengths, DIGITS, last)
    assert following > share if learnt else following == next_share({GAP: 0.15}, DIGITS, last)


def test_only_strengths_become_weaker() -> None:
    """Operations that are on or off, whole numbers and settings of others stay as they are."""
    given = switched_on(
        off() | tuned() | {"randaugment": 2, "randaugment_magnitude": 5.0, "mixup": 0.2}
    )
    half = weakened(given, 0.5)
    changed = {name for name in given if half[name] != given[name]}
    assert changed == {"rotation", "scale", "shift", "brightness", "contrast", "cutout", "mixup"}
    assert all(half[name] == given[name] / 2 for name in changed)
    assert weakened(given, 1.0) == given


@pytest.mark.parametrize("task", ["classes", "labels"])
def test_the_loss_of_no_skill(task: str) -> None:
    """It is the log loss of one answer for all images: the classes' frequencies."""
    data = few_digits()
    train, count = data.splits["train"], len(data.classes)
    labels = train.labels
    if task == "labels":
        labels = np.stack([train.labels % 2, train.labels > 6], axis=1).astype(np.int64)
        data = replace(data, classes=("odd", "high"))
        shares = labels.mean(0)
        answer = np.log(shares / (1 - shares))
    else:
        answer = np.log(np.bincount(labels, minlength=count) / len(labels))
    data = replace(data, splits=data.splits | {"train": replace(train, labels=labels)})
    assert data.task == task
    same = Predictions(np.tile(answer, (len(labels), 1)).astype(np.float32), labels)
    assert math.isclose(no_skill_loss(data), FACTS["loss"].value(same), rel_tol=1e-5)


def test_a_training_adapts_and_resumes_as_if_it_had_not_stopped(
    tmp_path: Path,
) -> None:
    """Each epoch stores its share, which follows from the one before, also after a stop."""
    adaptive = default_recipe(few_digits(), epochs=4)
    whole, parts = list[EpochResult](), list[EpochResult]()
    straight = trainer.train(TINY, few_digits(), adaptive, control=Control(on_epoch=whole.append))

    def stop(result: EpochResult) -> None:
        if result.epoch == 2:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(str(tmp_path / "c"))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(TINY, few_digits(), adaptive, control=Control(checkpoints, stop))
    control = Control(checkpoints, parts.append)
    resumed = trainer.train(TINY, few_digits(), adaptive, control=control)
    assert [each.metrics for each in parts] == [each.metrics for each in whole]
    assert all((resumed.state[name] == tensor).all() for name, tensor in straight.state.items())
    assert whole[0].metrics[SHARE] == 1.0
    for before, after in itertools.pairwise(whole):
        expected = next_share(adaptive.augmentation, few_digits(), before.metrics)
        assert after.metrics[SHARE] == expected
    assert whole[-1].metrics[SHARE] < 1  # four epochs are too few to over-fit


def test_a_fixed_augmentation_measures_nothing_more() -> None:
    """Without the gap an epoch has neither a share nor a loss on train images."""
    fixed = compose(few_digits(), given={"epochs": 1}, words=[f"augmentation.{GAP}=0"])
    assert not {FIT, SHARE} & trainer.train(TINY, few_digits(), fixed).metrics.keys()
