"""Tables for the terminal. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from nas.quantities import duration, number, short
from nas.store.queries import TrialInfo

if TYPE_CHECKING:
    from nas.proxies._comparison import Comparison, Interval
    from nas.store.records import CurvePoint

    Front = Any
    Rescored = Any

MOST = 0.9  # of a hypervolume, from which on the front hardly moved


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """Make a plain table; columns whose name begins with '#' hold numbers."""
    made = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
    for column in columns:
        justify: JustifyMethod = "right" if column[0] == "#" else "left"
        made.add_column(column.lstrip("#"), justify=justify, no_wrap=True)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return made


def top_table(trials: Sequence[TrialInfo], metric: str) -> Table:
    """Show the best trials, each beside the majority-class rate."""
    names = list(dict.fromkeys([metric, "balanced_accuracy", "auroc"]))
    timed = any(trial.latency_ms is not None for trial in trials)
    heads = (name.removesuffix("_accuracy").replace("_", " ") for name in names)
    columns = [
        "#trial",
        "#score",
        *(f"#{head}" for head in heads),
        "#majority",
        *(["#ms"] if timed else []),
        "#FLOPs",
        "#params",
    ]
    rows = []
    for trial in trials:
        metrics = [number(trial.metrics.get(name)) for name in names]
        majority = number(trial.metrics.get("majority_rate"))
        cost = [short(trial.cost.macs), short(trial.cost.params)]
        if timed:
            cost.insert(0, "-" if trial.latency_ms is None else f"{trial.latency_ms:.3g}")
        flag = Text("one class!", style="bold red")
        note = flag if trial.one_class else trial.architecture_id[:8]
        rows.append([trial.number, number(trial.score), *metrics, majority, *cost, note])
    return table([*columns, "architecture"], rows)


def front_table(front: "Front") -> Table:
    """Show a front, the cheapest first, then what was pruned and lies beyond it."""
    metric = f"#{front.metric.replace('_', ' ')}"
    columns = ["standing", "#trial", metric, "#FLOPs", "#params", "#score", "architecture"]
    rows = []
    for name, trials in (("front", front.trials), ("worth training whole", front.promising)):
        for trial in trials:
            cost = [short(trial.cost.macs), short(trial.cost.params)]
            note = ", best score" if trial.number == front.best.number else ""
            numbers = [trial.number, number(front.value_of(trial)), *cost, number(trial.score)]
            rows.append([name + note, *numbers, trial.architecture_id[:8]])
    return table(columns, rows)


def front_lines(front: "Front") -> list[str]:
    """Say what a front was rebuilt from, and its hypervolume with the reference point."""
    complete = len(front.trials) + len(front.dominated)
    lines = [
        f"{front.study}: {len(front.trials)} of {complete} complete trials are on the front of"
        f" {front.metric} and {front.cost}",
        f"hypervolume {front.hypervolume:.4g} ({front.metric} x ln {front.cost}, from"
        f" {number(front.reference.value)} and {short(front.reference.cost)})",
    ]
    most = [step for step in front.growth if step.hypervolume >= MOST * front.hypervolume]
    if front.hypervolume:
        lines[-1] += (
            f"; {MOST:.0%} of it after {most[0].evaluations} of {most[-1].evaluations} evaluations,"
            f" {duration(most[0].seconds)} of {duration(most[-1].seconds)} of training"
        )
    if front.promising:
        lines.append(
            "Pruned trials were measured after fewer epochs and are not on it; those worth training"
            " whole lie beyond it already."
        )
    return lines


def rescored_table(found: "Rescored", n: int) -> Table:
    """Show the n best trials under another objective, with their ranks under the study's own."""
    rows = [
        [
            rank,
            trial.number,
            number(score),
            number(trial.metrics.get(found.metric)),
            short(trial.cost.macs),
            own_rank,
            trial.architecture_id[:8],
        ]
        for rank, score, own_rank, trial in found.trials[:n]
    ]
    metric = f"#{found.metric.replace('_', ' ')}"
    return table(["#rank", "#trial", "#score", metric, "#FLOPs", "#own rank", "architecture"], rows)


def rescored_lines(found: "Rescored") -> list[str]:
    """Say what was ranked under which objective, and how far the trials tell of the target."""
    target, low, high = map(short, (found.objective.target, *found.evaluated))
    near = f"{found.near} of {found.count} complete trials are within 10 % of {target} FLOPs"
    lines = [
        f"{found.study} under {found.objective.describe(found.metric)}",
        f"its own: {found.own.describe(found.metric)}",
        f"{near}; they cost {low} to {high}",
    ]
    if found.pruned:
        lines.append(f"{found.pruned} networks were pruned under its own objective: no rank")
    if found.unmoved:
        lines.append(
            "a soft objective's target scales all scores alike: no rank changes but by --w, or with"
            " --objective hard"
        )
    return lines


def extrapolation(found: "Rescored") -> str:
    """Say what a target is worth that lies outside of what was evaluated; empty inside."""
    if not found.extrapolated:
        return ""
    target, low, high = map(short, (found.objective.target, *found.evaluated))
    return (
        f"the target of {target} FLOPs lies outside of what was evaluated ({low} to {high}): the"
        f" choice is extrapolated. nas search --target-flops {target} would look there."
    )


def curve_table(points: "Sequence[CurvePoint]", metric: str) -> Table:
    """Show a learning curve, epoch by epoch."""
    columns = ["#epoch", "#train loss", "#validation loss", f"#{metric}", "#seconds"]
    return table(
        columns,
        (
            [
                point.epoch,
                number(point.train_loss),
                number(point.metrics.get("loss")),
                number(point.metrics.get(metric)),
                f"{point.seconds:.1f}",
            ]
            for point in points
        ),
    )


def cost_table(numbers: Mapping[str, Any]) -> Table:
    """Show a network's cost block by block, with each block's share of the macs."""
    rows = []
    for block in numbers["blocks"]:
        size = f"{block['size']}x{block['size']}x{block['in_channels']}"
        share = block["macs"] / max(1, numbers["macs"])
        width = block["out_channels"]
        counted = (f"{block[name]:,}" for name in ("macs", "params", "activations"))
        rows.append([block["part"], block["block"], size, width, *counted, f"{share:.1%}"])
    total = (f"{numbers[name]:,}" for name in ("macs", "params", "activations"))
    rows.append(["total", "", "", "", *total, "100%"])
    columns = ["part", "block", "#input", "#width", "#macs", "#params", "#activations", "#share"]
    return table(columns, rows)


def stage_table(numbers: Mapping[str, Any]) -> Table:
    """Show a network's cost by stem, stage and head, with each one's share of the macs."""
    rows = []
    for stage in numbers["stages"]:
        blocks = ", ".join(f"{name} x{count}" for name, count in stage["blocks"].items())
        size = f"{stage['resolution_in']} -> {stage['resolution_out']}"
        share = stage["macs"] / max(1, numbers["macs"])
        counted = (f"{stage[name]:,}" for name in ("macs", "params", "activations"))
        rows.append([stage["part"], blocks, size, stage["out_channels"], *counted, f"{share:.1%}"])
    total = (f"{numbers[name]:,}" for name in ("macs", "params", "activations"))
    rows.append(["total", f"{len(numbers['blocks'])} blocks", "", "", *total, "100%"])
    columns = ["part", "blocks", "#pixels", "#width", "#macs", "#params", "#activations", "#share"]
    return table(columns, rows)


def comparison_table(networks: Sequence[Mapping[str, Any]]) -> Table:
    """Show several networks side by side, with macs and params as multiples of the first's."""
    first = networks[0]
    rows = [
        [
            one["name"],
            one["resolution"],
            one["classes"],
            len(one["blocks"]),
            short(one["macs"]),
            f"{one['macs'] / max(1, first['macs']):.2f}x",
            short(one["params"]),
            f"{one['params'] / max(1, first['params']):.2f}x",
            short(one["activations"]),
            f"{one['peak_activation_bytes'] / 2**20:.3g} MiB",
        ]
        for one in networks
    ]
    columns = ["name", "#pixels", "#classes", "#blocks", "#macs", "#", "#params", "# "]
    return table([*columns, "#activations", "#peak memory"], rows)


def proxies_table(found: "Sequence[Comparison]", metric: str) -> Table:
    """Show how proxies rank a study's networks, the one that follows the metric best first."""
    rows = [
        [
            one.name,
            _interval(one.spearman),
            _interval(one.kendall),
            _interval(one.gain),
            len(one.values),
            f"{one.seconds:.2g}",
            one.verdict,
        ]
        for one in found
    ]
    columns = [
        "proxy",
        "#Spearman",
        "#Kendall",
        "#over the baseline",
        "#n",
        "#s/network",
        "verdict",
    ]
    title = f"rank correlation with {metric.replace('_', ' ')} (95 % interval)"
    return table(columns, rows, title)


def proxies_note(found: "Sequence[Comparison]") -> str:
    """Say what the verdicts mean."""
    return (
        "helps: Spearman's interval lies above 0, and so does that of what it has over the better "
        f"baseline, {found[0].against}; misleads: it lies below 0"
    )


def _interval(interval: "Interval | None") -> str:
    if interval is None:
        return "-"
    return f"{interval.value:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def latency_table(measured: Sequence[Mapping[str, Any]]) -> Table:
    """Show measured latencies: median and quartiles in milliseconds, and images per second."""
    rows = [
        [
            one["name"],
            one["resolution"],
            *(f"{one[name]:.3f}" for name in ("median_ms", "q1_ms", "q3_ms")),
            one["runs"],
            f"{1000 * one['setting']['batch_size'] / one['median_ms']:.0f}",
            short(one["macs"]),
        ]
        for one in measured
    ]
    columns = ["name", "#pixels", "#median ms", "#quartiles", "#", "#runs", "#images/s", "#macs"]
    return table(columns, rows)


def setting_line(setting: Mapping[str, Any]) -> str:
    """Say how latency was measured."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())


def family_line(family: Mapping[str, Any]) -> str:
    """Say what a family was scaled from and by what."""
    by = ", ".join(f"{name} {value:g}" for name, value in family["coefficients"].items())
    found = f" (study {family['study']})" if family["study"] else ""
    return f"{family['source']}: {by}{found}; alpha beta^2 gamma^2 = {family['product']:.3f}"


def family_table(members: Iterable[Mapping[str, Any]]) -> Table:
    """Show a scaled family: what each member costs, its FLOPs over the source's and the ideal."""
    rows = []
    for one in members:
        ratios = (f"{one[name]:.2f}" for name in ("ratio", "ideal_ratio"))
        counted = (f"{one[name]:,}" for name in ("macs", "params"))
        numbers = (one["resolution"], one["layers"], *counted, *ratios)
        rows.append([f"{one['phi']:g}", *numbers, one["file"] or ""])
    columns = ["#phi", "#px", "#layers", "#macs", "#params", "#ratio", "#ideal", "file"]
    return table(columns, rows)
