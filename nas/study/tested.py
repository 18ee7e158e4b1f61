"""The winner's look at the test split, in full: a file beside its weights, for the study's page.

It is written when the look is taken, so that nothing that is shown later is another look.
"""

import base64
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nas.data import Split
from nas.errors import UNREADABLE
from nas.files import write
from nas.report.facts import Mistake, Tested
from nas.store.records import Evaluation
from nas.training.metrics.predictions import Predictions
from nas.training.reports import POINTS, RESAMPLES, report

FILE = "best/test.json"
log = logging.getLogger("nas")
MISTAKES = 12
SIDE = 64  # pixels of a picture at most
POINTS_KEPT = 50  # of a curve
CURVES = 12  # classes: of more, the curves are left out
MATRIX = 60  # classes: a larger matrix is left out
LONG = 50_000  # images times classes, above which the intervals are of fewer resamples
DIGITS = 5


def keep(folder: Path, evaluation: Evaluation, given: Predictions, split: Split) -> None:
    """Write what the winner's predictions are worth into the study's folder.

    A search does not fail for it: an error is logged.
    """
    try:
        plain = describe(given, split, evaluation.architecture.resolution)
        content = json.dumps({"evaluation": evaluation.id, **plain}, separators=(",", ":"))
        write(folder / FILE, content.encode())
    except Exception:
        log.exception("the look at the test split in full")


def describe(given: Predictions, split: Split, size: int) -> dict[str, Any]:
    """Return the report of predictions and the worst mistakes, as plain data of few digits.

    `size` is the resolution of the pictures in pixels.
    """
    cells = len(given.labels) * len(given.classes)
    resamples = max(100, min(RESAMPLES, RESAMPLES * LONG // cells))
    plain = _rounded(report(given, resamples=resamples).to_json())
    for each in plain["classes"]:
        keeps = each["curve"] is not None and len(plain["classes"]) <= CURVES
        each["curve"] = _thinned(each["curve"]) if keeps else None
    if len(plain["classes"]) > MATRIX:
        plain["confusion"] = []
    return {"report": plain, "mistakes": [m._asdict() for m in _mistakes(given, split, size)]}


def read_tested(folder: Path, evaluation_id: int) -> Tested | None:
    """Read an evaluation's look from the study's folder; None where there is none."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if data["evaluation"] != evaluation_id:
            return None
        return Tested(report=data["report"], mistakes=[Mistake(**m) for m in data["mistakes"]])
    except (OSError, *UNREADABLE):
        return None


def _rounded(value: Any) -> Any:
    """Return plain data with fewer digits."""
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _thinned(curve: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return a curve in fewer points, the first and the last kept."""
    count = min(POINTS, len(curve["thresholds"]))
    kept = np.unique(np.linspace(0, count - 1, POINTS_KEPT).round().astype(int))
    return {name: [values[index] for index in kept] for name, values in curve.items()}


def _mistakes(given: Predictions, split: Split, size: int) -> list[Mistake]:
    """Return the wrong answers that were the surest; none where images have several labels."""
    if given.labels.ndim > 1:
        return []
    wrong = np.flatnonzero(given.answers != given.labels)
    sure = given.probabilities[wrong, given.answers[wrong]]
    worst = wrong[np.argsort(-sure, kind="stable")][:MISTAKES]
    images = split.images(size)
    return [
        Mistake(
            label=given.classes[given.labels[index]],
            answer=given.classes[given.answers[index]],
            probability=round(float(given.probabilities[index, given.answers[index]]), DIGITS),
            image=_picture(np.asarray(images[index])),
        )
        for index in worst.tolist()
    ]


def _picture(pixels: Any) -> str:
    """Return an image (H, W, C) as a PNG file in base64."""
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
