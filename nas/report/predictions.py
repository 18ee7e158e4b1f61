"""The charts of a network's predictions, of a report as plain data, and all of them as a picture.

The data are those of `nas.training.reports.Report.to_json`.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.report.chart import HEIGHT, Axis, Chart, Mark, Series, axis, names
from nas.report.chart_files import CATEGORIES, save_together

ROWS = 12  # classes: a larger matrix has no numbers
CURVES = 6  # classes: of more, the hardest are shown
LINE = 22.0  # height of a row of cells
REST = 90.0  # height of all that is not rows
LONGEST = 24  # letters of a class's name in a legend
DIAGONAL = Series(marks=[Mark(0, 0), Mark(1, 1)], shape="line", color="pale", dashed=True)
Data = Mapping[str, Any]


def draw_predictions(report: Data, title: str, path: Path) -> Path:
    """Draw a report's four charts into one file, .png or .svg; return the path."""
    accuracy = report["metrics"]["accuracy"]
    ends = f"{accuracy['low']:.3f} to {accuracy['high']:.3f}"
    title = f"{title}: accuracy {accuracy['value']:.3f} ({ends}), {report['images']} images"
    answers = confusion(report) or by_label(report)
    answers = replace(answers, height=max(answers.height, HEIGHT))
    charts = [answers, roc(report), recall(report), reliability(report)]
    return save_together(charts, title, path, columns=2)


def confusion(report: Data, of: str = "") -> Chart | None:
    """Show answers by label, as shares of the label's images; None where images have several."""
    matrix, classes = report["confusion"], _classes(report)
    if not matrix:
        return None
    written = len(classes) <= ROWS
    marks = [
        Mark(column, row, f"{classes[row]} answered as {classes[column]}: {count} of {sum(counts)}",
             text=str(count) if written and count else "",
             shade=(1 if row == column else -1) * count / max(1, sum(counts)))
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
    ]  # fmt: skip
    right = sum(matrix[index][index] for index in range(len(matrix)))
    total = sum(map(sum, matrix))
    return Chart(
        title=f"Confusion matrix{of}",
        summary=f"{right} of {total} images are on the diagonal of right answers",
        x=_named(classes, "answer"), y=_named(classes, "label", down=True),
        series=[Series(marks=marks, shape="cells")], height=_height(classes),
    )  # fmt: skip


def by_label(report: Data, of: str = "") -> Chart:
    """Show for each label the images with it, and those that are called so, rightly or wrongly."""
    classes, counted = _classes(report), report["classes"]
    rows = list(enumerate(counted))
    images = [
        Mark(each["images"], row, f"{each['name']}: {each['images']} images") for row, each in rows
    ]
    answers = [
        Mark(each["answers"], row, f"{each['answers'] - each['right']} wrong answers")
        for row, each in rows
    ]
    right = [Mark(each["right"], row, f"{each['right']} right answers") for row, each in rows]
    most = max([1, *(mark.x for mark in (*images, *answers))])
    return Chart(
        title=f"Labels and answers{of}",
        summary=f"{sum(mark.x for mark in right):g} labels of {len(classes)} are answered rightly",
        x=axis("images", (), low=0.0, high=1.05 * most), y=_named(classes, "", down=True),
        series=[
            Series(label="wrong answers", marks=answers, shape="bars", color="bad"),
            Series(label="right answers", marks=right, shape="bars", color="good"),
            Series(label="images with the label", marks=images, symbol="bar", size=5.0),
        ],
        height=_height(classes),
    )  # fmt: skip


def roc(report: Data, of: str = "") -> Chart | None:
    """Show the ROC of each class against the rest; of two classes that of the second."""
    shown, hardest = _with_curves(report, "auroc")
    if not shown:
        return None
    mean = statistics.fmean(each["metrics"]["auroc"]["value"] for each in _curved(report))
    return Chart(
        title=f"ROC{of}{hardest}",
        summary=f"The mean area under the ROC curves is {mean:.3f}",
        x=_share("false positive rate"), y=_share("true positive rate"),
        series=[
            DIAGONAL,
            *_lines(
                shown, "auroc",
                lambda curve: zip([0, *curve["false_positive_rate"]],
                                  [0, *curve["true_positive_rate"]], strict=True),
            ),
        ],
    )  # fmt: skip


def recall(report: Data, of: str = "") -> Chart | None:
    """Show precision over recall for each class against the rest; of two that of the second."""
    shown, hardest = _with_curves(report, "average_precision")
    if not shown:
        return None
    mean = statistics.fmean(
        each["metrics"]["average_precision"]["value"] for each in _curved(report)
    )
    return Chart(
        title=f"Precision and recall{of}{hardest}",
        summary=f"The mean of the average precisions is {mean:.3f}",
        x=_share("recall"), y=_share("precision"),
        series=list(_lines(
            shown, "average_precision",
            lambda curve: zip(curve["true_positive_rate"], curve["precision"], strict=True),
        )),
    )  # fmt: skip


def reliability(report: Data, of: str = "") -> Chart:
    """Show the accuracy of answers over their probability, and the share of images."""
    bins = report["reliability"]
    whole = sum(each["images"] for each in bins)
    error = report["metrics"]["calibration_error"]["value"]
    accuracies = [
        Mark(each["confidence"], each["accuracy"], f"{each['images']} images") for each in bins
    ]
    shares = [Mark(each["confidence"], each["images"] / whole) for each in bins]
    return Chart(
        title=f"Reliability{of} (calibration error {error:.3f})",
        summary=f"Probability and accuracy of answers differ by {error:.3f} on average",
        x=_share("probability of the answer"), y=_share("accuracy"),
        series=[
            DIAGONAL,
            Series(label="share of the images", marks=shares, shape="line", color="pale"),
            Series(marks=accuracies, shape="line"),
            Series(label="accuracy", marks=accuracies),
        ],
    )  # fmt: skip


def _classes(report: Data) -> list[str]:
    return [each["name"] for each in report["classes"]]


def _height(classes: Sequence[str]) -> float:
    return REST + (LINE if len(classes) <= ROWS else 8.0) * max(2, len(classes))


def _named(classes: Sequence[str], label: str, *, down: bool = False) -> Axis:
    """Return an axis of classes, without their names where there is no room for them."""
    return names(label, classes if len(classes) <= ROWS else [""] * len(classes), down=down)


def _share(label: str) -> Axis:
    return axis(label, (), low=0.0, high=1.0)


def _curved(report: Data) -> list[Data]:
    """Return the classes that have curves; of two classes the second alone."""
    classes = [each for each in report["classes"] if each["curve"]]
    return classes[-1:] if len(report["classes"]) == 2 else classes


def _with_curves(report: Data, area: str) -> tuple[list[Data], str]:
    """Return the classes to show, in their order, and words where those of large areas are not."""
    classes = _curved(report)
    if len(classes) <= CURVES:
        return classes, ""
    hardest = sorted(classes, key=lambda each: each["metrics"][area]["value"])
    return hardest[:CURVES], f", the {CURVES} hardest classes"


def _lines(
    classes: Sequence[Data], area: str, points: Callable[[Data], Iterable[tuple[float, float]]]
) -> Iterator[Series]:
    """Yield a curve for each class, labelled with its area and the ends of the interval."""
    for each, color in zip(classes, CATEGORIES, strict=False):
        of = each["metrics"][area]
        name = each["name"][:LONGEST]
        label = f"{name}  {of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"
        marks = [Mark(x, y, label) for x, y in points(each["curve"])]
        yield Series(label=label, marks=marks, shape="line", color=color)
