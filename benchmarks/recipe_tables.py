"""The tables of docs/guides/recipes.md from the trainings in results/recipe_tuning.json.

    python -m benchmarks.recipe_tables

A gain is the logarithm of the ratio of two errors, that of `whole` to that of the changed recipe on
the same set, network and seed: 0.1 is about a tenth less of the log loss, of the wrong answers, of
1 - AUROC. The gain of a set is the mean of the three, on plain images; `distorted` is that on
images that are changed as another hospital's may be. A change is chosen by its gain on the other
sets; its gain on the set that was left out is the honest number.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, stdev

from benchmarks.recipe_tuning import (
    BASE,
    CHANGES,
    IMBALANCED,
    NETWORKS,
    NONE,
    POWERS,
    SETS,
    SHOWN,
    Row,
    power_name,
    read,
)
from nas.proxies._comparison import Interval, ProxyValues, compare
from nas.pruners.ladder import ladder

DISTORTED = "distorted"
Metrics = dict[str, float]
Gains = dict[str, dict[str, list[dict[str, float]]]]
"""By change and set the gains of its trainings, each by the names of `SHOWN` and `DISTORTED`."""


def gains(rows: Sequence[Row]) -> Gains:
    """Return what each change gained wherever `whole` was trained, too."""
    tried = [row for row in rows if row["network"] in NETWORKS and row["recipe"] in CHANGES]
    base = {_place(row): row for row in tried if row["recipe"] == BASE}
    found: Gains = defaultdict(lambda: defaultdict(list))
    for row in tried:
        against = base.get(_place(row))
        if against is not None and row["recipe"] != BASE:
            ends = against["curve"][-1], row["curve"][-1]
            gain = {name: _gain(*ends, name, row["set"]) for name in SHOWN}
            ends = against[DISTORTED], row[DISTORTED]
            gain[DISTORTED] = fmean(_gain(*ends, name, row["set"]) for name in SHOWN)
            found[row["recipe"]][row["set"]].append(gain)
    return {name: dict(sets) for name, sets in found.items()}


def _place(row: Row) -> tuple[str, str]:
    return row["set"], row["network"]  # each network has its own seed


def _gain(against: Metrics, metrics: Metrics, name: str, part: str) -> float:
    return math.log(_error(against[name], name, part) / _error(metrics[name], name, part))


def _error(value: float, name: str, part: str) -> float:
    """Return an error that is never 0: half an image is added to what is no loss."""
    return value if name == "loss" else 1 - value + 0.5 / SETS[part].scored


def set_gains(found: Gains, change: str, names: Sequence[str] = SHOWN) -> dict[str, float]:
    """Return a change's gain on each set: the mean over its trainings and the errors' names."""
    return {
        part: fmean(gain[name] for gain in trainings for name in names)
        for part, trainings in found.get(change, {}).items()
    }


def left_out(found: Gains, part: str) -> tuple[str, float, float]:
    """Return the change with the highest gain on the other sets, that gain, and that on `part`.

    It is `whole` itself with a gain of 0 where no change gains on the others. A change counts where
    it was tried on all sets.
    """
    chosen = BASE, 0.0, 0.0
    for change in found:
        each = set_gains(found, change)
        if each.keys() == SETS.keys() and change != NONE:
            own = each.pop(part)
            chosen = max(chosen, (change, fmean(each.values()), own), key=lambda one: one[1])
    return chosen


def _percent(values: Sequence[float]) -> str:
    """Write a mean of gains in percent with its standard error over the sets."""
    error = f" ± {100 * stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):+.1f}{error}"


def changes_table(found: Gains) -> list[str]:
    """Return the rows of changes, the best first."""
    lines = [
        "| change of `whole` | gain, % | log loss | errors | 1 - AUROC | distorted | sets better "
        "| trainings |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    by_gain = sorted(found, key=lambda name: -fmean(set_gains(found, name).values()))
    for change in by_gain:
        each = set_gains(found, change)
        parts = [set_gains(found, change, [name]) for name in (*SHOWN, DISTORTED)]
        cells = [_percent([*part.values()]) for part in (each, *parts)]
        better = f"{sum(value > 0 for value in each.values())} of {len(each)}"
        count = sum(map(len, found[change].values()))
        lines.append(f"| {change} | {' | '.join(cells)} | {better} | {count} |")
    return lines


def sets_table(found: Gains) -> list[str]:
    """Return the rows of changes with their gains set by set."""
    lines = [f"| change of `whole` | {' | '.join(SETS)} |", "| --- " * (len(SETS) + 1) + "|"]
    for change in found:
        each = set_gains(found, change)
        cells = [f"{100 * each[part]:+.1f}" if part in each else "" for part in SETS]
        lines.append(f"| {change} | {' | '.join(cells)} |")
    return lines


def left_out_table(found: Gains) -> list[str]:
    """Return the rows of sets: the change chosen on the others, and whether it holds."""
    lines = [
        "| set left out | chosen on the others | gain there, % | gain on this set, % |",
        "| --- | --- | --- | --- |",
    ]
    for part in SETS:
        change, others, own = left_out(found, part)
        lines.append(f"| {part} | {change} | {100 * others:+.1f} | {100 * own:+.1f} |")
    return lines


def balances_table(rows: Sequence[Row]) -> list[str]:
    """Return the rows of imbalanced sets: metrics by the power that classes are weighed by."""
    names = ("balanced_accuracy", "accuracy", "auroc")
    lines = [
        f"| set | power | {' | '.join(name.replace('_', ' ') for name in names)} | trainings |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in IMBALANCED:
        for power in POWERS:
            ends = [
                row["curve"][-1]
                for row in rows
                if (row["set"], row["recipe"]) == (part, power_name(power))
            ]
            if ends:
                cells = " | ".join(f"{fmean(end[name] for end in ends):.3f}" for name in names)
                lines.append(f"| {part} | {power:g} | {cells} | {len(ends)} |")
    return lines


def ranks_table(rows: Sequence[Row]) -> list[str]:
    """Return the rank correlations with `whole` of the same metric, with their intervals."""
    lines = [
        "| set | networks | known of a network | accuracy | AUROC | log loss |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    by_set = defaultdict(lambda: defaultdict(dict[str, Row]))  # type: ignore[var-annotated]
    for row in rows:
        if row["network"] not in NETWORKS:
            by_set[row["set"]][row["network"]][row["recipe"]] = row
    for part, networks in by_set.items():
        pairs = [(each["short"], each[BASE]) for each in networks.values() if len(each) == 2]
        if len(pairs) > 1:
            for words, cells in _correlations(pairs).items():
                lines.append(f"| {part} | {len(pairs)} | {words} | {' | '.join(cells)} |")
    return lines


def _correlations(pairs: Sequence[tuple[Row, Row]]) -> dict[str, list[str]]:
    """Return a row of cells for each rung of a short training, and for the macs alone."""
    epochs = [rung.epochs for rung in ladder(len(pairs[0][0]["curve"]))]
    found = defaultdict(list)
    for name in ("accuracy", "auroc", "loss"):
        known = {
            f"`short` after {epoch} of {epochs[-1]} epochs": [
                short["curve"][epoch - 1][name] for short, _ in pairs
            ]
            for epoch in epochs
        }
        measured = {words: ProxyValues(values, 0.0) for words, values in known.items()}
        sign = -1.0 if name == "loss" else 1.0
        for cost in ("macs", "params"):  # the comparison's baselines
            measured[cost] = ProxyValues([sign * short[cost] for short, _ in pairs], 0.0)
        truth = [full["curve"][-1][name] for _, full in pairs]
        spearman = {one.name: one.spearman for one in compare(measured, truth)}
        for words in (*known, "macs"):
            found[words].append(_interval(spearman[words]))
    return found


def _interval(given: Interval | None) -> str:
    return "" if given is None else f"{given.value:.2f} ({given.low:.2f} to {given.high:.2f})"


def tables(rows: Sequence[Row]) -> list[list[str]]:
    """Return all tables as lines of Markdown."""
    found = gains(rows)
    of_changes = [changes_table(found), sets_table(found), left_out_table(found)]
    return [*of_changes, balances_table(rows), ranks_table(rows)]


def main() -> None:
    """Print the tables."""
    print("\n\n".join("\n".join(table) for table in tables(read())))


if __name__ == "__main__":
    main()
