"""Priors: lessons that come with nas, for a search whose own store has nothing to learn from.

A file of JSON each, made by `python -m benchmarks.priors` of searches that were run for it.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from nas.errors import UserError, unknown
from nas.samplers._lesson import Lesson

FORMAT = "nas.prior/1"
PREFIX = "prior:"  # of a prior's name where a study's name may stand


@dataclass(frozen=True)
class Prior:
    """A lesson, the space that its networks are of, and words on what they were trained with."""

    space: str
    about: str
    lesson: Lesson

    @property
    def name(self) -> str:
        """The name that --learn-from takes."""
        return self.lesson.study

    def to_json(self) -> dict[str, Any]:
        """Return what a file has."""
        return {
            "format": FORMAT,
            "space": self.space,
            "about": self.about,
            "lesson": self.lesson.to_json(),
        }


@cache
def names() -> tuple[str, ...]:
    """Return the priors' names."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(PREFIX + name[:-5] for name in files if name.endswith(".json")))


def check(name: str) -> None:
    """Raise UserError for a prior's name without a file."""
    if name not in names():
        raise UserError(unknown("prior", name, names(), listing="nas priors list"))


def get(name: str) -> Prior:
    """Read a prior's file; raises UserError for a name without one."""
    check(name)
    file = resources.files(__name__) / f"{name.removeprefix(PREFIX)}.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    return Prior(data["space"], data["about"], Lesson(**data["lesson"]))
