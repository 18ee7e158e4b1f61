"""The results of another study, as a study that learns from them keeps them: plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

ABSENT = -1  # the code of a choice that a trial lacks


@dataclass(frozen=True)
class Lesson:
    """The different complete trials of a study, up to a number.

    `codes` has a row per trial, which numbers the value of each of the `parameters`; `metrics` are
    higher where a network is better.
    """

    study: str
    last: int  # the number of the last trial that is taken
    parameters: Mapping[str, Sequence[Any]]
    codes: Sequence[Sequence[int]]
    metrics: Sequence[float]

    @classmethod
    def of(
        cls,
        study: str,
        last: int,
        parameters: Mapping[str, Sequence[Any]],
        results: Sequence[tuple[Mapping[str, Any], float]],
    ) -> Self:
        """Make a lesson of assignments and their metrics; other parameters are left out."""
        places = {name: {v: i for i, v in enumerate(each)} for name, each in parameters.items()}
        codes = [
            [each.get(values.get(name), ABSENT) for name, each in places.items()]
            for values, _ in results
        ]
        return cls(study, last, dict(parameters), codes, [metric for _, metric in results])

    def assignments(self) -> list[dict[str, Any]]:
        """Return the trials' choices."""
        return [
            {
                name: choices[code]
                for (name, choices), code in zip(self.parameters.items(), row, strict=True)
                if code != ABSENT
            }
            for row in self.codes
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)
