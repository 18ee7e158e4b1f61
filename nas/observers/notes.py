"""The dashboard's notes on a trial and on a study: Markdown, without any credentials.

Nothing here reads or writes: facts in, text out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.config import Config
from nas.cost import Cost, TimedCost
from nas.credentials import hidden
from nas.quantities import duration, short
from nas.report.stages import stages
from nas.report.tables import Table
from nas.report.tradeoff import TradeOff
from nas.store.queries import Counts, StudyInfo, TrialInfo
from nas.store.records import CurvePoint, Evaluation, GuardWarning
from nas.training.metrics import EPOCH, gain, words

CURVE = 12  # values of a curve that stand in its line
MORE = (*EPOCH[1:], "majority_rate", "loss")


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """The facts of a trial's note; its `evaluation` has the metrics to show.

    `remark` stands above the numbers. `code` is the network's class, empty where there is none;
    `has_file` tells whether the trial has the whole file. `picture` is the path of the diagram in
    the dashboard.
    """

    number: int
    state: str
    evaluation: Evaluation
    curve: Sequence[CurvePoint]
    remark: str = ""
    attempt: int = 1
    code: str = ""
    has_file: bool = False
    picture: str = ""


def trial_note(config: Config, facts: TrialFacts) -> str:
    """Return a trial's note: score and its parts, cost, curve, warnings, stages, code."""
    cost = config.subject.price(facts.evaluation.architecture)
    parts = [
        f"### Trial {facts.number}: {_standing(config, facts)}",
        *(f"> **{_plain(warning)}**\n" for warning in _trial_warnings(config, facts, cost)),
        _score(config, facts, cost),
        _cost(cost),
        _curve(facts.curve, config.recipe.metric),
        _stages(facts.evaluation.architecture),
    ]
    if facts.picture:
        parts.append(f"![diagram: an artifact, which nas dashboard shows]({facts.picture})")
    if facts.code:
        parts += [
            "#### Code",
            "The network; its blocks are in the artifact `network.py`, which needs torch alone."
            if facts.has_file
            else "The network; `nas export` writes it with its blocks.",
            f"```python\n{facts.code.strip()}\n```",
        ]
    return "\n\n".join(part for part in parts if part)


def _standing(config: Config, facts: TrialFacts) -> str:
    epochs, whole = facts.evaluation.fidelity, config.recipe.epochs
    if facts.state == "complete" and epochs < whole:
        return f"stopped at the rung of {epochs} of {whole} epochs, which is no result"
    return facts.state


def _trial_warnings(config: Config, facts: TrialFacts, cost: Cost | TimedCost) -> Iterator[str]:
    """Yield what a reader should know before the numbers."""
    if facts.remark:
        yield facts.remark
    if facts.evaluation.metrics.get("predicted_classes") == 1:
        yield "It predicts a single class: it has learnt nothing."
    broken = config.limits.tightest(config.space.limits).violation(cost)
    if broken is not None:
        yield f"Over a limit: {broken}."
    if facts.attempt > 1:
        deaths = facts.evaluation.deaths
        some = f", {deaths} of them without an epoch" if deaths else ""
        yield f"Attempt {facts.attempt}: {facts.attempt - 1} workers began it before{some}."


def _score(config: Config, facts: TrialFacts, cost: Cost | TimedCost) -> str:
    """Write the score as the product that it is."""
    goal, name, metrics = config.objective, config.recipe.metric, facts.evaluation.metrics
    value = metrics.get(name)
    if value is None:
        return "No score: nothing was measured."
    amount = goal.amount(cost)
    free = goal.kind == "hard" and amount <= goal.target
    factor = (
        "1 (at or under the target)" if free else f"{(amount / goal.target) ** goal.weight:.4f}"
    )
    others = [
        f"{words(other)} {number:.4f}"
        for other in MORE
        if other != name and (number := metrics.get(other)) is not None
    ]
    kind = "FLOPs" if goal.target_latency_ms is None else "latency"
    return (
        "| part of the score | value |\n| :-- | --: |\n"
        f"| validation {words(name)} | {value:.4f} |\n"
        f"| {kind} over the target | {goal.write(amount)} / {goal.short()} ="
        f" {amount / goal.target:.3f} |\n"
        f"| its weight w | {goal.weight:g} |\n"
        f"| factor | {factor} |\n"
        f"| **score** | **{goal.score(gain(name, value), amount):.4f}** |\n\n{', '.join(others)}"
    )


def _cost(cost: Cost | TimedCost) -> str:
    memory = f"{cost.peak_activation_bytes / 2**20:.3g} MiB of activations at once"
    timed = f", {cost.latency_ms:.3g} ms predicted" if isinstance(cost, TimedCost) else ""
    return (
        f"**Cost:** {cost.macs:,} multiply-accumulates, {cost.params:,} parameters,"
        f" {cost.activations:,} activations, {memory}{timed}"
    )


def _curve(curve: Sequence[CurvePoint], metric: str) -> str:
    """Write a curve in a line: evenly spread epochs, always the last."""
    points = [point for point in curve if point.metrics.get(metric) is not None]
    if not points:
        return ""
    step = max(1, -(-len(points) // CURVE))
    values = ", ".join(f"{p.epoch}: {p.metrics[metric]:.3f}" for p in points[::-1][::step][::-1])
    seconds = duration(sum(point.seconds for point in points))
    return f"**Curve** ({words(metric)} after epoch): {values}; {seconds} of training"


def _stages(architecture: Architecture) -> str:
    parts = stages(architecture)
    macs = max(1, sum(part.macs for part in parts))
    lines = [
        "| part | blocks | kernels | pixels | width | macs | share | params |",
        "| :-- | :-- | :-- | :-- | --: | --: | --: | --: |",
    ]
    for part in parts:
        blocks = ", ".join(f"{name} ×{count}" for name, count in part.blocks.items())
        kernels = f"`{'.'.join(map(str, part.kernels))}`" if part.kernels else ""
        lines.append(
            f"| {part.name} | {blocks} | {kernels} | {part.size_in} → {part.size_out} |"
            f" {part.out_channels} | {short(part.macs)} | {part.macs / macs:.0%} |"
            f" {short(part.params)} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The facts of a study's note and of its figure; `code` is the path of the winner's code.

    `finalists` are known when they are trained.
    """

    info: StudyInfo
    counts: Counts
    best: TrialInfo | None
    failures: Mapping[str, int]
    test_looks: int
    figure: TradeOff
    warnings: Sequence[GuardWarning] = ()
    code: str = ""
    finalists: Table | None = None


def study_note(config: Config, facts: StudyFacts) -> str:
    """Return a study's note: the question, the winner so far, the warnings."""
    info, recipe = facts.info, config.recipe
    limits = config.limits.tightest(config.space.limits).to_json().items()
    hard = [f"{limit:,} {words(name)}" for name, limit in limits if limit is not None]
    budget = [f"{info.trials} trials"] if info.trials is not None else []
    budget += [duration(info.seconds)] if info.seconds is not None else []
    counts = ", ".join(f"{n} {state}" for state, n in vars(facts.counts).items() if n)
    lines = [
        f"## {_plain(info.name)}",
        f"**Question:** which network of the space `{_plain(config.space.name)}`"
        f" ({len(config.space.parameters())} parameters) is best on `{_plain(recipe.data)}`"
        f" ({config.classes} classes)?",
        f"**Objective:** {config.objective.describe(recipe.metric)}. The higher the better."
        + (f" Never more than {' and '.join(hard)}." if hard else ""),
        f"**Recipe:** {_plain(recipe.describe())}",
        f"**Search:** sampler `{config.sampler}`, pruner `{config.pruner}`, seed {config.seed};"
        f" budget {' or '.join(budget) or 'without end'}.",
        f"**So far:** {counts or 'no trial yet'}.",
        *_best(config, facts),
        *_finalists(facts.finalists),
        *(f"> **{_plain(warning)}**" for warning in _study_warnings(config, facts)),
    ]
    return "\n\n".join(lines)


def _best(config: Config, facts: StudyFacts) -> Iterator[str]:
    best, metric = facts.best, config.recipe.metric
    if best is None:
        yield "**Best:** no trial is complete yet."
        return
    value, majority = best.metrics.get(metric), best.metrics.get("majority_rate")
    measured = "" if value is None else f", validation {words(metric)} {value:.4f}"
    beside = "" if majority is None else f" (majority class {majority:.4f})"
    yield (
        f"**Best:** trial {best.number}, score {best.score or 0.0:.4f}{measured}{beside},"
        f" {best.cost.macs:,} multiply-accumulates, {best.cost.params:,} parameters. It keeps every"
        " limit: networks that break one are never trained. Pruned trials and rungs are no results;"
        " a reused trial has the score of the one that it repeats."
    )
    if facts.code:
        yield f"Its code and weights: `{_plain(facts.code)}`"
    if facts.test_looks:
        yield f"The test split was looked at {facts.test_looks}x."


def _finalists(table: Table | None) -> Iterator[str]:
    if table is None:
        return
    names = [name.removeprefix("#") for name in table.columns]
    below = ["--:" if name.startswith("#") else ":--" for name in table.columns]
    rows = ([*map(str, row)] for row in table.rows)
    yield f"**{table.title.capitalize()}:**"
    yield "\n".join(f"| {' | '.join(row)} |" for row in (names, below, *rows))


def _study_warnings(config: Config, facts: StudyFacts) -> Iterator[str]:
    """Yield what a reader should know before the numbers."""
    best, goal = facts.best, config.objective
    yield from map(str, facts.warnings)
    for reason, count in facts.failures.items():
        yield f"{count} failed: {reason}"
    if best is not None:
        amount = best.cost.macs if goal.target_latency_ms is None else best.latency_ms
        if amount is not None and amount > goal.target:
            yield f"The best is over the target: {amount / goal.target:.2f} times."


def _plain(text: str) -> str:
    """Return a text without credentials, and on one line: a quote must not end at its break."""
    return " ".join(hidden(text).split())
