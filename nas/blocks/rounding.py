"""How scaled numbers become whole: channels, layers, pixels.

Source: EfficientNet, arXiv:1905.11946, and its reference code.
"""

import math


def round_channels(channels: float, divisor: int = 8, least: int = 0) -> int:
    """Round to a multiple of `divisor`, never under 90 % of `channels`, `least` or `divisor`."""
    rounded = max(least or divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def round_repeats(repeats: float) -> int:
    """Round a number of layers up; a hair's breadth of floating point is not a layer."""
    return math.ceil(repeats - 1e-9)


def round_resolution(resolution: float, multiple: int = 8) -> int:
    """Round to the nearest multiple, at least one."""
    return max(1, round(resolution / multiple)) * multiple
