"""Flat parameters, some of which exist only when others have certain values."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Self

from nas.architecture import Value

Assignment = Mapping[str, Value]
# A parameter is active when all conditions of any one conjunction hold: (parent, its values) pairs.
Conjunction = tuple[tuple[str, frozenset[Value]], ...]
ALWAYS: tuple[Conjunction, ...] = ((),)


@dataclass(frozen=True)
class Parameter:
    """A named choice as a sampler sees it, and the conditions under which it exists."""

    name: str
    choices: tuple[Value, ...]
    when: tuple[Conjunction, ...] = ALWAYS

    def is_active(self, values: Assignment) -> bool:
        """Say whether the parameter exists, given the values of those before it."""
        return any(
            all(name in values and values[name] in allowed for name, allowed in conjunction)
            for conjunction in self.when
        )

    @property
    def parents(self) -> set[str]:
        """Names of the parameters this one depends on."""
        return {name for conjunction in self.when for name, _ in conjunction}

    def given(self, parent: str, value: Value) -> Self | None:
        """Return the parameter once `parent` has this value; None if it can't exist any more."""
        when = []
        for conjunction in self.when:
            allowed = dict(conjunction).get(parent)
            if allowed is None or value in allowed:
                when.append(tuple(pair for pair in conjunction if pair[0] != parent))
        return replace(self, when=either(when, ())) if when else None


def both(left: Iterable[Conjunction], right: Iterable[Conjunction]) -> tuple[Conjunction, ...]:
    """Return the condition that holds where both do; empty where that can't be."""
    joined = (_join(first, second) for first, second in product(left, right))
    return tuple(conjunction for conjunction in joined if conjunction is not None)


def either(left: Iterable[Conjunction], right: Iterable[Conjunction]) -> tuple[Conjunction, ...]:
    """Return the condition that holds where one of them does."""
    conjunctions = tuple(dict.fromkeys((*left, *right)))
    return ALWAYS if () in conjunctions else conjunctions


def _join(first: Conjunction, second: Conjunction) -> Conjunction | None:
    """Return the conjunction of two, each parent in it once; None where they exclude each other."""
    joined = dict(first)
    for name, allowed in second:
        joined[name] = joined.get(name, allowed) & allowed
    return tuple(joined.items()) if all(joined.values()) else None


def in_order(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Sort parents before children, otherwise keeping the order."""
    by_name = {parameter.name: parameter for parameter in parameters}
    ordered: dict[str, Parameter] = {}

    def place(parameter: Parameter) -> None:
        for parent in sorted(parameter.parents - ordered.keys()):
            place(by_name[parent])
        ordered.setdefault(parameter.name, parameter)

    for parameter in by_name.values():
        place(parameter)
    return tuple(ordered.values())


def count(parameters: Iterable[Parameter]) -> int:
    """Count the assignments of active parameters exactly."""
    every = tuple(parameters)
    parents = set().union(*(parameter.parents for parameter in every))
    weights: dict[tuple[Conjunction, ...], int] = {}
    for parameter in every:
        if parameter.name not in parents:
            weights[parameter.when] = weights.get(parameter.when, 1) * len(parameter.choices)
    leaves = [_Leaf(weight=weight, when=when) for when, weight in weights.items()]
    return _count([parameter for parameter in every if parameter.name in parents], leaves, {})


@dataclass(frozen=True, kw_only=True)
class _Leaf(Parameter):
    """Parameters that nothing depends on and that exist together: how many values they have.

    With a weight of 0 it forbids what its condition says.
    """

    name: str = ""
    choices: tuple[Value, ...] = ()
    weight: int

    @property
    def is_scattered(self) -> bool:
        """Whether it exists under conditions that have no parent in common."""
        names = ({name for name, _ in conjunction} for conjunction in self.when)
        return not set.intersection(*names)


Counts = dict[tuple[object, ...], int]


def _count(parents: list[Parameter], leaves: list[_Leaf], counted: Counts) -> int:
    """Multiply what has nothing to do with each other; break up what has; remember it.

    A leaf with scattered conditions (a choice shared by stages) ties their parts together. It is
    taken out by counting without it and subtracting where it does not exist: w N(all) - (w - 1)
    N(inactive). Else the parent that most depends on is given each of its values in turn.
    """
    total = prod(leaf.weight for leaf in leaves if not leaf.parents)
    leaves = [leaf for leaf in leaves if leaf.parents]
    groups = _groups(parents, leaves)
    if len(groups) != 1:
        return total * prod(_count(*group, counted) for group in groups) if total else 0
    key = frozenset(parents), frozenset(Counter(leaves).items())
    if total and key not in counted:
        counted[key] = _count_tied(parents, leaves, counted)
    return total * counted[key] if total else 0


def _count_tied(parents: list[Parameter], leaves: list[_Leaf], counted: Counts) -> int:
    """Count what is tied together, without a leaf that ties it or value by value."""
    shared = next((leaf for leaf in leaves if leaf.is_scattered), None)
    if shared:
        rest = [leaf for leaf in leaves if leaf is not shared]
        forbidden = [_Leaf(weight=0, when=(conjunction,)) for conjunction in shared.when]
        without = _count(parents, rest + forbidden, counted)
        return shared.weight * _count(parents, rest, counted) - (shared.weight - 1) * without
    items: list[Parameter] = [*parents, *leaves]
    uses = Counter(name for item in items for name in item.parents)
    pivot = max((p for p in parents if p.when == ALWAYS), key=lambda p: uses[p.name])
    total = 0
    for value in pivot.choices:
        left = [p.given(pivot.name, value) for p in parents if p is not pivot]
        below = [leaf.given(pivot.name, value) for leaf in leaves]
        total += _count([p for p in left if p], [leaf for leaf in below if leaf], counted)
    return total


def _groups(
    parents: list[Parameter], leaves: list[_Leaf]
) -> list[tuple[list[Parameter], list[_Leaf]]]:
    """Split into groups that share no condition, directly or through others."""
    leader = {parameter.name: parameter.name for parameter in parents}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    items: list[Parameter] = [*parents, *leaves]
    for item in items:
        own = item.name or min(item.parents)
        for parent in item.parents:
            leader[find(own)] = find(parent)
    groups: dict[str, tuple[list[Parameter], list[_Leaf]]] = {}
    for parameter in parents:
        groups.setdefault(find(parameter.name), ([], []))[0].append(parameter)
    for leaf in leaves:
        groups[find(min(leaf.parents))][1].append(leaf)
    return list(groups.values())
