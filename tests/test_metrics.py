"""Metrics against scikit-learn's definitions, and on predictions that nothing can be said of."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as referee

from nas import data
from nas.errors import UserError
from nas.study import options
from nas.training import metrics
from nas.training.metrics import CLASS_METRICS, EPOCH, FACTS, METRICS
from nas.training.metrics.predictions import Predictions
from nas.training.recipe import check_fits
from nas.training.recipes import default_recipe

NAMES = tuple("abcdef")
AVERAGED = {"precision": {}, "f1": {}, "f2": {"beta": 2.0}, "f0.5": {"beta": 0.5}}


@st.composite
def predictions(draw: st.DrawFn, complete: bool = True) -> Predictions:
    """Draw predictions with ties; `complete` ones have labels of every class."""
    seed = draw(st.integers(0, 2**32 - 1))
    classes, images = draw(st.integers(2, 6)), draw(st.integers(1, 60))
    random = np.random.default_rng(seed)
    scale = draw(st.sampled_from([0.0, 1.0, 8.0, 300.0]))
    logits = np.round(random.normal(size=(images + classes, classes)) * 2) / 2 * scale
    labels = random.integers(0, draw(st.integers(1, classes)), images + classes)
    if complete:
        labels[:classes] = np.arange(classes)
    else:
        logits[random.random(len(logits)) < 0.1] = draw(st.sampled_from([np.nan, np.inf, 0.0]))
    return Predictions(logits.astype(np.float32), labels, NAMES[:classes])


def averaged(name: str, of: Predictions, **how: Any) -> Any:
    """Return scikit-learn's precision or F-beta."""
    if name == "precision":
        return referee.precision_score(of.labels, of.answers, zero_division=0, **how)
    beta = AVERAGED[name].get("beta", 1.0)
    return referee.fbeta_score(of.labels, of.answers, beta=beta, zero_division=0, **how)


def expected(of: Predictions) -> dict[str, float]:
    """Return scikit-learn's metrics of complete predictions, weighted by the first sample."""
    labels, answers, shares = of.labels, of.answers, of.probabilities
    how = {"sample_weight": of.samples[0]}
    hot = np.eye(shares.shape[1])[labels]
    areas = [referee.roc_auc_score(hot[:, k], of.log_odds[:, k], **how) for k in range(len(hot[0]))]
    precisions = [
        referee.average_precision_score(hot[:, k], of.log_odds[:, k], **how)
        for k in range(len(hot[0]))
    ]
    cells = referee.multilabel_confusion_matrix(labels, answers, labels=range(len(hot[0])), **how)
    negatives = cells[:, 0].sum(1)
    kappa = {
        name: referee.cohen_kappa_score(labels, answers, weights=weights, **how)
        for name, weights in (
            ("kappa", None), ("linear_kappa", "linear"), ("quadratic_kappa", "quadratic")
        )
    }  # fmt: skip
    return kappa | {
        "accuracy": referee.accuracy_score(labels, answers, **how),
        "balanced_accuracy": referee.balanced_accuracy_score(labels, answers, **how),
        "auroc": np.mean(areas),
        "average_precision": np.mean(precisions),
        "macro_specificity": np.mean(cells[:, 0, 0] / negatives),
        "matthews": referee.matthews_corrcoef(labels, answers, **how),
        "log_loss": -np.average(
            of.log_probabilities[range(len(labels)), labels], weights=of.samples[0]
        ),
        "brier": np.average(((shares - hot) ** 2).sum(1), weights=of.samples[0]),
        "calibration_error": calibration_error(of),
        **{f"macro_{name}": averaged(name, of, average="macro", **how) for name in AVERAGED},
    }


def calibration_error(of: Predictions) -> float:
    """Return the expected calibration error as Guo et al. write it, bin by bin."""
    confidence, right = of.probabilities.max(1), of.answers == of.labels
    weights, error = of.samples[0], 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            accuracy = np.average(right[inside], weights=weights[inside])
            gap = accuracy - np.average(confidence[inside], weights=weights[inside])
            error += weights[inside].sum() / weights.sum() * abs(gap)
    return error


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_every_metric_is_scikit_learns(of: Predictions) -> None:
    """With images of every class each metric is what scikit-learn says, or the paper's loop."""
    assert expected(of).keys() == METRICS.keys()
    assert metrics.measure(of, METRICS) == pytest.approx(expected(of), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(predictions(), st.integers(0, 1000))
def test_a_sample_of_the_images_is_weighted(of: Predictions, seed: int) -> None:
    """Of weighted images each sample's metrics are scikit-learn's with these sample weights."""
    weights = np.random.default_rng(seed).integers(1, 5, (3, len(of.labels))).astype(float)
    several = Predictions(of.logits, of.labels, of.classes, weights)
    for number in range(3):
        alone = Predictions(of.logits, of.labels, of.classes, weights[number : number + 1])
        values = {name: float(row.compute(several)[number]) for name, row in METRICS.items()}
        assert values == pytest.approx(expected(alone), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(predictions())
def test_each_class_is_scikit_learns(of: Predictions) -> None:
    """A metric of one class is scikit-learn's without an average, for a class of images."""
    for name in AVERAGED:
        by_class = averaged(name, of, average=None, labels=range(len(of.classes)))
        ours = [metrics.metric(f"{name}:{label}", of.classes).value(of) for label in of.classes]
        assert ours == pytest.approx(list(by_class))
    recalls = referee.recall_score(of.labels, of.answers, average=None)
    assert CLASS_METRICS["recall"].compute(of)[0] == pytest.approx(recalls)


@settings(deadline=None, max_examples=100)
@given(predictions(complete=False))
@example(Predictions(np.full((1, 2), np.nan), np.array([1]), ("a", "b")))
@example(Predictions(np.zeros((4, 3)), np.array([2, 2, 2, 2]), ("a", "b", "c")))
def test_every_metric_is_finite(of: Predictions) -> None:
    """Absent classes, a single answer and infinite logits give finite numbers and gains of 0..1."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = metrics.measure(of, metrics.names(of.classes)) | metrics.epoch_metrics(of)
    assert np.isfinite(list(values.values())).all()
    gains = [metrics.gain(name, values[name]) for name in metrics.names(of.classes)]
    assert min(gains) >= -1e-12
    assert max(gains) <= 1 + 1e-12


def answers(given_answers: list[int], labels: list[int], classes: int = 2) -> Predictions:
    """Return predictions with certain answers."""
    return Predictions(np.eye(classes)[given_answers] * 5, np.array(labels), NAMES[:classes])


def test_one_answer_is_recognisable() -> None:
    """A model that gives one answer is at the majority rate, at chance, and counted as one."""
    of = answers([1] * 10, [1] * 7 + [0] * 3)
    scores = metrics.epoch_metrics(of) | metrics.measure(of, ["kappa", "matthews"])
    assert scores["predicted_classes"] == 1
    assert scores["accuracy"] == scores["majority_rate"] == 0.7
    assert scores["balanced_accuracy"] == scores["auroc"] == 0.5
    assert scores["kappa"] == scores["matthews"] == 0


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class(classes: int, label: int) -> None:
    """Labels of one class only are chance where nothing can be said."""
    scores = metrics.measure(answers([0, 1, 1], [label] * 3, classes), METRICS)
    assert scores["auroc"] == 0.5
    assert scores["balanced_accuracy"] == pytest.approx(scores["accuracy"])


def test_an_absent_class_does_not_count() -> None:
    """The mean over classes leaves one out that no label has."""
    scores = metrics.measure(answers([0, 1, 0, 1, 2], [0, 1, 0, 1, 1], 3), METRICS)
    assert scores["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["auroc"] == pytest.approx((1 + 5 / 6) / 2)


def test_sure_answers_are_no_ties() -> None:
    """auroc tells apart probabilities that double precision rounds to 1."""
    logits = np.array([[0.0, 30.0], [0.0, 400.0], [0.0, 500.0], [0.0, 20.0]])
    of = Predictions(logits, np.array([0, 1, 1, 0]), ("a", "b"))
    assert METRICS["auroc"].value(of) == 1.0


def test_an_epoch_stores_few_numbers() -> None:
    """Of 30 metrics an epoch keeps four, the facts and the objective's."""
    stored = metrics.epoch_metrics(answers([0, 1], [0, 1]), "recall:b")
    assert list(stored) == [*EPOCH, "recall:b", *FACTS]


@pytest.mark.parametrize("name", METRICS)
def test_a_better_network_gains(name: str) -> None:
    """By every metric a sure right network gains 1 and a sure wrong one nearly nothing."""
    right, wrong = (
        answers([0, 1, 2] * 9, [0, 1, 2] * 9, 3),
        answers([1, 2, 0] * 9, [0, 1, 2] * 9, 3),
    )
    gains = [metrics.gain(name, METRICS[name].value(of)) for of in (right, wrong)]
    assert gains[0] > 0.98
    assert gains[1] < 0.6 < gains[0]


def test_a_class_has_a_name_or_a_number() -> None:
    """The name of a class wins over a number; others are refused with the names there are."""
    assert metrics.resolve("recall:1", ("normal", "pneumonia")) == "recall:pneumonia"
    assert metrics.resolve("recall:1", ("1", "0")) == "recall:1"
    for name in ("recall:2", "recall:-1", "recall:sick"):
        with pytest.raises(UserError, match=r"Available: normal, pneumonia\."):
            metrics.resolve(name, ("normal", "pneumonia"))


@pytest.mark.parametrize("name", ["recall", "recall:", "acuracy", "kappa:1", ""])
def test_an_unknown_metric_is_refused(name: str) -> None:
    """The help of the option names all metrics, also those of one class; the message says so."""
    with pytest.raises(UserError, match=r"No metric named .* All \d+: nas search --help\."):
        metrics.resolve(name)
    assert all(each in options.declared()["metric"].help for each in metrics.names())


def test_a_class_that_the_data_has_not_is_refused_before_training() -> None:
    """A recipe whose metric is of another data set's class does not fit."""
    digits = data.load("digits")
    check_fits(default_recipe(digits, metric="f1:7"), digits)
    with pytest.raises(UserError, match="is of no class of the data"):
        check_fits(replace(default_recipe(digits), metric="f1:cat"), digits)
