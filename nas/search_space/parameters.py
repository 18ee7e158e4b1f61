"""Flat parameters, some of which exist only when others have certain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

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

    def given(self, parent: str, value: Value) -> "Parameter | None":
        """Return the parameter once `parent` has this value; None if it can't exist any more."""
        left = []
        for conjunction in self.when:
            allowed = dict(conjunction).get(parent)
            if allowed is None or value in allowed:
                left.append(tuple(pair for pair in conjunction if pair[0] != parent))
        return replace(self, when=ALWAYS if () in left else tuple(left)) if left else None


def both(left: Iterable[Conjunction], right: Iterable[Conjunction]) -> tuple[Conjunction, ...]:
    """Return the condition that holds where both do."""
    right = tuple(right)
    return tuple((*one, *other) for one in left for other in right)


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
    """Count the assignments of active parameters exactly.

    Parameters that have nothing to do with each other multiply; within a group of dependent ones,
    one that certainly exists is given each of its values in turn, which breaks the group up.
    """
    return prod(_count_group(group) for group in _groups(tuple(parameters)))


def _count_group(group: tuple[Parameter, ...]) -> int:
    if len(group) == 1:
        return len(group[0].choices)
    parents = set().union(*(parameter.parents for parameter in group))
    pivot = next(p for p in group if p.when == ALWAYS and p.name in parents)
    others = [parameter for parameter in group if parameter is not pivot]
    total = 0
    for value in pivot.choices:
        left = (parameter.given(pivot.name, value) for parameter in others)
        total += count(parameter for parameter in left if parameter is not None)
    return total


def _groups(parameters: tuple[Parameter, ...]) -> list[tuple[Parameter, ...]]:
    """Split into groups that share no condition, directly or through others."""
    leader = {parameter.name: parameter.name for parameter in parameters}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for parameter in parameters:
        for parent in parameter.parents:
            leader[find(parameter.name)] = find(parent)
    groups: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(find(parameter.name), []).append(parameter)
    return [tuple(group) for group in groups.values()]
