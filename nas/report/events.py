"""The trials' logs as lines for people. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from nas.quantities import short

FEW = ("accuracy", "balanced_accuracy", "loss")


def event_line(event: Mapping[str, Any]) -> str:
    """Return one event of a trial's log as a line."""
    words = {"started": _started, "epoch": _epoch}.get(event["event"], _ended)(event)
    day, _, clock = str(event["time"])[:19].partition("T")
    worker = f"{event.get('worker')}, attempt {event.get('attempt')}"
    return f"{day} {clock} trial {event['trial']} {words} ({worker})"


def _started(event: Mapping[str, Any]) -> str:
    cost = f"{short(event['macs'])} FLOPs, {short(event['params'])} parameters"
    deaths = f", {event['deaths']} workers died over it" if event.get("deaths") else ""
    architecture = str(event["architecture_id"])[:8]
    return f"started: {architecture}, {cost}, up to epoch {event['epochs']}{deaths}"


def _epoch(event: Mapping[str, Any]) -> str:
    parts = [
        _named("score", event.get("score")),
        *_metrics(event),
        _named("train loss", event.get("train_loss")),
        _named("lr", event.get("learning_rate")),
        f"{event['seconds']:.1f} s",
    ]
    return f"epoch {event['epoch']}: {', '.join(part for part in parts if part)}"


def _ended(event: Mapping[str, Any]) -> str:
    parts = [*_metrics(event), event.get("reason")]
    words = ", ".join(str(part) for part in parts if part)
    return f"{event['event']}: {words}" if words else str(event["event"])


def _metrics(event: Mapping[str, Any]) -> list[str]:
    metrics = event.get("metrics") or {}
    return [part for name in FEW if (part := _named(name.replace("_", " "), metrics.get(name)))]


def _named(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {value:.4g}"
