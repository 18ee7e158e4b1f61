"""Compound scaling: EfficientNet's rounding of channels, layers and resolution."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import architectures

from nas.architecture import Architecture
from nas.blocks.rounding import round_channels, round_repeats, round_resolution
from nas.errors import SpaceError
from nas.search_space import load
from nas.search_space.scaling import Coefficients, grid, origins, scale


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


EFFICIENTNETS = {  # width, depth: the published coefficients, which are not the formula's
    "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8),
    "b5": (1.6, 2.2), "b6": (1.8, 2.6), "b7": (2.0, 3.1),
}  # fmt: skip


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_efficientnet_b0_scaled_is_the_published_member(name: str) -> None:
    """Layers, widths, stem and head of B1 to B7 come out of B0's rows, to the last option."""
    published = load(f"efficientnet_{name}").decode({})
    width, depth = EFFICIENTNETS[name]
    scaled = scale(load("efficientnet_b0").decode({}), Coefficients(alpha=depth, beta=width, phi=1))
    assert (scaled.stem, scaled.body) == (published.stem, published.body)
    assert scaled.head[0] == published.head[0]


@pytest.mark.parametrize(
    ("layers", "wanted", "expected"),
    [(1, 3, [0, 0, 0]), (2, 3, [0, 1, 1]), (3, 4, [0, 1, 1, 2]), (3, 2, [0, 1]), (2, 2, [0, 1])],
)
def test_a_stage_repeats_its_layers_in_order(layers: int, wanted: int, expected: list[int]) -> None:
    """The first, which has the stride, is repeated only where there is no other."""
    assert origins(layers, wanted) == expected


@settings(max_examples=60, deadline=None)
@given(architectures(), st.floats(1, 3), st.floats(1, 2), st.floats(1, 2))
def test_a_scaled_network_has_the_same_stages(
    architecture: Architecture, alpha: float, beta: float, gamma: float
) -> None:
    """Of any network: as many stages, each deeper, wider and of the same stride; never narrower."""
    try:
        scaled = scale(architecture, Coefficients(alpha, beta, gamma, 1))
    except SpaceError:  # the scaled widths do not allow a block's options
        return
    assert scaled.classes == architecture.classes
    assert len(scaled.body) >= len(architecture.body)
    assert scaled.resolution >= architecture.resolution
    strides = [prod(row.stride for row in one.rows) for one in (scaled, architecture)]
    assert strides[0] == strides[1]
    assert max(r.out_channels for r in scaled.rows) >= 0.9 * max(
        r.out_channels for r in architecture.rows
    )


@settings(max_examples=30, deadline=None)
@given(architectures())
def test_nothing_is_scaled_at_phi_zero(architecture: Architecture) -> None:
    """The member of phi = 0 is the network itself."""
    assert scale(architecture, Coefficients(1.2, 1.1, 1.15, 0)).id == architecture.id


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (Coefficients(16, 1, 1, 16), "layers in a stage, over 1,000"),
        (Coefficients(1, 16, 1, 16), "channels, over 1,000,000"),
        (Coefficients(1, 1, 16, 2), "57,344 px, over 16,384"),
    ],
)
def test_a_network_beyond_all_bounds_is_refused(by: Coefficients, message: str) -> None:
    """At once: what a space may not hold is not built either."""
    with pytest.raises(SpaceError, match=f"Scaled by alpha .*{message}"):
        scale(load("mixnet_s").decode({}), by)


def test_the_grid_keeps_the_product() -> None:
    """Every candidate is within the tolerance, none is left out, each factor is at least 1."""
    found = grid(step=0.05, tolerance=0.05)
    assert all(0.95 <= by.product / 2 <= 1.05 and min(by[:3]) >= 1 for by in found)
    assert Coefficients(1.2, 1.1, 1.15, 1) in found  # EfficientNet's own
    steps = [1 + 0.05 * i for i in range(23)]
    every = (a * b * b * c * c for a in steps for b in steps for c in steps)
    assert len(found) == sum(0.95 <= total / 2 <= 1.05 for total in every)
