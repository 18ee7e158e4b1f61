"""Proxies beside the metrics of trained networks: a table, and a scatter for each proxy."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scipy.stats import rankdata

from nas.proxies._comparison import Comparison, Interval
from nas.quantities import short
from nas.report import tables
from nas.report.tradeoff import BEST, INK, PALE
from nas.training.metrics import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes


GOOD = "#2a7f62"
COLUMNS = 3


class ProxyReport(NamedTuple):
    """The worth of proxies on a study's networks, which have these `macs` and `metrics`."""

    study: str
    metric: str
    macs: list[int]
    metrics: list[float]
    comparisons: list[Comparison]
    picture: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        picture = str(self.picture) if self.picture else None
        compared = [comparison.to_json() for comparison in self.comparisons]
        return {**self._asdict(), "comparisons": compared, "picture": picture}

    def lines(self) -> tables.Lines:
        """Show how proxies rank the networks, the best one first."""
        rows = [
            [
                proxy.name,
                *map(_interval, (proxy.spearman, proxy.kendall, proxy.gain)),
                len(proxy.values),
                f"{proxy.seconds:.2g}",
                proxy.verdict,
            ]
            for proxy in self.comparisons
        ]
        columns = ["proxy", "#Spearman", "#Kendall", "#over the baseline", "#n", "#s/network"]
        title = f"rank correlation with {words(self.metric)} (95 % interval)"
        yield tables.Table([*columns, "verdict"], rows, title)
        yield (
            "helps: Spearman's interval lies above 0, and so does that of what it has over the"
            f" better baseline, {self.comparisons[0].against}; misleads: it lies below 0"
        )
        if self.picture:
            yield f"picture: {self.picture}"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*interval)


def draw_proxies(report: ProxyReport, path: Path) -> None:
    """Draw a scatter per proxy, its verdict above it, the networks coloured by their macs."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    count = len(report.comparisons)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    size = (3.4 * columns + 0.9, 3.1 * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    low, high = min(report.macs), max(report.macs)
    norm = LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)
    drawn = None
    for axes, comparison in zip(grid.flat, report.comparisons, strict=False):
        ranks = rankdata(comparison.values)
        drawn = axes.scatter(
            ranks, report.metrics, c=report.macs, norm=norm, cmap="viridis", s=34,
            edgecolors="white", linewidths=0.6, zorder=3,
        )  # fmt: skip
        _label(axes, comparison)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=grid, shrink=0.6, aspect=30, pad=0.02)
        bar.set_label("FLOPs", color=INK)
        for axis in (bar.ax.yaxis.set_major_formatter, bar.ax.yaxis.set_minor_formatter):
            axis(lambda value, _: short(value))
        bar.ax.tick_params(which="both", labelsize=8)
        bar.outline.set_visible(False)
    figure.supxlabel("rank by the proxy, the most promising at the right", color=INK, fontsize=10)
    figure.supylabel(f"validation {words(report.metric)}", color=INK, fontsize=10)
    title = f"{report.study}: what proxies promised of {len(report.metrics)} trained networks"
    figure.suptitle(title, color=INK)
    figure.savefig(path)


def _label(axes: "Axes", comparison: Comparison) -> None:
    """Write the proxy's name, its correlation with the interval, and the verdict."""
    from matplotlib.ticker import MaxNLocator

    correlation = comparison.spearman
    words = f"Spearman {_interval(correlation)}" if correlation else "nothing to rank"
    color = {"helps": GOOD, "misleads": BEST}.get(comparison.verdict, INK)
    axes.set_title(comparison.name, color=INK, fontsize=11, fontweight="bold", loc="left", pad=32)
    axes.text(0, 1.1, words, transform=axes.transAxes, fontsize=8.5, color=INK)
    axes.text(0, 1.02, comparison.verdict, transform=axes.transAxes, fontsize=8.5, color=color)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=8, color=PALE)
    axes.grid(alpha=0.25)
