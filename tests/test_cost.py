"""Limits on a cost, and the tape that counts operator by operator."""

import math

import pytest

from nas.cost import Cost, Limits, Tape
from nas.errors import UserError

COST = Cost(macs=100, params=200, activations=300, peak_activation_bytes=400)


def test_no_limit_is_never_broken() -> None:
    """Limits that were not given let every cost through."""
    assert Limits().violation(COST) is None
    assert Limits().excess(COST) == 0


def test_a_cost_at_the_limit_keeps_it() -> None:
    """Limits are inclusive."""
    assert Limits(*COST).violation(COST) is None


@pytest.mark.parametrize("name", Cost._fields)
def test_a_broken_limit_is_named_with_both_numbers(name: str) -> None:
    """The message says which number is over which limit."""
    value = getattr(COST, name)
    limits = Limits(**{name: value - 1})
    assert limits.violation(COST) == f"{name} {value} over the limit of {value - 1}"


def test_excess_adds_up_relative_to_each_limit() -> None:
    """Twice the macs and half again the parameters are an excess of 1.5."""
    assert Limits(macs=50, params=None, activations=200).excess(COST) == pytest.approx(1.5)


def test_the_tightest_of_two_limits_keeps_both() -> None:
    """Where one says nothing the other holds; where both do, the smaller."""
    assert Limits(macs=5, params=7).tightest(Limits(macs=6, activations=8)) == Limits(5, 7, 8)


def test_limits_from_a_user_become_whole_numbers() -> None:
    """2e6 is 2,000,000, and None stays no limit."""
    assert Limits.checked(macs=2e6, params=None) == Limits(macs=2_000_000)


@pytest.mark.parametrize("limit", [0, -1, 0.5, math.nan, math.inf, True, "2M"])
def test_a_limit_that_is_no_positive_number_is_refused(limit: float) -> None:
    """The message names the limit, the rule and the value."""
    with pytest.raises(UserError, match="limit on macs is a number of at least 1, not"):
        Limits.checked(macs=limit)


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    """A misspelt limit names the four there are."""
    with pytest.raises(UserError, match="No limit on 'mac'; limits: macs, params, activations"):
        Limits.checked(mac=3)


def test_a_convolution_counts_a_multiply_accumulate_as_one() -> None:
    """3 to 8 channels, 3x3, stride 2 on 5x5: 216 weights on 3x3 outputs, 75 + 72 floats alive."""
    tape = Tape(3, 5)
    tape.conv(8, 3, stride=2)
    assert tape.cost() == Cost(216 * 9, 216, 72, (75 + 72) * 4)


def test_groups_divide_the_weights_and_a_bias_adds_to_them() -> None:
    """8 to 8 channels 1x1 in 4 groups: 16 weights and 8 biases, which cost no macs."""
    tape = Tape(8, 2)
    tape.conv(8, 1, groups=4, bias=True)
    assert tape.cost()[:2] == (16 * 4, 16 + 8)


def test_batch_norm_costs_parameters_and_memory_only() -> None:
    """A scale and a shift per channel; its input and its output are alive at once."""
    tape = Tape(4, 3)
    tape.norm()
    assert tape.cost() == Cost(0, 8, 0, 2 * 36 * 4)


def test_joining_groups_needs_memory_where_the_input_is_still_needed() -> None:
    """Beside a skip, two groups and their joined copy are alive; one group is not copied."""
    peaks = []
    for shares, kernels in (((8,), (3,)), ((4, 4), (3, 5))):
        tape = Tape(8, 4)
        tape.hold()
        tape.mix_conv(shares, kernels, stride=1)
        peaks.append(tape.cost().peak_activation_bytes)
    assert peaks == [2 * 128 * 4, 3 * 128 * 4]


def test_a_mixed_convolution_peaks_at_the_larger_of_input_and_copy() -> None:
    """With stride 2 the input dominates: 128 + 32 floats while convolving, 32 + 32 joining."""
    tape = Tape(8, 4)
    tape.mix_conv((4, 4), (3, 5), stride=2)
    assert tape.cost() == Cost((4 * 9 + 4 * 25) * 4, 136, 32, (128 + 32) * 4)


def test_squeeze_excite_counts_both_of_its_convolutions() -> None:
    """16 channels squeezed to 4: 128 weights, 20 biases, macs once per image."""
    tape = Tape(16, 3)
    tape.squeeze_excite(4)
    assert tape.cost() == Cost(128, 148, 20, (144 + 16 + 144) * 4)


def test_a_held_tensor_stays_alive_until_it_is_added() -> None:
    """The skip's tensor is counted beside input and output of every operator it skips."""
    tape = Tape(4, 2)
    held = tape.hold()
    tape.conv(4, 1)
    tape.norm()
    tape.add(held)
    assert tape.cost().peak_activation_bytes == 3 * 16 * 4
    assert tape.held == 0


def test_a_classifier_pools_and_multiplies() -> None:
    """16 channels of 3x3 to 10 logits: 160 macs, 170 parameters, 10 activations."""
    tape = Tape(16, 3)
    tape.pool()
    tape.linear(10)
    assert tape.cost() == Cost(160, 170, 10, (144 + 16) * 4)
