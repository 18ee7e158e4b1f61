"""Tables and lines for the values that verbs return: plain data until they are printed.

Importing this module imports neither torch nor rich.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.errors import printable
from nas.quantities import number, short
from nas.training.metrics import words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

    from nas.store.queries import TrialInfo
    from nas.store.records import CurvePoint


class Alarm(str):
    """A cell that is printed in red."""


class Remark(str):
    """A line for standard error: it is no part of the result."""


@dataclass(frozen=True)
class Table:
    """A plain table; columns whose name begins with '#' hold numbers. Rich prints it.

    A column without a name belongs to the one before it. On a terminal that is too narrow, names
    and texts are wrapped; the last columns that still do not fit stand in a table below, beside the
    first column once more. No number is cut. Where the output is no terminal, the table has the
    width that it needs.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from nas.report.fitting import Column, fitted

        columns = [
            Column(printable(name.removeprefix("#")), [*map(_text, cells)], name.startswith("#"))
            for name, *cells in zip(self.columns, *self.rows, strict=True)
        ]
        width = options.max_width if console.is_terminal else None
        for table, needed in fitted(columns, width, self.title):
            yield from console.render(table, options.update(width=needed))


def _text(cell: object) -> "Text":
    from rich.text import Text

    return Text(printable(str(cell)), "bold red" if isinstance(cell, Alarm) else "")


Lines = Iterable[str | Table]
LINES = "application/vnd.nas.lines+json"  # the type of a verb's plain data with its lines


def lines_to_json(lines: Lines) -> list[Any]:
    """Return lines as plain data, for a machine that prints them as they would be printed here.

    A line is a text, a remark or a table an object; so is a cell that is printed in red.
    """
    return [_plain_line(line) for line in lines]


def _plain_line(line: str | Table) -> Any:
    if isinstance(line, Table):
        rows = [[_plain_cell(cell) for cell in row] for row in line.rows]
        return {"columns": list(line.columns), "rows": rows, "title": line.title}
    return {"remark": str(line)} if isinstance(line, Remark) else str(line)


def _plain_cell(cell: object) -> Any:
    return {"alarm": str(cell)} if isinstance(cell, Alarm) else str(cell)


def lines_from_json(plain: Iterable[Any]) -> list[str | Table]:
    """Read what `lines_to_json` has written; raises LookupError, TypeError."""
    return [_line(each) for each in plain]


def _line(plain: Any) -> str | Table:
    if isinstance(plain, str):
        return plain
    if "remark" in plain:
        return Remark(plain["remark"])
    rows = [[Alarm(cell["alarm"]) if isinstance(cell, dict) else cell for cell in row]
            for row in plain["rows"]]  # fmt: skip
    return Table(plain["columns"], rows, plain["title"])


def top_table(trials: "Sequence[TrialInfo]", metric: str) -> Table:
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
        note = Alarm("one class!") if trial.one_class else trial.architecture_id[:8]
        rows.append([trial.number, number(trial.score), *metrics, majority, *cost, note])
    return Table([*columns, "architecture"], rows)


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
    return Table(columns, rows)


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
    return Table(columns, rows)


def comparison_table(networks: Sequence[Mapping[str, Any]]) -> Table:
    """Show several networks side by side, with macs and params as multiples of the first's."""
    first = networks[0]
    rows = [
        [
            network["name"],
            network["resolution"],
            network["classes"],
            len(network["blocks"]),
            short(network["macs"]),
            f"{network['macs'] / max(1, first['macs']):.2f}x",
            short(network["params"]),
            f"{network['params'] / max(1, first['params']):.2f}x",
            short(network["activations"]),
            f"{network['peak_activation_bytes'] / 2**20:.3g} MiB",
        ]
        for network in networks
    ]
    columns = ["name", "#pixels", "#classes", "#blocks", "#macs", "#", "#params", "# "]
    return Table([*columns, "#activations", "#peak memory"], rows)


def latency_table(measured: Sequence[Mapping[str, Any]]) -> Table:
    """Show measured latencies: median and quartiles in milliseconds, and images per second."""
    rows = [
        [
            network["name"],
            network["resolution"],
            *(f"{network[name]:.3f}" for name in ("median_ms", "q1_ms", "q3_ms")),
            network["runs"],
            f"{1000 * network['setting']['batch_size'] / network['median_ms']:.0f}",
            short(network["macs"]),
        ]
        for network in measured
    ]
    columns = ["name", "#pixels", "#median ms", "#quartiles", "#", "#runs", "#images/s", "#macs"]
    return Table(columns, rows)


def family_table(members: Iterable[Mapping[str, Any]]) -> Table:
    """Show a scaled family: what each member costs, its FLOPs over the source's and the ideal."""
    rows = []
    for network in members:
        ratios = (f"{network[name]:.2f}" for name in ("ratio", "ideal_ratio"))
        counted = (f"{network[name]:,}" for name in ("macs", "params"))
        numbers = (network["resolution"], network["layers"], *counted, *ratios)
        rows.append([f"{network['phi']:g}", *numbers, network["file"] or ""])
    columns = ["#phi", "#px", "#layers", "#macs", "#params", "#ratio", "#ideal", "file"]
    return Table(columns, rows)


def trained_family_table(members: Iterable[Mapping[str, Any]]) -> Table:
    """Show the members of a family with their metrics, means over the seeds of each."""
    rows, trained = [], [each["training"] for each in members]
    for network, training in zip(members, trained, strict=True):
        counted = (f"{network[name]:,}" for name in ("macs", "params"))
        both = ("metrics", "spread"), ("test", "test_spread")
        reached = (_spread(training, training["metric"], *names) for names in both)
        rows.append([f"{network['phi']:g}", *counted, *reached, training["seeds"]])
    columns = ["#phi", "#macs", "#params", "#validation", "#test", "#seeds"]
    return Table(columns, rows, words(trained[0]["metric"]))


def _spread(training: Mapping[str, Any], metric: str, means: str, spreads: str) -> str:
    spread = training[spreads].get(metric)
    return number(training[means].get(metric)) + (f" ± {spread:.4f}" if spread else "")


def exported(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """Name the formats of a network's files and, where one is not equal to it, the reason.

    In parentheses stands the largest difference of the outputs, relative to the largest output.
    """
    words = [
        f"{verdict['format']}: {verdict['failure']}"
        if verdict["failure"]
        else f"{verdict['format']} ({verdict['verified']:.1e})"
        for verdict in verdicts
    ]
    return ", ".join(dict.fromkeys(words))


def curve_table(points: "Sequence[CurvePoint]", metric: str) -> Table:
    """Show a learning curve, epoch by epoch."""
    columns = ["#epoch", "#train loss", "#validation loss", f"#{metric}", "#seconds"]
    rows = [
        [
            point.epoch,
            number(point.train_loss),
            number(point.metrics.get("loss")),
            number(point.metrics.get(metric)),
            f"{point.seconds:.1f}",
        ]
        for point in points
    ]
    return Table(columns, rows)
