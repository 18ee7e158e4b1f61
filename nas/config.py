"""A study's configuration: the meaning of its name, as it is stored."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas import pruners
from nas.architecture import Architecture
from nas.cost import Limits
from nas.data import DataSet, load
from nas.data.layout import Patterns
from nas.latency.table import LatencyTable
from nas.objective import Objective
from nas.pruners.ladder import DEFAULT, REDUCTION, Schedule, ladder
from nas.samplers._lesson import Lesson
from nas.search_space import Assignment, SearchSpace
from nas.search_space.preflight import Subject
from nas.store.dashboard import FOLDER
from nas.store.records import Metrics, StoredArchitecture
from nas.training.metrics import gain
from nas.training.recipe import Recipe
from nas.training.recipe_file import changed

CACHE = ".cache"  # folder of resized images, beside the studies
# These are stored only where they are given.
IMAGES = ("groups", "include", "exclude", "forbid")  # how the images of the data are read
LATER = (*IMAGES, "inherit", "unlabelled", "lessons")


@dataclass(frozen=True)
class Finals:
    """How a search ends: its best `networks` are trained under `recipe` with each of the `seeds`.

    The seeds are the recipe's own and the next ones.
    """

    networks: int
    seeds: int
    recipe: Recipe

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"recipe": self.recipe.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Finals":
        """Read it back."""
        return cls(**{**data, "recipe": Recipe.from_json(data["recipe"])})


@dataclass(frozen=True)
class Config:
    """A study's space, data, recipe, objective and sampler; the budget is not part of it.

    A study of finalists trains the networks of `finalists`, assignments of its space, with each of
    `seeds` seeds, for the study named `search`.
    """

    space: SearchSpace
    data: str
    classes: int
    in_channels: int
    recipe: Recipe
    objective: Objective
    limits: Limits
    sampler: str
    pruner: str
    seed: int
    folder: str
    prefilter: str | None = None  # the proxy that ranks the opening's draws
    features: tuple[str, ...] = ()  # the proxies that the nas sampler may look at
    warm_start: bool = False  # whether it begins with what other studies know
    latency: LatencyTable | None = None  # where the objective is about latency
    fidelity: str = DEFAULT
    reduction: int = REDUCTION
    checkpoints: str | None = None  # a folder or URL that all machines see
    showcase: bool = True  # whether trials carry notes and diagrams for the dashboard
    finals: Finals | None = None
    finalists: tuple[Assignment, ...] = ()
    seeds: int = 1
    search: str | None = None
    groups: str | None = None  # how the data's groups are found
    include: tuple[str, ...] = ()  # patterns of the data's files
    exclude: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()  # augmentations that would destroy the data's labels
    track: tuple[str, ...] = ()  # trackers that hear of its trials
    unlabelled: str | None = None  # the folder of images without labels
    inherit: bool = False  # whether trials start from their nearest trained relative's weights
    learn_from: tuple[str, ...] = ()  # the studies that were asked for as lessons
    lessons: tuple[Lesson, ...] = ()  # of other studies, as they were when this one began

    def recipe_of(self, values: Assignment, turn: int = 0) -> Recipe:
        """Return an assignment's recipe: the study's, with the values that the space chooses.

        `turn` is added to its seed.
        """
        if not self.space.recipe and not turn:
            return self.recipe
        found = self.space.recipe_values(values)
        at = (turn, *found.values())
        if at not in self._recipes:
            recipe = replace(self.recipe, seed=self.recipe.seed + turn)
            self._recipes[at] = changed(recipe, found)
        return self._recipes[at]

    @cached_property
    def _recipes(self) -> dict[tuple[Any, ...], Recipe]:
        """The recipes that were asked for, by turn and values."""
        return {}

    @property
    def schedule(self) -> Schedule:
        """At which epochs trainings stop and who goes on; without a ladder only the last."""
        pruner = pruners.get(self.pruner)
        if not pruner.LADDER:
            return Schedule((self.recipe.epochs,))
        steps = ladder(self.recipe.epochs, self.fidelity, self.reduction)
        rungs = tuple(rung.epochs for rung in steps)
        return Schedule(rungs, self.reduction, pruner.BRACKETS)

    @property
    def subject(self) -> Subject:
        """The space for this data's images and classes."""
        return Subject(self.space, self.in_channels, self.classes, self.latency)

    def score(self, metrics: Metrics, of: StoredArchitecture) -> float:
        """Return the objective's value; NaN where the metric is not a number."""
        value = metrics.get(self.recipe.metric)
        if value is None:
            return float("nan")
        cost = of.cost if self.latency is None else self.subject.price(of.architecture)
        return self.objective.score(gain(self.recipe.metric, value), self.objective.amount(cost))

    def predicted_ms(self, architecture: Architecture) -> float | None:
        """Return the latency that the study's table predicts, in milliseconds; None without one."""
        return None if self.latency is None else self.latency.milliseconds(architecture)

    def load_data(self) -> DataSet:
        """Load the study's data; resized images are kept beside the studies."""
        return load(
            self.data,
            cache_dir=cache_dir(self.folder),
            groups=self.groups,
            patterns=Patterns(self.include, self.exclude),
            forbid=self.forbid,
        )

    @property
    def artifacts(self) -> Path:
        """The folder of the pictures and files that the dashboard shows, beside the studies."""
        return Path(self.folder).parent / FOLDER

    @property
    def checkpoint_root(self) -> str:
        """The folder, or URL, of the study's checkpoints and weights."""
        if self.checkpoints is None:
            return str(Path(self.folder, "checkpoints"))
        return f"{self.checkpoints.rstrip('/')}/{Path(self.folder).name}"

    def checkpoint_url(self, architecture_id: str, recipe_hash: str) -> str:
        """Return the folder of a training's checkpoint and weights."""
        return f"{self.checkpoint_root}/{architecture_id}-{recipe_hash}"

    @classmethod
    def of(cls, options: Any, **others: Any) -> "Config":
        """Make a configuration: fields that are an option's value, then the others."""
        names = {each.name for each in fields(cls)} - others.keys()
        values = {name: getattr(options, name) for name in names if hasattr(options, name)}
        return cls(**values, **others)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        del plain["latency"]
        for name in LATER:
            if not plain[name]:
                del plain[name]
        return plain | {
            "parameters": {p.name: list(p.choices) for p in self.space.parameters()},
            "recipe_hash": self.recipe.hash,
            "space": self.space.to_json(),
            "recipe": self.recipe.to_json(),
            "objective": self.objective.to_json(),
            "limits": self.limits.to_json(),
            **({"lessons": [each.to_json() for each in self.lessons]} if self.lessons else {}),
            "features": list(self.features) or None,
            "learn_from": list(self.learn_from) or None,
            "finals": self.finals and self.finals.to_json(),
            "finalists": [dict(values) for values in self.finalists] or None,
            **({"latency": self.latency.to_json()} if self.latency else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Config":
        """Read a configuration back from the store; a field that came later has its default."""
        names = [each.name for each in fields(cls) if data.get(each.name) is not None]
        return cls(**{n: _READ[n](data[n]) if n in _READ else data[n] for n in names})


# The readers of the fields that are no plain values.
_READ: dict[str, Callable[[Any], Any]] = {
    "space": SearchSpace.from_json,
    "recipe": Recipe.from_json,
    "objective": lambda data: Objective(**data),
    "limits": lambda data: Limits(**data),
    "features": tuple,
    "include": tuple,
    "exclude": tuple,
    "forbid": tuple,
    "track": tuple,
    "learn_from": tuple,
    "lessons": lambda data: tuple(Lesson(**each) for each in data),
    "latency": LatencyTable.from_json,
    "finals": Finals.from_json,
    "finalists": tuple,
}


def cache_dir(folder: str) -> Path:
    """Return where resized images are kept: beside the studies."""
    return Path(folder).parent / CACHE
