"""Flat parameters: their conditions, their order and the number of their assignments."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.architecture import Value
from nas.search_space.parameters import (
    ALWAYS,
    Conjunction,
    Parameter,
    both,
    count,
    either,
    in_order,
)

A = Parameter("a", (1, 2, 3))
B = Parameter("b", ("x", "y"))


def where(name: str, *allowed: Value) -> Conjunction:
    """The condition that a parameter has one of these values."""
    return ((name, frozenset(allowed)),)


def brute_force(parameters: tuple[Parameter, ...]) -> int:
    """Count distinct active assignments by trying every value of everything."""
    found = set()
    for values in product(*(parameter.choices for parameter in parameters)):
        active: dict[str, Value] = {}
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.is_active(active):
                active[parameter.name] = value
        found.add(tuple(active.items()))
    return len(found)


@st.composite
def dependent_parameters(draw: st.DrawFn) -> tuple[Parameter, ...]:
    """Draw up to six parameters, each with conditions on some of those before it."""
    drawn: list[Parameter] = []
    for number in range(draw(st.integers(1, 6))):
        when: tuple[Conjunction, ...] = ()
        for _ in range(draw(st.integers(0, 3)) if drawn else 0):
            conjunction: tuple[Conjunction, ...] = ALWAYS
            for parent in draw(st.lists(st.sampled_from(drawn), max_size=2)):
                allowed = draw(st.sets(st.sampled_from(parent.choices), min_size=1))
                alone = (((parent.name, frozenset(allowed)),),)
                conjunction = both(conjunction, both(parent.when, alone))
            when = either(when, conjunction)
        choices = tuple(range(draw(st.integers(1, 3))))
        drawn.append(Parameter(f"p{number}", choices, when or ALWAYS))
    return tuple(drawn)


@given(dependent_parameters())
def test_the_count_is_that_of_brute_force(parameters: tuple[Parameter, ...]) -> None:
    """Whatever depends on what, through one condition or several, every assignment counts once."""
    assert count(parameters) == brute_force(parameters)


@given(dependent_parameters())
def test_the_order_given_does_not_matter_to_the_count(parameters: tuple[Parameter, ...]) -> None:
    """Backwards there are as many assignments, and `in_order` puts parents first again."""
    backwards = parameters[::-1]
    assert count(backwards) == count(parameters)
    names: list[str] = []
    for parameter in in_order(backwards):
        assert parameter.parents <= set(names)
        names.append(parameter.name)
    assert sorted(names) == sorted(parameter.name for parameter in parameters)


def test_in_order_keeps_the_order_where_it_can() -> None:
    """Only a child that stands before its parent moves."""
    child = Parameter("c", (1,), (where("b", "x"),))
    assert in_order([A, child, B]) == (A, B, child)


def test_without_parameters_there_is_one_assignment() -> None:
    """The empty one."""
    assert count([]) == 1


@pytest.mark.parametrize(
    ("values", "active"),
    [({}, False), ({"a": 1}, False), ({"a": 2}, True), ({"a": 1, "b": "y"}, True)],
)
def test_a_parameter_is_active_where_any_conjunction_holds(
    values: dict[str, Value], active: bool
) -> None:
    """A parent without a value fulfils nothing."""
    parameter = Parameter("c", (1,), (where("a", 2, 3), (*where("a", 1), *where("b", "y"))))
    assert parameter.is_active(values) is active
    assert parameter.parents == {"a", "b"}


def test_a_parent_with_a_value_leaves_the_conditions() -> None:
    """What remains is ALWAYS where it holds, nothing where it can't hold any more."""
    parameter = Parameter("c", (1,), ((*where("a", 1), *where("b", "y")), where("a", 2)))
    assert parameter.given("a", 1) == Parameter("c", (1,), (where("b", "y"),))
    assert parameter.given("a", 2) == Parameter("c", (1,))
    assert parameter.given("a", 3) is None


def test_both_intersects_what_two_conditions_allow() -> None:
    """A parent stands in a conjunction once; conditions that exclude each other leave none."""
    assert both([where("a", 1, 2)], [where("a", 2, 3)]) == (where("a", 2),)
    assert both([where("a", 1)], [where("a", 2)]) == ()
    assert both(ALWAYS, [where("a", 1)]) == (where("a", 1),)


def test_either_is_always_where_one_of_the_two_is() -> None:
    """Conditions are kept once each."""
    assert either([where("a", 1)], ALWAYS) == ALWAYS
    assert either([where("a", 1)], [where("a", 1), where("b", "x")]) == (
        where("a", 1),
        where("b", "x"),
    )
