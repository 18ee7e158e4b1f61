"""The values that verbs return: each says itself to machines and to people."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nas.errors import NasError
from nas.report.tables import Lines

T = TypeVar("T")


class Value(Protocol):
    """What a verb returns: it says itself to machines and to people."""

    def to_json(self) -> Any:
        """Return it as plain data."""

    def lines(self) -> Lines:
        """Return the lines and tables that people read."""


@dataclass(frozen=True)
class Answer:
    """Plain data and its lines; with a `failure` the command ends with that error."""

    data: Any
    text: Lines
    failure: NasError | None = None

    def to_json(self) -> Any:
        """Return the plain data."""
        return self.data

    def lines(self) -> Lines:
        """Return the lines that people read."""
        return self.text


class Several(list[T]):
    """A list of values; `text` makes its lines, a `single` value is in JSON without a list."""

    def __init__(
        self, values: Iterable[T], text: Callable[[Sequence[T]], Lines], *, single: bool = False
    ) -> None:
        super().__init__(values)
        self.text, self.single = text, single

    def to_json(self) -> Any:
        """Return the values as plain data."""
        plain = [each.to_json() if hasattr(each, "to_json") else each for each in self]
        return plain[0] if self.single else plain

    def lines(self) -> Lines:
        """Return the lines that people read."""
        return self.text(self)
