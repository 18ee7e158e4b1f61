"""What the dashboard says in words: of a trial, and of a study. Markdown, without any credentials.

Nothing here reads or writes: facts in, text out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.cost import Cost, TimedCost
from nas.credentials import hidden
from nas.objective import Objective
from nas.quantities import duration, short
from nas.report.stages import stages
from nas.store.queries import Counts, TrialInfo
from nas.store.records import CurvePoint, Metrics
from nas.training.metrics import METRICS

CURVE = 12  # values of a curve that stand in its line
MORE = (*list(METRICS)[1:], "majority_rate", "loss")


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """What a trial's note is made of; `code` is the network's class, empty where there is none.

    `of` is the number of epochs of a whole training, `whole` whether it has its
    file, `picture` the path of the diagram in the dashboard.
    """

    number: int
    state: str
    architecture: Architecture
    cost: Cost | TimedCost
    objective: Objective
    metric: str
    metrics: Metrics
    curve: Sequence[CurvePoint]
    epochs: int
    of: int
    warnings: Sequence[str] = ()
    code: str = ""
    whole: bool = False
    picture: str = ""


def trial_note(facts: TrialFacts) -> str:
    """Return a trial's note: score and its parts, cost, curve, warnings, stages, code."""
    parts = [
        f"### Trial {facts.number}: {_standing(facts)}",
        *(f"> **{_plain(warning)}**\n" for warning in facts.warnings),
        _score(facts),
        _cost(facts.cost),
        _curve(facts),
        _stages(facts.architecture),
        f"![diagram: an artifact, which nas dashboard shows]({facts.picture})"
        * bool(facts.picture),
    ]
    if facts.code:
        parts += [
            "#### Code",
            "The network; its blocks are in the artifact `network.py`, which needs torch alone."
            if facts.whole
            else "The network; `nas export` writes it with its blocks.",
            f"```python\n{facts.code.strip()}\n```",
        ]
    return "\n\n".join(part for part in parts if part)


def _standing(facts: TrialFacts) -> str:
    if facts.state == "running":
        return "running"
    if facts.state == "complete" and facts.epochs < facts.of:
        return f"stopped at the rung of {facts.epochs} of {facts.of} epochs, which is no result"
    return facts.state


def _score(facts: TrialFacts) -> str:
    """Write the score as the product that it is."""
    value = facts.metrics.get(facts.metric)
    if value is None:
        return "No score: nothing was measured."
    goal = facts.objective
    amount = goal.amount(facts.cost)
    free = goal.kind == "hard" and amount <= goal.target
    score, metric = goal.score(value, amount), _words(facts.metric)
    factor = (
        "1 (at or under the target)" if free else f"{(amount / goal.target) ** goal.weight:.4f}"
    )
    others = [
        f"{_words(name)} {number:.4f}"
        for name in MORE
        if name != facts.metric and (number := facts.metrics.get(name)) is not None
    ]
    what = "latency" if goal.target_latency_ms is not None else "FLOPs"
    return (
        f"| part of the score | value |\n| :-- | --: |\n"
        f"| validation {metric} | {value:.4f} |\n"
        f"| {what} over the target | {goal.write(amount)} / {goal.short()} ="
        f" {amount / goal.target:.3f} |\n"
        f"| its weight w | {goal.weight:g} |\n"
        f"| factor | {factor} |\n"
        f"| **score** | **{score:.4f}** |\n" + (f"\n{', '.join(others)}" if others else "")
    )


def _cost(cost: Cost | TimedCost) -> str:
    memory = f"{cost.peak_activation_bytes / 2**20:.3g} MiB of activations at once"
    timed = f", {cost.latency_ms:.3g} ms predicted" if isinstance(cost, TimedCost) else ""
    return (
        f"**Cost:** {cost.macs:,} multiply-accumulates, {cost.params:,} parameters,"
        f" {cost.activations:,} activations, {memory}{timed}"
    )


def _curve(facts: TrialFacts) -> str:
    """Write a curve in a line: evenly spread epochs, always the last."""
    points = [point for point in facts.curve if point.metrics.get(facts.metric) is not None]
    if not points:
        return ""
    step = max(1, -(-len(points) // CURVE))
    shown = points[::-1][::step][::-1]
    values = ", ".join(f"{p.epoch}: {p.metrics[facts.metric]:.3f}" for p in shown)
    seconds = duration(sum(point.seconds for point in points))
    return f"**Curve** ({_words(facts.metric)} after epoch): {values}; {seconds} of training"


def _stages(architecture: Architecture) -> str:
    found = stages(architecture)
    macs = max(1, sum(stage.macs for stage in found))
    lines = [
        "| part | blocks | kernels | pixels | width | macs | share | params |",
        "| :-- | :-- | :-- | :-- | --: | --: | --: | --: |",
    ]
    for stage in found:
        blocks = ", ".join(f"{name} ×{count}" for name, count in stage.blocks.items())
        kernels = f"`{'.'.join(map(str, stage.kernels))}`" if stage.kernels else ""
        lines.append(
            f"| {stage.name} | {blocks} | {kernels} | {stage.size_in} → {stage.size_out} |"
            f" {stage.out_channels} | {short(stage.macs)} | {stage.macs / macs:.0%} |"
            f" {short(stage.params)} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What a study's note is made of; the budget's parts are None where it has no such limit."""

    name: str
    space: str
    parameters: int
    data: str
    classes: int
    recipe: str
    objective: Objective
    metric: str
    limits: Sequence[str]
    how: str
    trials: int | None
    seconds: float | None
    counts: Counts
    best: TrialInfo | None
    failures: Mapping[str, int]
    looks: int = 0
    code: str = ""


def study_note(facts: StudyFacts) -> str:
    """Return a study's note: the question, the winner so far, the warnings."""
    limits = f" Never more than {' and '.join(facts.limits)}." if facts.limits else ""
    budget = [f"{facts.trials} trials"] if facts.trials is not None else []
    budget += [duration(facts.seconds)] if facts.seconds is not None else []
    goal = facts.objective
    lines = [
        f"## {_plain(facts.name)}",
        f"**Question:** which network of the space `{_plain(facts.space)}`"
        f" ({facts.parameters} parameters) is best on `{_plain(facts.data)}`"
        f" ({facts.classes} classes)?",
        f"**Objective:** {goal.describe(facts.metric)}. The higher the better.{limits}",
        f"**Recipe:** {_plain(facts.recipe)}",
        f"**Search:** {facts.how}; budget {' or '.join(budget) or 'without end'}.",
        f"**So far:** {counted(facts.counts)}.",
        *_winner(facts),
        *(f"> **{_plain(warning)}**" for warning in study_warnings(facts)),
    ]
    return "\n\n".join(lines)


def counted(counts: Counts) -> str:
    """Say how many trials are in which state."""
    return ", ".join(f"{n} {state}" for state, n in vars(counts).items() if n) or "no trial yet"


def _winner(facts: StudyFacts) -> list[str]:
    best = facts.best
    if best is None:
        return ["**Best:** no trial is complete yet."]
    value = best.metrics.get(facts.metric)
    measured = "" if value is None else f", validation {_words(facts.metric)} {value:.4f}"
    majority = best.metrics.get("majority_rate")
    beside = "" if majority is None else f" (majority class {majority:.4f})"
    lines = [
        f"**Best:** trial {best.number}, score {best.score or 0.0:.4f}{measured}{beside},"
        f" {best.cost.macs:,} multiply-accumulates, {best.cost.params:,} parameters. It keeps every"
        " limit: networks that break one are never trained. Pruned trials and rungs are no results;"
        " a reused trial has the score of the one that it repeats.",
    ]
    if facts.code:
        lines.append(f"Its code and weights: `{_plain(facts.code)}`")
    if facts.looks:
        lines.append(f"The test split was looked at {facts.looks}x.")
    return lines


def study_warnings(facts: StudyFacts) -> list[str]:
    """Return what a reader should know before the numbers."""
    found = []
    if facts.best is not None and facts.best.one_class:
        found.append("The best network predicts a single class: it has learnt nothing.")
    for reason, count in facts.failures.items():
        found.append(f"{count} failed: {reason}")
    if facts.best is not None:
        goal = facts.objective
        over = facts.best.latency_ms if goal.target_latency_ms is not None else facts.best.cost.macs
        if over is not None and over > goal.target:
            found.append(f"The best is over the target: {over / goal.target:.2f} times.")
    return found


def _plain(text: str) -> str:
    """Return a text without credentials, and on one line: a quote must not end at its break."""
    return " ".join(hidden(text).split())


def _words(metric: str) -> str:
    return metric.replace("_", " ")
