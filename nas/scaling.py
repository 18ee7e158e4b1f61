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
    """The four numbers of compound scaling; a factor of 1 leaves what it scales as it is."""

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    phi: float = 0.0

    def depth(self, layers: int) -> int:
        """Scale a number of layers; at least one is left."""
        return max(1, round_repeats(layers * self.alpha**self.phi))

    def width(self, channels: int) -> int:
        """Scale a number of channels."""
        factor = self.beta**self.phi
        return channels if factor == 1 else round_channels(channels * factor)

    def resolution(self, size: int) -> int:
        """Scale an image size in pixels."""
        factor = self.gamma**self.phi
        return size if factor == 1 else round_resolution(size * factor)
