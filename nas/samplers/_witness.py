"""Two witnesses of a network: its metric, which counts images, and its log loss, which weighs them.

On few images the log loss tells networks apart better than accuracy does, though it is not what is
asked for. So the metric is regressed on it within the study, and each network's metric is moved
towards the line: the more, the more of the residuals is known to be sampling noise.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Networks err on the same images: about half of the variance of their scores is common to all, and
# changes no rank. On digits a network's own part was 0.28 of p (1 - p) / n with 10 validation
# images (benchmarks/results/folds.json), and 0.6 with 40.
OWN = 0.5
FEWEST = 8  # trainings from which the line is known


class Testimony(NamedTuple):
    """Metrics of trainings (n,) and the variances of what each has for itself, 0 if unknown."""

    metrics: Floats
    variances: Floats


def heard(metrics: Floats, errors: Floats, losses: Floats) -> Testimony:
    """Return metrics (n,) that also heed the log losses, where both and the errors are known.

    `errors` are standard errors, 0 where unknown; `losses` are NaN where unknown. The line is of
    exp(-loss), the geometric mean of the right class's probability, which like a metric lies in
    0..1.
    """
    variances = OWN * errors**2
    known = (errors > 0) & np.isfinite(losses)
    if known.sum() < FEWEST or np.ptp(losses[known]) == 0:
        return Testimony(metrics, variances)
    y, x = metrics[known], np.exp(-losses[known])
    slope, start = np.polyfit(x, y, 1)
    line = start + slope * x
    residual = float(((y - line) ** 2).sum()) / (len(y) - 2)
    share = np.minimum(1.0, variances[known] / max(residual, 1e-12))
    metrics, variances = metrics.copy(), variances.copy()
    metrics[known] = y + share * (line - y)
    variances[known] *= 1 - share / 2  # the line is uncertain too
    return Testimony(metrics, variances)
