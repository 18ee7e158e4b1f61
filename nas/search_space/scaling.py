"""Compound scaling: depth alpha^phi, width beta^phi, resolution gamma^phi.

Source: EfficientNet, arXiv:1905.11946, section 3.3.
"""

from dataclasses import replace
from itertools import product
from typing import NamedTuple

from nas import blocks
from nas.architecture import MAX_DEPTH, MAX_WIDTH, Architecture, Row
from nas.blocks.rounding import round_channels, round_repeats, round_resolution
from nas.errors import SpaceError
from nas.quantities import MAX_RESOLUTION


class Coefficients(NamedTuple):
    """The four numbers of compound scaling; a factor of 1 leaves what it scales as it is."""

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    phi: float = 0.0

    @property
    def product(self) -> float:
        """What phi = 1 multiplies the FLOPs by, but for rounding: alpha beta^2 gamma^2."""
        return self.alpha * self.beta**2 * self.gamma**2

    def depth(self, layers: int) -> int:
        """Scale a number of layers; at least one is left."""
        return max(1, round_repeats(layers * self.alpha**self.phi))

    def width(self, channels: int, divisor: int = 8) -> int:
        """Scale a number of channels."""
        factor = self.beta**self.phi
        return channels if factor == 1 else round_channels(channels * factor, divisor)

    def resolution(self, size: int, multiple: int = 8) -> int:
        """Scale an image size in pixels; rounding alone never makes a smaller one of it."""
        factor = self.gamma**self.phi
        rounded = size if factor == 1 else round_resolution(size * factor, multiple)
        return max(size, rounded) if factor > 1 else rounded


def scale(
    architecture: Architecture, by: Coefficients, *, divisor: int = 8, multiple: int = 8
) -> Architecture:
    """Scale a network: the layers of every stage, every width, and the resolution.

    Widths become multiples of `divisor`, never under 90 %; the resolution a multiple of `multiple`.
    Stem and head are widened like the stages. A stage that grows repeats its layers in their order,
    the first one, which has the stride, least of all. Raises SpaceError where the scaled widths do
    not allow a block's options.
    """

    numbers = ", ".join(f"{name} {value:g}" for name, value in by._asdict().items())

    def widened(row: Row) -> Row:
        width = by.width(row.out_channels, divisor)
        return replace(row, out_channels=width, counted={})

    try:
        resolution = by.resolution(architecture.resolution, multiple)
        _check_bounds(architecture, by, resolution)
        stages = ([widened(row) for row in stage] for stage in architecture.stages)
        body = [row for stage in stages for row in _deepened(stage, by.depth(len(stage)))]
        *head, classifier = architecture.head
        return blocks.canonical(
            replace(
                architecture,
                resolution=resolution,
                stem=tuple(map(widened, architecture.stem)),
                body=tuple(body),
                head=(*map(widened, head), classifier),
            )
        )
    except SpaceError as error:
        raise SpaceError(f"Scaled by {numbers}: {error}") from None


def _check_bounds(architecture: Architecture, by: Coefficients, resolution: int) -> None:
    """Refuse what no search space may hold either: these are its bounds."""
    depth = max((by.depth(len(stage)) for stage in architecture.stages), default=1)
    width = max(by.width(row.out_channels) for row in architecture.rows)
    for what, number, most in (
        ("layers in a stage", depth, MAX_DEPTH),
        ("channels", width, MAX_WIDTH),
        ("px", resolution, MAX_RESOLUTION),
    ):
        if number > most:
            raise SpaceError(f"{number:,} {what}, over {most:,}.")


def origins(layers: int, wanted: int) -> list[int]:
    """Say which of a stage's layers, by index, each of the wanted number of layers repeats."""
    if layers == 1 or wanted < layers:
        return [min(index, layers - 1) for index in range(wanted)]
    rest = layers - 1
    return [0, *(1 + index * rest // (wanted - 1) for index in range(wanted - 1))]


def _deepened(stage: list[Row], layers: int) -> list[Row]:
    rows = [stage[index] for index in origins(len(stage), layers)]
    return [rows[0], *(replace(row, stride=1, counted={}) for row in rows[1:])]


def grid(*, step: float, total: float = 2.0, tolerance: float = 0.05) -> list[Coefficients]:
    """List the coefficients from 1 in steps whose product is `total`, but for the tolerance.

    Tan and Le search them so on the small network, at phi = 1: |product / total - 1| is at most
    `tolerance`.
    """
    most = total * (1 + tolerance)
    axes = (_steps(most, step), _steps(most**0.5, step), _steps(most**0.5, step))
    found = (Coefficients(*triple, 1.0) for triple in product(*axes))
    return [one for one in found if abs(one.product / total - 1) <= tolerance + 1e-9]


def _steps(most: float, step: float) -> list[float]:
    return [round(1 + index * step, 6) for index in range(int((most - 1) / step + 1e-9) + 1)]
