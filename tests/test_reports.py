"""Reports on predictions: confusion matrix, curves, intervals, and their picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as referee

from nas.report.predictions import draw_predictions
from nas.training.metrics import CLASS_METRICS, METRICS
from nas.training.metrics.predictions import Predictions
from nas.training.reports import POINTS, curve, estimates, report


def made(images: int = 300, classes: int = 3, sure: float = 1.5) -> Predictions:
    """Make predictions, of which the right class is often the likeliest; the last class is rare."""
    random = np.random.default_rng(0)
    shares = np.array([*[1.0] * (classes - 1), 0.1])
    labels = random.choice(classes, images, p=shares / shares.sum())
    logits = random.normal(size=(images, classes)) + sure * np.eye(classes)[labels]
    return Predictions(logits, labels, tuple(f"class {n}" for n in range(classes)))


def test_a_report_has_all_numbers() -> None:
    """Every metric is there with an interval around it, also of each class; JSON has them too."""
    found = report(made(), resamples=200)
    written = json.loads(json.dumps(found.to_json()))
    assert written["metrics"].keys() == METRICS.keys()
    assert all(each["metrics"].keys() == CLASS_METRICS.keys() for each in written["classes"])
    for each in (found, *found.classes):
        assert all(low <= high and low <= 1 for _, low, high in each.metrics.values())
    assert written["metrics"]["accuracy"]["value"] == found.metrics["accuracy"].value
    assert sum(map(sum, written["confusion"])) == written["images"] == 300
    assert sum(each["images"] for each in written["reliability"]) == 300


def test_the_confusion_matrix_is_scikit_learns() -> None:
    """Rows are labels, columns answers; the table's images and answers are its sums."""
    of = made()
    found, expected = report(of, resamples=2), referee.confusion_matrix(of.labels, of.answers)
    assert found.confusion == expected.tolist()
    assert [each.images for each in found.classes] == expected.sum(1).tolist()
    assert [each.answers for each in found.classes] == expected.sum(0).tolist()


def test_curves_are_scikit_learns() -> None:
    """The points lie on scikit-learn's curves; of many images 200 are kept, with both ends."""
    few, many = made(60), made(5000)
    found = curve(few, 1)
    assert found is not None
    false, true, _ = referee.roc_curve(
        few.labels == 1, few.probabilities[:, 1], drop_intermediate=False
    )
    assert found.false_positive_rate == pytest.approx(list(false[1:]))
    assert found.true_positive_rate == pytest.approx(list(true[1:]))
    precision, recall, thresholds = referee.precision_recall_curve(
        few.labels == 1, few.probabilities[:, 1]
    )
    assert found.precision == pytest.approx(list(precision[-2::-1]))
    assert found.true_positive_rate == pytest.approx(list(recall[-2::-1]))
    assert found.thresholds == pytest.approx(list(thresholds[::-1]))
    thinned = curve(many, 1)
    assert thinned is not None
    assert len(thinned.precision) == POINTS
    assert thinned.true_positive_rate[-1] == thinned.false_positive_rate[-1] == 1


def test_a_class_that_is_absent_has_no_curve() -> None:
    """Where all images are of one class there is nothing to rank, and a report all the same."""
    of = replace(made(20), labels=np.zeros(20, np.int64))
    found = report(of, resamples=20)
    assert [each.curve for each in found.classes] == [None] * 3
    assert np.isfinite([each for row in found.metrics.values() for each in row]).all()


def test_intervals_repeat_by_the_seed() -> None:
    """The same seed gives the same interval, another one nearly the same."""
    first, again, other = (estimates(made(), ["macro_f1"], seed)["macro_f1"] for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(other, abs=0.02)


def test_the_interval_of_an_accuracy_is_the_binomials() -> None:
    """Of one class's recall the bootstrap spreads as the binomial distribution does."""
    of = made(400, 2)
    value, low, high = estimates(of, ["recall:class 0"])["recall:class 0"]
    images = (of.labels == 0).sum()
    width = 1.96 * (value * (1 - value) / images) ** 0.5
    assert (low, high) == pytest.approx((value - width, value + width), abs=0.01)


def test_a_rare_class_is_in_every_resample() -> None:
    """Classes are resampled apart: a class with a single image, answered right, is certain."""
    of = made(50)
    labels = np.where(np.arange(50) == 0, 2, of.labels % 2)
    logits = of.logits + 20 * np.eye(3)[labels] * (labels == 2)[:, None]
    value, low, high = estimates(replace(of, labels=labels, logits=logits), ["recall:class 2"])[
        "recall:class 2"
    ]
    assert (value, low, high) == (1, 1, 1)


@pytest.mark.parametrize(("classes", "ending"), [(2, "png"), (5, "svg"), (14, "png")])
def test_the_picture_is_drawn(classes: int, ending: str, tmp_path: Path) -> None:
    """Few or many classes, also names that look like formulas, give a picture of one width."""
    of = made(200, classes)
    of = replace(of, classes=("$a_b", *of.classes[1:]))
    path = draw_predictions(report(of, resamples=20).to_json(), "$tudy", tmp_path / f"p.{ending}")
    if ending == "png":
        with Image.open(path) as image:
            assert image.size[0] == 1600
    else:
        assert "<svg" in path.read_text()
