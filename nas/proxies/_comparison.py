"""How far proxies follow what trainings showed: rank correlations with their intervals.

Intervals are of the bootstrap: networks are drawn anew with replacement, and the middle 95 % of
what comes out is kept. Imports no torch.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from nas.proxies import BASELINES

FEWEST = 10  # networks: fewer say nothing
RESAMPLES = 2_000
SHARE = 0.95
Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A number between -1 and 1 and the 95 % interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What a proxy is worth on a study's networks.

    `values` are the proxy's, network by network; the correlations are None where there is nothing
    to rank. `seconds` are the processor's, for one network. `gain` is by how much its Spearman
    correlation exceeds that of the better baseline, `against`; a baseline has none.
    """

    name: str
    values: tuple[float, ...]
    seconds: float
    spearman: Interval | None
    kendall: Interval | None
    gain: Interval | None
    against: str
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        intervals = {name: getattr(self, name) for name in ("spearman", "kendall", "gain")}
        plain = {name: one._asdict() if one else None for name, one in intervals.items()}
        return {**asdict(self), "values": list(self.values), "n": len(self.values), **plain}


class ProxyValues(NamedTuple):
    """A proxy's values of the networks, and the processor's seconds that one took."""

    values: list[float]
    seconds: float


def timed(measure: Callable[[Any], float], networks: Sequence[Any]) -> ProxyValues:
    """Measure all networks with one proxy."""
    begun = time.process_time()  # what else the machine does is no matter
    values = [measure(one) for one in networks]
    return ProxyValues(values, (time.process_time() - begun) / max(1, len(networks)))


def compare(measured: Mapping[str, ProxyValues], metric: Sequence[float]) -> list[Comparison]:
    """Compare proxies with what trainings showed of the same networks, the best proxy first.

    `measured` holds the baselines, macs and params, too.
    """
    truth = np.array(metric)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, max(1, len(truth)), (RESAMPLES, len(truth)))
    arrays = {name: np.array(one.values) for name, one in measured.items()}
    whole = np.arange(len(truth))[None]
    points = {name: _spearman(values, truth, whole)[0] for name, values in arrays.items()}
    spreads = {name: _spearman(values, truth, drawn) for name, values in arrays.items()}
    against = max(BASELINES, key=lambda name: np.nan_to_num(points[name], nan=-2.0))
    found = []
    for name, values in arrays.items():
        spearman = _interval(points[name], spreads[name])
        kendall = _interval(_kendall(values, truth, whole)[0], _kendall(values, truth, drawn))
        gain = _interval(points[name] - points[against], spreads[name] - spreads[against])
        gain = None if name in BASELINES else gain
        said = _verdict(name, len(truth), spearman, gain, against)
        own = measured[name]
        found.append(
            Comparison(name, tuple(own.values), own.seconds, spearman, kendall, gain, against, said)
        )
    return sorted(found, key=lambda one: -(one.spearman.value if one.spearman else -2.0))


def _verdict(
    name: str, count: int, spearman: Interval | None, gain: Interval | None, against: str
) -> str:
    """Say what intervals allow to say, and no more."""
    if count < FEWEST:
        return f"too few trials: {count} of at least {FEWEST}"
    if spearman is None:
        said = "nothing to rank"
    elif spearman.high < 0:
        said = "misleads"
    elif spearman.low <= 0:
        said = "no relation shown"
    elif name in BASELINES:
        said = "follows"
    elif gain is None or gain.low > 0:  # without it, neither baseline ranks anything
        said = "helps"
    else:
        said = f"no better than {against}"
    return f"baseline: {said}" if name in BASELINES else said


def _interval(value: float, drawn: Floats) -> Interval | None:
    """Return the middle 95 % of what was drawn; draws in which all is alike are left out."""
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return None
    low, high = np.quantile(drawn, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Interval(float(value), float(low), float(high))


def _spearman(x: Floats, y: Floats, drawn: npt.NDArray[np.int64]) -> Floats:
    """Return Spearman's correlation of each row of indices, (rows, n); NaN where all is alike."""
    if drawn.shape[1] < 2:
        return np.full(len(drawn), np.nan)
    a, b = (rankdata(values[drawn], axis=1) for values in (x, y))
    a -= a.mean(1, keepdims=True)
    b -= b.mean(1, keepdims=True)
    return _ratio((a * b).sum(1), (a**2).sum(1) * (b**2).sum(1))


def _kendall(x: Floats, y: Floats, drawn: npt.NDArray[np.int64]) -> Floats:
    """Return Kendall's tau-b of each row of indices, (rows, n); NaN where all is alike.

    A row is how often each network was drawn, and a pair counts as often as both were.
    """
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(float)
    a, b = (np.sign(values[:, None] - values) for values in (x, y))

    def pairs(kept: Floats) -> Floats:
        return np.asarray(((counts @ kept) * counts).sum(1))

    return _ratio(pairs(a * b), pairs(a**2) * pairs(b**2))


def _ratio(together: Floats, apart: Floats) -> Floats:
    """Return together / sqrt(apart), NaN where apart is 0."""
    result = np.full(len(together), np.nan)
    known = apart > 0
    result[known] = together[known] / np.sqrt(apart[known])
    return result
