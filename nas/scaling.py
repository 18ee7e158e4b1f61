"""Compound scaling: depth alpha^phi, width beta^phi, resolution gamma^phi.

Source: EfficientNet, arXiv:1905.11946, section 3.3; the rounding is that of its reference code.
"""

import math
from typing import NamedTuple


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never under 90 % of `channels` nor under `divisor`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def round_repeats(repeats: float) -> int:
    """Round a number of layers up; a hair's breadth of floating point is not a layer."""
    return math.ceil(repeats - 1e-9)


def round_resolution(resolution: float, multiple: int = 8) -> int:
    """Round to the nearest multiple, at least one."""
    return max(1, round(resolution / multiple)) * multiple


class Coefficients(NamedTuple):
    """The four numbers of compound scaling; phi = 0 leaves a network as it is."""

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    phi: float = 0.0

    def depth(self, layers: int) -> int:
        """Scale a number of layers."""
        return round_repeats(layers * self.alpha**self.phi) if self.phi else layers

    def width(self, channels: int) -> int:
        """Scale a number of channels."""
        return round_channels(channels * self.beta**self.phi) if self.phi else channels

    def resolution(self, size: int) -> int:
        """Scale an image size in pixels."""
        return round_resolution(size * self.gamma**self.phi) if self.phi else size
