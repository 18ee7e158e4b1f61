"""Metric over cost: the one figure of a study, as data, and as plotly's JSON for the dashboard.

A study's page and its pictures draw it as a chart (`nas.report.figures`). The JSON is written
without plotly: a worker draws it again and again, and plotly takes a second to import.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from nas import pareto
from nas.quantities import short
from nas.training.metrics import gain, is_gained, words

INK, BEST, PALE = "#334155", "#d1495b", "#94a3b8"
Color = Literal["ink", "best", "pale"]  # a page has its own hues of them
HUES: dict[Color, str] = {"ink": INK, "best": BEST, "pale": PALE}
MACS, LATENCY = "multiply-accumulates", "predicted latency, ms"  # an axis of costs
SHOWN = 2000  # trials of a kind in the dashboard, the newest
MARGIN = 0.06  # of an axis, on either side of its trials


class Trained(Protocol):
    """A training of an architecture up to an epoch, its fidelity."""

    @property
    def architecture_id(self) -> str: ...  # noqa: D102

    @property
    def recipe_hash(self) -> str: ...  # noqa: D102

    @property
    def fidelity(self) -> int: ...  # noqa: D102


T = TypeVar("T", bound=Trained)


class Spot(NamedTuple):
    """A trial in the figure: its last metric, its cost, and its score if it has one."""

    number: int
    state: str
    architecture_id: str
    fidelity: int
    value: float
    cost: float
    score: float | None
    recipe_hash: str = ""


class Markers(NamedTuple):
    """Trials that share a marker: plotly's symbol, open ones hollow, `size` in points."""

    label: str
    spots: Sequence[Spot]
    symbol: str
    color: Color
    size: float


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """A study's trials by metric and cost.

    `front` has the complete trials that no other beats in both, the cheapest first, `dominated` the
    other complete ones. Pruned trials were measured after fewer epochs, so they are on no front;
    `promising` ones lie beyond it already. `best` is the winner's number, by the search alone
    that of the best score, `majority` the rate of the most frequent class.
    """

    metric: str
    cost: str
    target: float | None
    best: int | None
    front: tuple[Spot, ...]
    dominated: tuple[Spot, ...]
    promising: tuple[Spot, ...]
    pruned: tuple[Spot, ...]
    majority: float | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether no trial has measured anything."""
        return not any(layer.spots for layer in self.layers)

    @property
    def axis(self) -> str:
        """Return the words of the axis of metrics."""
        return f"validation {words(self.metric)}{', as a gain' * is_gained(self.metric)}"

    @property
    def layers(self) -> list[Markers]:
        """Return the trials by their markers, the topmost last."""
        best = [spot for spot in (*self.front, *self.dominated) if spot.number == self.best]
        return [
            Markers("pruned", self.pruned, "x", "pale", 7),
            Markers("complete", self.dominated, "circle-open", "ink", 8),
            Markers("pruned, worth training whole", self.promising, "triangle-up-open", "best", 8),
            Markers("front", self.front, "circle", "ink", 8),
            Markers("winner", best, "star", "best", 16),
        ]

    @property
    def costs(self) -> tuple[float, float]:
        """Return the range of costs to show: all trials' and the target."""
        costs = [spot.cost for layer in self.layers for spot in layer.spots]
        costs += [self.target] if self.target is not None else []
        ratio = (max(costs) / min(costs)) ** MARGIN * 1.01
        return min(costs) / ratio, max(costs) * ratio

    @property
    def values(self) -> tuple[float, float]:
        """Return the range of metrics to show: the front's and the better ones of the others."""
        others = sorted(spot.value for spot in self.dominated)
        values = [spot.value for spot in (*self.front, *self.promising)]
        values += others[len(others) // 4 :]
        values = values or [spot.value for spot in self.pruned]
        room = (max(values) - min(values)) * MARGIN * 1.5 or 0.01
        return min(values) - room, max(values) + room


def trade_off(
    spots: Iterable[Spot],
    *,
    metric: str,
    cost: str,
    target: float | None,
    best: int | None,
    majority: float | None = None,
) -> TradeOff:
    """Sort trials by the front of the complete ones; an architecture's longest training counts.

    The spots' values are the metric's; the figure shows their gains.
    """
    measured = [
        spot._replace(value=gain(metric, spot.value))
        for spot in spots
        if isfinite(spot.value) and isfinite(spot.cost)
    ]
    complete = longest(spot for spot in measured if spot.state == "complete")
    ids = {(spot.architecture_id, spot.recipe_hash) for spot in complete}
    pruned = longest(spot for spot in measured if spot.state == "pruned")
    pruned = [spot for spot in pruned if (spot.architecture_id, spot.recipe_hash) not in ids]
    pruned.sort(key=lambda spot: spot.cost)
    points = [pareto.Point(spot.value, spot.cost) for spot in complete]
    indices = pareto.front(points)
    front = [points[index] for index in indices]
    beyond = {s.number for s in pruned if pareto.is_beyond(pareto.Point(s.value, s.cost), front)}
    return TradeOff(
        metric=metric,
        cost=cost,
        target=target,
        best=best,
        front=tuple(complete[index] for index in indices),
        dominated=tuple(s for index, s in enumerate(complete) if index not in {*indices}),
        promising=tuple(spot for spot in pruned if spot.number in beyond),
        pruned=tuple(spot for spot in pruned if spot.number not in beyond),
        majority=majority if metric == "accuracy" else None,
    )


def longest(trainings: Iterable[T]) -> list[T]:
    """Return each architecture's longest training under each recipe, of equal ones the first."""
    found: dict[tuple[str, str], T] = {}
    for training in trainings:
        key = (training.architecture_id, training.recipe_hash)
        if training.fidelity > found.setdefault(key, training).fidelity:
            found[key] = training
    return list(found.values())


def to_plotly(figure: TradeOff) -> dict[str, Any]:
    """Return the figure as plotly's JSON; a drag shows the metrics beyond its range."""
    steps = {"color": INK, "width": 1.5, "shape": "hv"}
    data = [
        {
            "type": "scatter",
            "name": layer.label,
            "mode": "markers",
            "marker": {"symbol": layer.symbol, "color": HUES[layer.color], "size": layer.size},
            "x": [spot.cost for spot in layer.spots[-SHOWN:]],
            "y": [spot.value for spot in layer.spots[-SHOWN:]],
            "text": [_hover(spot) for spot in layer.spots[-SHOWN:]],
            "hovertemplate": "%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>",
        }
        | ({"mode": "lines+markers", "line": steps} if layer.label == "front" else {})
        for layer in figure.layers
        if layer.spots
    ]
    layout: dict[str, Any] = {
        "title": {"text": f"{words(figure.metric)} against {figure.cost}"},
        "xaxis": {"title": {"text": figure.cost}, "type": "log"},
        "yaxis": {"title": {"text": figure.axis}, "range": list(figure.values)},
        "legend": {"orientation": "h", "y": -0.2},
        "hovermode": "closest",
    }
    if figure.target is not None:
        at, top = figure.target, {"y": 1, "yref": "paper"}
        line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper"}
        # On a logarithmic axis an annotation's place is the exponent, a shape's is not.
        text = {"x": log10(at), "text": f"target {short(at)}", "showarrow": False} | top
        place = {"xanchor": "left", "yanchor": "bottom", "font": {"color": BEST}}
        layout["shapes"] = [line | {"line": {"color": BEST, "width": 1, "dash": "dash"}}]
        layout["annotations"] = [text | place]
    return {"data": data, "layout": layout}


def _hover(spot: Spot) -> str:
    score = "" if spot.score is None else f", score {spot.score:.4f}"
    return f"trial {spot.number}{score}"
