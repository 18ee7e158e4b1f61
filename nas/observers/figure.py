"""The front of metric and cost as plotly draws it: its JSON, written without plotly.

A worker draws it again and again, and plotly takes a second to import.
"""

from collections.abc import Sequence
from math import log10
from typing import Any, NamedTuple

from nas import pareto
from nas.quantities import short

INK, BEST, PALE = "#334155", "#d1495b", "#94a3b8"
SHOWN = 2000  # trials besides those on the front: the newest


class Spot(NamedTuple):
    """One trial: its number and state, its last metric, its cost, and its score if it is told."""

    number: int
    state: str
    value: float
    cost: float
    score: float | None


def pareto_figure(
    spots: Sequence[Spot], *, metric: str, cost: str, target: float, best: int | None
) -> dict[str, Any]:
    """Return the figure: complete trials, pruned ones apart, the front, the best and the target."""
    complete = [spot for spot in spots if spot.state == "complete"]
    points = [pareto.Point(spot.value, spot.cost) for spot in complete]
    on_front = [complete[index] for index in pareto.front(points)]
    pruned = [spot for spot in spots if spot.state == "pruned"]
    winner = [spot for spot in complete if spot.number == best]
    line = {"color": INK, "width": 1.5, "shape": "hv"}
    traces = [
        _trace("pruned", pruned[-SHOWN:], {"symbol": "x", "color": PALE, "size": 7}),
        _trace("complete", complete[-SHOWN:], {"symbol": "circle-open", "color": INK, "size": 9}),
        _trace("front", on_front, {"color": INK, "size": 9}, mode="lines+markers", line=line),
        _trace("best score", winner, {"symbol": "star", "color": BEST, "size": 17}),
    ]
    dashed = {"color": BEST, "width": 1, "dash": "dash"}
    words = metric.replace("_", " ")
    layout = {
        "title": {"text": f"{words} against {cost}"},
        "xaxis": {"title": {"text": cost}, "type": "log"},
        "yaxis": {"title": {"text": f"validation {words}"}} | _range(complete, on_front),
        "shapes": [
            {"type": "line", "x0": target, "x1": target, "y0": 0, "y1": 1, "yref": "paper",
             "line": dashed},
        ],
        "annotations": [
            # On a logarithmic axis an annotation's place is the exponent, a shape's is not.
            {"x": log10(target), "y": 1, "yref": "paper", "text": f"target {short(target)}",
             "showarrow": False, "xanchor": "left", "yanchor": "bottom", "font": {"color": BEST}},
        ],
        "legend": {"orientation": "h", "y": -0.2},
        "hovermode": "closest",
    }  # fmt: skip
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}


def _trace(
    name: str, spots: Sequence[Spot], marker: dict[str, Any], mode: str = "markers", **style: Any
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "mode": mode,
        "marker": marker,
        "x": [spot.cost for spot in spots],
        "y": [spot.value for spot in spots],
        "text": [_hover(spot) for spot in spots],
        "hovertemplate": "%{text}<br>%{y:.4f} at %{x:,.4s}<extra></extra>",
        **style,
    }


def _hover(spot: Spot) -> str:
    score = "" if spot.score is None else f", score {spot.score:.4f}"
    return f"trial {spot.number}{score}"


def _range(complete: Sequence[Spot], on_front: Sequence[Spot]) -> dict[str, Any]:
    """Return the metrics that matter, the front's and the better others'; a drag shows the rest."""
    values = sorted(spot.value for spot in complete)
    values = values[len(values) // 4 :] + [spot.value for spot in on_front]
    if not values:
        return {}
    room = 0.08 * (max(values) - min(values)) or 0.01
    return {"range": [min(values) - room, max(values) + room]}
