"""The picture of a network's predictions: confusion matrix, ROC, precision-recall, reliability."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nas.report.tradeoff import BEST, INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nas.training.reports import ClassReport, Curve, Report

WRITTEN = 12  # classes: in a larger confusion matrix there is no room for numbers
LEGEND = 10  # classes: more curves have no names


def draw_predictions(report: "Report", title: str, path: Path) -> Path:
    """Draw a report's four pictures into one file, .png or .svg; return the path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9.6), layout="constrained", dpi=120)
    confusion, roc, recall, reliability = figure.subplots(2, 2).flat
    (_confusion if report.confusion else _by_label)(confusion, report)
    _curves(
        roc, report, "auroc", lambda curve: ([0, *curve.false_positive_rate],
                                             [0, *curve.true_positive_rate]),
    )  # fmt: skip
    roc.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate")
    roc.set_title("ROC (AUROC and its 95 % interval)", fontsize=10)
    _curves(
        recall, report, "average_precision",
        lambda curve: (curve.true_positive_rate, curve.precision),
    )  # fmt: skip
    recall.set(xlabel="recall", ylabel="precision")
    recall.set_title("Precision and recall (average precision)", fontsize=10)
    _reliability(reliability, report)
    for axes in (roc, recall, reliability):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    accuracy = report.metrics["accuracy"]
    figure.suptitle(
        f"{title}: accuracy {accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}), "
        f"{report.images} images",
        color=INK, parse_math=False,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _confusion(axes: "Axes", report: "Report") -> None:
    """Show counts, and below them their shares of the row; the darker, the greater the share."""
    count = len(report.classes)
    shares = [[n / max(1, sum(row)) for n in row] for row in report.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if count <= 5 else 6
    for row in range(count if count <= WRITTEN else 0):
        for column, share in enumerate(shares[row]):
            number = report.confusion[row][column]
            if number:
                color = "white" if share > 0.5 else INK
                axes.text(column, row, f"{number}\n{share:.0%}", color=color, fontsize=size,
                          ha="center", va="center")  # fmt: skip
    if count <= WRITTEN:
        names = [each.name for each in report.classes]
        turned = 90 if max(map(len, names)) * count > 60 else 0
        axes.set_xticks(range(count), names, rotation=turned, parse_math=False)
        axes.set_yticks(range(count), names, parse_math=False)
    axes.set(xlabel="answer", ylabel="label")
    axes.set_title("Confusion matrix (images, and their share of the row)", fontsize=10)


def _by_label(axes: "Axes", report: "Report") -> None:
    """Show for each label the images with it, and those that are called so, rightly or wrongly."""
    rows = range(len(report.classes))
    right = [each.right for each in report.classes]
    wrong = [each.answers - each.right for each in report.classes]
    axes.barh(rows, [each.images for each in report.classes], color=PALE, alpha=0.5, label="images")
    axes.barh(rows, right, height=0.4, color=INK, label="right answers")
    axes.barh(rows, wrong, height=0.4, left=right, color=BEST, label="wrong answers")
    axes.set_yticks(rows, [each.name for each in report.classes], parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="images")
    axes.set_title("Labels and answers (images)", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _curves(
    axes: "Axes",
    report: "Report",
    area: str,
    points: "Callable[[Curve], tuple[list[float], list[float]]]",
) -> None:
    """Draw a curve for each class; of two classes the second one's."""
    from matplotlib import colormaps

    shown = [each for each in report.classes if each.curve is not None]
    shown = shown[-1:] if len(report.classes) == 2 else shown
    for number, each in enumerate(shown):
        color = BEST if len(shown) == 1 else colormaps["tab10"](number % 10)
        assert each.curve is not None
        axes.plot(*points(each.curve), color=color, linewidth=1.4, label=_named(each, area))
    if 0 < len(shown) <= LEGEND:
        legend = axes.legend(frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _named(each: "ClassReport", area: str) -> str:
    estimate = each.metrics[area]
    return f"{each.name}  {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _reliability(axes: "Axes", report: "Report") -> None:
    """Show the accuracy of answers over their probability, and the share of images as bars."""
    xs = [each.confidence for each in report.reliability]
    whole = sum(each.images for each in report.reliability)
    shares = [each.images / whole for each in report.reliability]
    axes.bar(xs, shares, width=0.03, color=PALE, alpha=0.5, label="share of the images")
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1)
    accuracies = [each.accuracy for each in report.reliability]
    axes.plot(xs, accuracies, "o-", color=INK, linewidth=1.4, markersize=5, label="accuracy")
    axes.set(xlabel="probability of the answer", ylabel="accuracy")
    error = report.metrics["calibration_error"].value
    axes.set_title(f"Reliability (calibration error {error:.3f})", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
