"""Compound scaling: depth alpha^phi, width beta^phi, resolution gamma^phi.

Source: EfficientNet, arXiv:1905.11946, section 3.3.
"""

from typing import NamedTuple

from nas.rounding import round_channels, round_repeats, round_resolution


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
