"""Compound scaling: EfficientNet's rounding of channels, layers and resolution."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.rounding import round_channels, round_repeats, round_resolution
from nas.scaling import Coefficients


@given(st.floats(1, 5000), st.sampled_from((1, 2, 4, 8, 16)))
def test_channels_round_to_a_multiple_and_never_under_90_percent(
    channels: float, divisor: int
) -> None:
    """The multiple is the nearest one, or the next above where that is under 90 %."""
    rounded = round_channels(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * channels)
    assert rounded < max(divisor + 1, channels + divisor)


@pytest.mark.parametrize(
    ("channels", "expected"), [(32, 32), (35.2, 32), (36, 40), (24 * 1.3, 32), (10, 16), (3, 8)]
)
def test_channels_round_as_the_reference_code_rounds(channels: float, expected: int) -> None:
    """Halves go up; 10 would become 8, under 90 %, and becomes 16."""
    assert round_channels(channels) == expected


@pytest.mark.parametrize(("repeats", "expected"), [(1, 1), (1.1, 2), (2.0, 2), (1.2 * 5 * 5, 30)])
def test_layers_round_up(repeats: float, expected: int) -> None:
    """The error of floating point is not a layer."""
    assert round_repeats(repeats + 1e-12) == expected


@pytest.mark.parametrize(("size", "expected"), [(224, 224), (257.6, 256), (260.1, 264), (1, 8)])
def test_resolutions_round_to_the_nearest_multiple_of_eight(size: float, expected: int) -> None:
    """At least one multiple is left."""
    assert round_resolution(size) == expected


@pytest.mark.parametrize("scale", [Coefficients(1.2, 1.1, 1.15, 0), Coefficients(phi=3)])
def test_a_factor_of_one_leaves_a_network_as_it_is(scale: Coefficients) -> None:
    """Neither 28 px nor 30 channels are rounded where nothing is scaled."""
    assert (scale.depth(3), scale.width(30), scale.resolution(28)) == (3, 30, 28)


def test_the_coefficients_are_powers_of_phi() -> None:
    """alpha, beta and gamma of the paper at phi 1 and 2."""
    one, two = (Coefficients(1.2, 1.1, 1.15, phi) for phi in (1, 2))
    assert (one.depth(4), one.width(80), one.resolution(224)) == (5, 88, 256)
    assert (two.depth(4), two.width(80), two.resolution(224)) == (6, 96, 296)


def test_a_network_keeps_at_least_one_layer() -> None:
    """However small alpha^phi is."""
    assert Coefficients(alpha=0.01, phi=16).depth(2) == 1
