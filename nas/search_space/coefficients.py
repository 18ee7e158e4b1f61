"""Compound-scaling coefficients as a search space: the candidates, and the networks they give.

EfficientNet, arXiv:1905.11946, section 3.3: the coefficients are searched on the small network at
phi = 1; then phi alone scales it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from nas.architecture import Architecture, Row
from nas.errors import UserError
from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import Stage
from nas.search_space.scaling import Coefficients, grid, origins, scale

PARAMETER = "coefficients"
TOTAL = 2.0  # phi = 1 doubles the FLOPs
STEP = 0.1
TOLERANCE = 0.05


@dataclass(frozen=True)
class Rounding:
    """What widths and resolutions are multiples of."""

    divisor: int = 8
    resolution_multiple: int = 8

    def scale(self, architecture: Architecture, by: Coefficients) -> Architecture:
        """Scale a network with this rounding."""
        return scale(architecture, by, divisor=self.divisor, multiple=self.resolution_multiple)


def candidates(step: float | None, tolerance: float | None) -> list[Coefficients]:
    """List the grid's candidates; raises UserError where it has none, or far too many."""
    step = STEP if step is None else step
    tolerance = TOLERANCE if tolerance is None else tolerance
    if not 0.01 <= step <= 1:
        raise UserError(f"--step is a number from 0.01 to 1, not {step:g}.")
    if not 0 < tolerance < 1:
        raise UserError(f"--tolerance is a number between 0 and 1, not {tolerance:g}.")
    found = grid(step=step, total=TOTAL, tolerance=tolerance)
    if not found:
        raise UserError(
            f"No alpha beta^2 gamma^2 in steps of {step:g} is within {tolerance:.0%} of {TOTAL:g};"
            " give a smaller --step or a larger --tolerance."
        )
    return found


def distinct(
    tried: Sequence[Coefficients], source: Architecture, rounding: Rounding
) -> dict[str, Coefficients]:
    """Return the scaled networks' ids with their coefficients.

    Of several that round to one network the one is kept whose product is nearest the wanted one.
    """
    nearest_first = sorted(tried, key=lambda by: abs(by.product - TOTAL))
    found: dict[str, Coefficients] = {}
    for by in nearest_first:
        found.setdefault(rounding.scale(source, by).id, by)
    return found


def label(by: Coefficients) -> str:
    """Write coefficients as a study stores them."""
    return ", ".join(f"{factor:g}" for factor in by[:3])


def coefficient_space(
    name: str, source: Architecture, tried: Sequence[Coefficients], rounding: Rounding
) -> SearchSpace:
    """Return the space of the source scaled by each candidate: one parameter, the coefficients."""
    labels = [label(by) for by in tried]

    def linked(values: Sequence[int]) -> Any:
        alike = len(set(values)) == 1
        return values[0] if alike else choice(*values, name=PARAMETER, labels=labels)

    def staged(row: Row, depths: Sequence[int]) -> Stage:
        widths = [by.width(row.out_channels, rounding.divisor) for by in tried]
        spec = block(row.block, **dict(row.options))
        return stage(spec, width=linked(widths), depth=linked(depths), stride=row.stride)

    once = [1] * len(tried)
    ending = dict(source.head[-1].options)
    sizes = [by.resolution(source.resolution, rounding.resolution_multiple) for by in tried]
    return SearchSpace(
        name=name,
        resolution=linked(sizes),
        dropout=ending.pop("dropout", 0.0),
        classifier=ending,
        in_channels=source.in_channels,
        classes=source.classes,
        stem=[staged(row, once) for row in source.stem],
        stages=[
            staged(rows[first], depths)
            for rows in source.stages
            for first, depths in _runs(rows, tried)
        ],
        head=[staged(row, once) for row in source.head[:-1]],
    )


def searched(
    space: SearchSpace, source: Architecture, tried: Iterable[Coefficients]
) -> list[Architecture]:
    """Return the candidates of their space as a search trains them: with kernels that are cut."""
    sizes = {"in_channels": source.in_channels, "classes": source.classes}
    values = ({PARAMETER: label(by)} if space.parameters() else {} for by in tried)
    return [space.fitting().decode(each, **sizes) for each in values]


def space_of(name: str, network: Architecture) -> SearchSpace:
    """Return the space of one network: it has no parameter, and decodes to this network alone."""
    return coefficient_space(name, network, [Coefficients()], Rounding())


def _runs(rows: Sequence[Row], tried: Sequence[Coefficients]) -> Iterator[tuple[int, list[int]]]:
    """Yield each run of alike layers of a stage: its first layer, its length for each candidate."""
    scaled = [Counter(origins(len(rows), by.depth(len(rows)))) for by in tried]
    for _, run in groupby(range(len(rows)), key=lambda index: replace(rows[index], stride=1)):
        indices = list(run)
        yield indices[0], [sum(times[index] for index in indices) for times in scaled]
