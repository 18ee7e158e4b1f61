"""Targets: images with several labels and with grades, from the file to the exported code."""

import json
import re
import runpy
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit
from search_kit import ROOT, SPACE, nas_here
from sklearn import metrics as referee
from test_training import TINY
from torch.nn import functional

from nas.data import DataSet, load
from nas.data.dataset import SPLITS, share_of, strata, stratified
from nas.data.inspection import describe
from nas.errors import DataError, UserError
from nas.export import Facts
from nas.export.python import export
from nas.network import build
from nas.proxies._candidate import Batches
from nas.report.predictions import draw_predictions
from nas.training import metrics, trainer
from nas.training.images import shuffled
from nas.training.losses import LOSSES, WEIGHTINGS, classes_of, share_of_loss, total_weights
from nas.training.metrics import CLASS_METRICS, METRICS
from nas.training.metrics.predictions import Predictions
from nas.training.recipe import Recipe
from nas.training.recipe_file import recipe_keys
from nas.training.recipes import compose, default_recipe
from nas.training.reports import report
from nas.training.schedules import learning_rate
from nas.training.targets import ANSWERS, ClassTargets

CPU = torch.device("cpu")
FINDINGS = ("mass", "edema", "nodule", "hernia")
RATES = (0.5, 0.3, 0.2, 0.05)
RETINA = next(
    filter(Path.exists, (up / "shared/data/retinamnist/retinamnist.npz" for up in ROOT.parents)),
    None,
)
NAMES = tuple("abcdef")


def chest(count: int = 200, side: int = 28, seed: int = 0) -> tuple[Any, Any]:
    """Make images with a bright quadrant for each of four findings, some with none or several."""
    random = np.random.default_rng(seed)
    labels = (random.random((count, len(RATES))) < RATES).astype(np.uint8)
    labels[:8] = np.tile(np.eye(4), (2, 1))  # each is there
    labels[8] = 1
    images = random.integers(0, 120, (count, side, side)).astype(np.uint8)
    half = side // 2
    for finding, (row, column) in enumerate(((0, 0), (0, half), (half, 0), (half, half))):
        has = labels[:, finding] > 0
        images[has, row : row + half, column : column + half] += 120
    return images, labels


def write_chest(path: Path, **arrays: Any) -> Path:
    """Write a file as ChestMNIST's, with three splits; `arrays` replace or add to it."""
    found: dict[str, Any] = {}
    for seed, (name, count) in enumerate((("train", 200), ("val", 60), ("test", 80))):
        found[f"{name}_images"], found[f"{name}_labels"] = chest(count, seed=seed)
    np.savez(path, **(found | {"classes": np.array(FINDINGS)} | arrays))
    return path


@pytest.fixture(scope="module")
def chests(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The synthetic chest images as a data set."""
    return load(write_chest(tmp_path_factory.mktemp("chest") / "chest.npz"))


def test_labels_of_0_and_1_are_several_labels(chests: DataSet) -> None:
    """An array (N, 4) of 0 and 1 is four labels with the names of the file."""
    assert chests.task == "labels"
    assert chests.classes == FINDINGS
    assert chests.splits["train"].labels.shape == (200, 4)
    expected = np.maximum(
        chests.splits["test"].labels.mean(0), 1 - chests.splits["test"].labels.mean(0)
    )
    assert chests.splits["test"].majority_rate == pytest.approx(expected.mean())


def test_one_hot_labels_are_classes_and_it_is_said(tmp_path: Path) -> None:
    """Where every image has exactly one label, the columns are classes; it is said."""
    arrays = {f"{name}_labels": np.eye(4, dtype=int)[np.arange(count) % 4]
              for name, count in (("train", 200), ("val", 60), ("test", 80))}  # fmt: skip
    data = load(write_chest(tmp_path / "hot.npz", **arrays))
    assert data.task == "classes"
    assert data.splits["val" if "val" in data.splits else "validation"].labels.tolist() == [
        number % 4 for number in range(60)
    ]
    assert "every image has exactly one of the labels" in describe(data)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": np.full((200, 4), 2)}, r"need to be 0 or 1; train_labels go from 2 to 2"),
        (
            {"val_labels": np.ones((60, 3), int)},
            r"the same number of labels; .*'validation': \(60, 3\)",
        ),
        ({"val_labels": np.arange(60)}, r"the same number of labels"),
        ({"train_labels": np.zeros((200, 2, 2), int)}, r"or \(200, L\), whether it has each"),
        ({"train_labels": np.zeros((200, 0), int)}, r"train_labels has \(200, 0\)"),
        ({"classes": np.array(["a", "b"])}, r"a name for each of 4 labels; .* has 2 names"),
        ({"train_labels": np.tile([1, 0, 0, 1], (200, 1))}, r"only one kind of 'mass', 'edema'"),
    ],
)
def test_labels_that_make_no_sense(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    """Each mistake in the labels is one message with the rule, the key and its shape or values."""
    with pytest.raises(DataError, match=message):
        load(write_chest(tmp_path / "bad.npz", **arrays))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(60, 300), st.integers(2, 14))
def test_parts_of_several_labels(seed: int, count: int, labels: int) -> None:
    """Parts are disjoint and whole; the rarest label of three images or more is in each of them."""
    random = np.random.default_rng(seed)
    given_labels = (random.random((count, labels)) < random.random(labels) ** 2).astype(np.int64)
    keys = strata(given_labels)
    assert (
        (given_labels[np.arange(count), keys.clip(max=labels - 1)] == 1) | (keys == labels)
    ).all()
    parts = stratified(given_labels, (0.6, 0.2, 0.2), names=[str(n) for n in range(labels)])
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    counts = np.where(given_labels.any(0), given_labels.sum(0), count + 1)
    rarest = int(counts.argmin())
    if 3 <= counts[rarest] <= count:
        assert all(given_labels[part, rarest].any() for part in parts)
    smaller, larger = (set(share_of(given_labels, share, seed)) for share in (0.3, 0.6))
    assert smaller <= larger


def test_a_missing_split_is_carved_out_by_the_rarest_label(tmp_path: Path) -> None:
    """From a file with train images alone each split gets images of each finding."""
    images, labels = chest(300)
    np.savez(tmp_path / "one.npz", train_images=images, train_labels=labels)
    data = load(tmp_path / "one.npz")
    assert [len(data.splits[name]) for name in SPLITS] == pytest.approx([180, 60, 60], abs=4)
    assert all(split.labels.any(0).all() for split in data.splits.values())


def test_balanced_sampling_goes_by_the_rarest_label(chests: DataSet) -> None:
    """In full balance images whose rarest finding is rare come more often than they are there."""
    labels = chests.splits["train"].labels
    torch.manual_seed(0)
    drawn = np.concatenate(shuffled(labels, 50, updates=40, balance=1.0))
    assert labels[drawn, 3].mean() > 2 * labels[:, 3].mean()


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    """Draw predictions of several labels, with ties; each label has images with and without it."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, images = draw(st.integers(2, 6)), draw(st.integers(2, 40))
    labels = (random.random((images, count)) < random.random(count)).astype(np.int64)
    labels[0], labels[1] = 0, 1
    scale = draw(st.sampled_from([0.0, 1.0, 8.0, 300.0]))
    logits = np.round(random.normal(size=(images, count)) * 2) / 2 * scale
    weights = random.integers(1, 4, (2, images)).astype(float) if draw(st.booleans()) else None
    return Predictions(logits.astype(np.float32), labels, NAMES[:count], weights)


def expected(of: Predictions) -> dict[str, float]:
    """Return the means over the labels of scikit-learn's metrics: MedMNIST's getACC and getAUC."""
    shares = expit(of.logits.astype(float))
    answers = (shares > 0.5).astype(int)
    how = {"sample_weight": of.samples[0]}
    labels = range(of.labels.shape[1])

    def mean(score: Callable[..., float], given: Any, **more: Any) -> float:
        columns = [score(of.labels[:, k], given[:, k], **how, **more) for k in labels]
        return float(np.mean(columns))

    cells = referee.multilabel_confusion_matrix(of.labels, answers, **how)
    named = [k for k in labels if of.labels[:, k].any() or answers[:, k].any()]
    beta = {"macro_f1": 1.0, "macro_f2": 2.0, "macro_f0.5": 0.5}
    scores = {
        name: float(np.mean([
            referee.fbeta_score(of.labels[:, k], answers[:, k], beta=b, zero_division=0, **how)
            for k in named
        ]))
        for name, b in beta.items()
    }  # fmt: skip
    return scores | {
        "accuracy": mean(referee.accuracy_score, answers),
        "balanced_accuracy": mean(referee.balanced_accuracy_score, answers),
        "auroc": mean(referee.roc_auc_score, of.logits),
        "average_precision": mean(referee.average_precision_score, of.logits),
        "macro_precision": mean(referee.precision_score, answers, zero_division=0),
        "macro_specificity": float(np.mean(cells[:, 0, 0] / cells[:, 0].sum(1))),
        "brier": 2 * mean(referee.brier_score_loss, shares),
        "log_loss": float(np.mean([
            np.average(np.logaddexp(0, (1 - 2 * of.labels[:, k]) * of.logits[:, k].astype(float)),
                       weights=of.samples[0])
            for k in labels
        ])),
    }  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_metrics_of_labels_are_means_over_them(of: Predictions) -> None:
    """Accuracy at 0.5, AUROC and the others are the means of scikit-learn's of each label."""
    found = metrics.measure(of, metrics.names(task="labels")[: len(expected(of)) + 1])
    assert found.pop("calibration_error") >= 0
    assert found == pytest.approx(expected(of), abs=1e-9)
    recalls = referee.recall_score(of.labels, of.answers, average=None, zero_division=0)
    if of.weights is None:
        assert CLASS_METRICS["recall"].compute(of)[0] == pytest.approx(recalls)


@settings(deadline=None, max_examples=30)
@given(predictions(), st.sampled_from([np.nan, np.inf, 0.0]))
def test_metrics_of_labels_are_finite(of: Predictions, broken: float) -> None:
    """Logits that are not finite, and labels that no image or every image has, give numbers."""
    logits, labels = of.logits.copy(), of.labels.copy()
    logits[0], labels[:, 0], labels[:, 1] = broken, 0, 1
    bad = Predictions(logits, labels, of.classes)
    found = metrics.measure(bad, metrics.names(of.classes, "labels")) | metrics.epoch_metrics(bad)
    assert np.isfinite(list(found.values())).all()
    gains = [metrics.gain(name, value) for name, value in found.items() if name in METRICS]
    assert min(gains) >= -1e-12
    assert max(gains) <= 1 + 1e-12


def test_a_network_that_learnt_nothing_is_recognisable_with_labels() -> None:
    """The same output for all images is one answer; rare labels below a half are not."""
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, 0]])
    dead = metrics.epoch_metrics(Predictions(np.tile([-2.0, -3.0], (4, 1)), labels))
    assert dead["predicted_classes"] == 1
    assert dead["accuracy"] == dead["majority_rate"] == 0.75
    assert dead["auroc"] == dead["balanced_accuracy"] == 0.5
    useful = metrics.epoch_metrics(Predictions(labels - 3.0, labels))
    assert useful["predicted_classes"] == 3
    assert useful["auroc"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["training.metric=quadratic_kappa"],
            "The metric quadratic_kappa needs images of one class",
        ),
        (["training.metric=matthews"], "Available: accuracy, .*calibration_error"),
        (["loss.name=ordinal"], "The loss ordinal .*Available: cross_entropy, focal, logit_adj"),
        (["training.answer=expected_grade"], r"The answer expected_grade .*Available: likeliest\."),
        (["training.metric=recall:lung"], "No class named 'lung'. Available: edema, hernia"),
    ],
)
def test_settings_for_one_class_are_refused(
    chests: DataSet, words: list[str], message: str
) -> None:
    """What needs one class an image is refused by name before the first update."""
    with pytest.raises(UserError, match=message):
        compose(chests, words=words)
    table, _, value = words[0].partition("=")
    field = {"loss.name": "loss"}.get(table, table.rpartition(".")[2])
    with pytest.raises(UserError, match=message):
        trainer.train(TINY, chests, replace(compose(chests), **{field: value}))


def test_a_class_without_validation_images_is_no_objective(tmp_path: Path) -> None:
    """A metric of a class that can't be measured is refused; on folds it can."""
    labels = chest(60, seed=1)[1]
    labels[:, 3] = 0
    data = load(write_chest(tmp_path / "none.npz", val_labels=labels))
    with pytest.raises(DataError, match="recall:hernia needs validation images of 'hernia'"):
        compose(data, words=["training.metric=recall:hernia"])
    words = ["training.metric=recall:hernia", "training.folds=2"]
    assert compose(data, words=words).metric == "recall:hernia"


def test_the_default_metric_of_labels_is_auroc(chests: DataSet) -> None:
    """Nothing asked for is AUROC; a word or a class of the data wins."""
    assert default_recipe(chests).metric == "auroc"
    assert (
        compose(chests, "efficientnet_retina").metric
        == compose(chests, "efficientnet_retina", words=[]).metric
    )
    assert compose(chests, words=["training.metric=f1:3"]).metric == "f1:hernia"
    assert default_recipe(load("digits")).metric == "accuracy"


RECIPE = Recipe("set", "0" * 32, epochs=3, label_smoothing=0.0)


def batch_loss(logits: torch.Tensor, labels: torch.Tensor, recipe: Recipe, of: Any) -> torch.Tensor:
    """Return the mean loss of a batch under the weights of a train split's labels."""
    facts = classes_of(of, recipe, CPU)
    return share_of_loss(logits, labels, facts, recipe, 1 / total_weights(labels, facts))


def test_the_cross_entropy_of_labels_is_binary() -> None:
    """Without weights it is torch's binary cross-entropy, of smoothed labels too."""
    torch.manual_seed(0)
    logits, labels = torch.randn(30, 4), torch.from_numpy(chest(30)[1].astype(np.int64))
    for smoothing in (0.0, 0.2):
        recipe = replace(RECIPE, label_smoothing=smoothing)
        soft = labels * (1 - smoothing) + smoothing / 2
        plain = functional.binary_cross_entropy_with_logits(logits, soft)
        assert batch_loss(logits, labels, recipe, labels.numpy()) == pytest.approx(plain.item())


def test_inverse_frequency_weighs_a_label_as_its_own_problem() -> None:
    """With and without a label weigh alike: the positives' weight is N-/N+ times the others'."""
    labels = chest()[1].astype(np.int64)
    recipe = replace(RECIPE, class_weights="inverse_frequency")
    weights = classes_of(labels, recipe, CPU).weights.numpy()
    positive = labels.sum(0)
    assert weights[:, 1] / weights[:, 0] == pytest.approx((200 - positive) / positive, rel=1e-5)
    assert weights[:, 0] * (200 - positive) + weights[:, 1] * positive == pytest.approx([200] * 4)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if not row.one_class])
def test_losses_of_labels_go_down(loss: str, weighting: str) -> None:
    """Every loss of labels is finite and falls along its gradient; parts add up to the batch."""
    torch.manual_seed(0)
    of = chest(40)[1].astype(np.int64)
    labels = torch.from_numpy(of)
    recipe = replace(RECIPE, loss=loss, class_weights=weighting, label_smoothing=0.1)
    logits, values = torch.randn(40, 4, requires_grad=True), []
    for _ in range(50):
        value = batch_loss(logits, labels, recipe, of)
        (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
        values.append(value.item())
    assert values[-1] < values[0]
    facts = classes_of(of, recipe, CPU)
    weight = 1 / total_weights(labels, facts)
    parts = [
        share_of_loss(x, y, facts, recipe, weight)
        for x, y in zip(logits.chunk(3), labels.chunk(3), strict=True)
    ]
    assert sum(part.item() for part in parts) == pytest.approx(
        batch_loss(logits, labels, recipe, of).item(), rel=1e-5
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.floats(-20, 20), min_size=5, max_size=5), min_size=1, max_size=20))
def test_answers_of_grades(logits: list[list[float]]) -> None:
    """The expected grade is the nearest to the mean, the median one halves the probability."""
    labels = np.zeros(len(logits), np.int64)
    found = {rule: Predictions(np.array(logits), labels, answer=rule) for rule in ANSWERS}
    shares = found["likeliest"].probabilities
    means = shares @ np.arange(5)
    assert (abs(found["expected_grade"].answers - means) <= 0.5 + 1e-9).all()
    median = found["median_grade"].answers
    below = [row[:grade].sum() for row, grade in zip(shares, median, strict=True)]
    up_to = [row[: grade + 1].sum() for row, grade in zip(shares, median, strict=True)]
    assert max(below) < 0.5 + 1e-9
    assert min(up_to) >= 0.5 - 1e-9
    assert (found["likeliest"].answers == shares.argmax(1)).all()


def test_metrics_take_the_answer() -> None:
    """Between two far grades the expected one is nearer: the kappa of grades has it, AUROC not."""
    logits = np.log(np.array([[0.4, 0.25, 0.35]] * 3 + [[0.05, 0.05, 0.9]]))
    labels = np.array([1, 1, 1, 2])
    plain, grades = (
        Predictions(logits, labels, answer=rule) for rule in ("likeliest", "expected_grade")
    )
    assert [of.answers.tolist() for of in (plain, grades)] == [[0, 0, 0, 2], [1, 1, 1, 2]]
    assert [METRICS["accuracy"].value(of) for of in (plain, grades)] == [0.25, 1.0]
    assert METRICS["quadratic_kappa"].value(grades) > METRICS["quadratic_kappa"].value(plain)
    assert METRICS["auroc"].value(grades) == METRICS["auroc"].value(plain)


def test_a_report_of_labels(tmp_path: Path) -> None:
    """It has no confusion matrix but counts for each label, and is drawn."""
    labels = chest(120)[1].astype(np.int64)
    logits = np.random.default_rng(0).normal(size=labels.shape) + 2 * labels - 1
    of = Predictions(logits, labels, FINDINGS)
    found = report(of, resamples=50)
    assert found.confusion == []
    for number, each in enumerate(found.classes):
        (_, wrong), (missed, right) = referee.multilabel_confusion_matrix(labels, of.answers)[
            number
        ]
        assert (each.images, each.answers, each.right) == (right + missed, right + wrong, right)
    assert set(found.metrics) == set(METRICS) - {
        "kappa",
        "linear_kappa",
        "quadratic_kappa",
        "matthews",
    }
    assert json.loads(json.dumps(found.to_json()))["metrics"]["auroc"]["low"] <= 1
    assert draw_predictions(found.to_json(), "chest", tmp_path / "p.png").exists()


def test_mixed_images_of_labels_train(chests: DataSet) -> None:
    """Mixup, weights, micro-batches and a proxy run on labels; AUROC rises above chance."""
    words = [
        "augmentation.mixup=0.4", "loss.class_weights=inverse_frequency", "training.epochs=6",
        "training.accumulation_steps=2", "training.batch_size=16", "augmentation.flip=false",
        "augmentation.rotation=0", "training.balanced_sampling=0.5",
    ]  # fmt: skip
    network = TINY.at(classes=4, resolution=28)
    result = trainer.train(network, chests, compose(chests, words=words))
    assert result.metrics["auroc"] > 0.8
    assert np.isfinite(Batches(lambda: chests).measure("grad_norm", network))


def search(
    folder: Path, data: Path, *words: str, more: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Search a tiny space in this process: two short trials, no finalists; `more` is its own."""
    space = SPACE.replace("resolution=8", f"resolution=28{more}")
    (folder / "tiny.py").write_text(space)
    return nas_here(
        "search", "--space", str(folder / "tiny.py"), "--data", str(data), "--trials", "2",
        "--target-flops", "500k", "--workers", "0", "--pruner", "none", "--finalists", "0",
        "--store", f"sqlite:///{folder}/nas.db", "--out", str(folder / "studies"), "--study", "s",
        "--set", "training.epoch_updates=12", "--set", "training.epochs=2", "--json", *words,
    )  # fmt: skip


def answered(code: Path, data: DataSet) -> np.ndarray[Any, Any]:
    """Return the answers of an exported file to the test images, from its own functions."""
    emitted = runpy.run_path(str(code), run_name="model")
    images = torch.from_numpy(data.splits["test"].images(28)).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = emitted["load"]()(emitted["preprocess"](images))
    return np.asarray(emitted["answers"](emitted["probabilities_of"](logits)))


def test_a_search_on_several_labels(tmp_path: Path) -> None:
    """By default it is after AUROC, on folds; exported code, evaluate and predict answer alike."""
    path = write_chest(tmp_path / "chest.npz")
    ended = search(tmp_path, path)
    assert ended.returncode == 0, ended.stderr
    best = json.loads(ended.stdout)["best"]
    assert best["metric"] == "auroc"
    assert 0.5 < best["validation"]["auroc"] <= 1
    assert best["test"].keys() >= {"auroc", "accuracy", "macro_f1", "majority_rate"}
    data = load(path)
    found = answered(Path(best["code"]), data)
    assert found.shape == (80, 4)
    accuracy = (found == data.splits["test"].labels).mean()
    assert accuracy == pytest.approx(best["test"]["accuracy"])
    folder = str(Path(best["code"]).parent)
    evaluated = json.loads(nas_here("evaluate", folder, "--data", str(path), "--json").stdout)
    assert evaluated["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert evaluated["confusion_matrix"] == []
    assert "kappa" not in evaluated["metrics"]
    Image.fromarray(data.splits["test"].images(28)[8, :, :, 0]).save(tmp_path / "8.png")
    predicted = nas_here("predict", folder, str(tmp_path / "8.png"), "--json")
    (image,) = json.loads(predicted.stdout)["images"]
    named = [name for name, has in zip(FINDINGS, found[8], strict=True) if has]
    assert image["class"] == "|".join(named)
    assert [name for name, p in image["probabilities"].items() if p > 0.5] == named


@pytest.mark.skipif(RETINA is None, reason="needs the shared data set")
def test_an_ordinal_search_on_grades(tmp_path: Path) -> None:
    """An ordinal loss, an answer that the search chose: the exported code has the scored kappa."""
    with np.load(RETINA) as whole:
        arrays = {
            f"{name}_{kind}": whole[f"{name}_{kind}"][:count]
            for name, count in (("train", 240), ("val", 120), ("test", 120))
            for kind in ("images", "labels")
        }
    np.savez(tmp_path / "retina.npz", **arrays)
    ended = search(
        tmp_path, tmp_path / "retina.npz", "--metric", "quadratic_kappa", "--folds", "1", "--set",
        "loss.name=ordinal",
        more=', recipe={"training.answer": choice("expected_grade", "median_grade")}',
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    best = json.loads(ended.stdout)["best"]
    data = load(tmp_path / "retina.npz")
    found = answered(Path(best["code"]), data)
    labels = data.splits["test"].labels
    kappa = referee.cohen_kappa_score(labels, found, weights="quadratic")
    assert re.search(r'^ANSWER = "(expected|median)_grade"$', Path(best["code"]).read_text(), re.M)
    assert best["test"]["quadratic_kappa"] == pytest.approx(kappa, abs=1e-9)
    assert best["test"]["accuracy"] == pytest.approx((found == labels).mean())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "kappa"], "The metric kappa needs images of one class each"),
        (["--metric", "recall:lung"], "No class named 'lung'"),
        (["--set", "loss.name=ordinal"], "The loss ordinal needs images of one class each"),
        (["--set", "training.answer=median"], "No answer named 'median'"),
    ],
)
def test_a_search_refuses_before_anything_is_written(
    tmp_path: Path, words: list[str], message: str
) -> None:
    """A metric, loss or answer that does not fit is one message, exit code 2 and no file."""
    path = write_chest(tmp_path / "chest.npz")
    ended = search(tmp_path, path, *words)
    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.replace("│", " ").split())
    assert {each.name for each in tmp_path.iterdir()} == {"chest.npz", "tiny.py"}


@pytest.mark.parametrize("rule", ANSWERS)
def test_exported_code_answers_as_the_metrics(rule: str, tmp_path: Path) -> None:
    """The functions of an exported file are those by which predictions were scored."""
    state = build(TINY).state_dict()
    facts = Facts(mean=(0.5,), std=(0.2,), targets=ClassTargets(rule))
    emitted = runpy.run_path(str(export(TINY, state, tmp_path, facts)), run_name="model")
    logits = torch.randn(500, 10, generator=torch.Generator().manual_seed(0)) * 2
    of = Predictions(logits.numpy(), np.zeros(500, np.int64), answer=rule)
    shares = emitted["probabilities_of"](logits)
    assert shares.numpy() == pytest.approx(of.probabilities)
    assert emitted["answers"](shares).tolist() == of.answers.tolist()


VALUES = st.one_of(
    st.integers(-3, 12), st.integers(-(10**30), 10**30), st.floats(), st.booleans(),
    st.sampled_from(["adam", "", "inf", "nan", "1_000", "[1]", '"x"', "accuracy", "1e999"]),
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(recipe_keys())), VALUES)
def test_every_value_of_a_recipe_fits_or_is_refused(key: str, value: Any) -> None:
    """A value has a finite meaning, or one message with its key, the value and what is valid."""
    digits = load("digits")
    word = f"{key}={str(value).lower() if isinstance(value, bool) else value}"
    try:
        recipe = compose(digits, words=[word])
    except UserError as error:
        text, name = str(error), key.rpartition(".")[2]
        assert name in text or key.partition(".")[0] in text, text
        assert any(
            part in text
            for part in (" is ", "No metric named", "Available", "needs", "has 1 to", "forbids")
        ), text
        return
    assert compose(digits, words=[word]).hash == recipe.hash
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert recipe.describe()
    for weighting in WEIGHTINGS:
        facts = classes_of(
            chest()[1].astype(np.int64), replace(recipe, class_weights=weighting), CPU
        )
        assert facts.weights.isfinite().all()
    rates = [learning_rate(recipe, step, 5, [0.5]) for step in (0, 7, recipe.epochs * 5 - 1)]
    assert np.isfinite(rates).all()
    loss = LOSSES[recipe.loss].compute(
        torch.tensor([[9.0, -9.0, 0.0]]), torch.tensor([1]),
        classes_of(np.array([0, 1, 1, 2]), recipe, CPU), recipe,
    )  # fmt: skip
    assert loss.isfinite()
