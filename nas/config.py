"""A study's configuration: all that its name stands for, as it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas import pruners
from nas.cost import Limits
from nas.latency.table import LatencyTable
from nas.objective import Objective
from nas.pruners.ladder import DEFAULT, REDUCTION, Schedule, ladder
from nas.search_space import SearchSpace
from nas.search_space.preflight import Subject
from nas.store.records import Metrics, StoredArchitecture
from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """What is searched, on what, after what, and how; the budget is not part of it."""

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
        return self.objective.score(value, self.objective.amount(cost))

    @property
    def artifacts(self) -> Path:
        """The folder of the pictures and files that the dashboard shows, beside the studies."""
        return Path(self.folder).parent / "artifacts"

    @property
    def checkpoint_root(self) -> str:
        """The folder, or URL, of the study's checkpoints and weights."""
        if self.checkpoints is None:
            return str(Path(self.folder, "checkpoints"))
        return f"{self.checkpoints.rstrip('/')}/{Path(self.folder).name}"

    def checkpoint_url(self, architecture_id: str) -> str:
        """Return the folder of a training's checkpoint and weights."""
        return f"{self.checkpoint_root}/{architecture_id}-{self.recipe.hash}"

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        parameters = {p.name: list(p.choices) for p in self.space.parameters()}
        table = {} if self.latency is None else {"latency": self.latency.to_json()}
        return {
            "parameters": parameters,
            "space": self.space.to_json(),
            "data": self.data,
            "classes": self.classes,
            "in_channels": self.in_channels,
            "recipe": self.recipe.to_json(),
            "recipe_hash": self.recipe.hash,
            "objective": self.objective.to_json(),
            "limits": self.limits.to_json(),
            "sampler": self.sampler,
            "pruner": self.pruner,
            "seed": self.seed,
            "folder": self.folder,
            "prefilter": self.prefilter,
            "features": list(self.features) or None,
            "warm_start": self.warm_start,
            **table,
            "fidelity": self.fidelity,
            "reduction": self.reduction,
            "checkpoints": self.checkpoints,
            "showcase": self.showcase,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Config":
        """Read a configuration back from the store."""
        names = ("data", "classes", "in_channels", "sampler", "pruner", "seed", "folder")
        return cls(
            space=SearchSpace.from_json(data["space"]),
            recipe=Recipe.from_json(data["recipe"]),
            objective=Objective(**data["objective"]),
            limits=Limits(**data["limits"]),
            prefilter=data.get("prefilter"),
            features=tuple(data.get("features") or ()),
            warm_start=data.get("warm_start", False),
            latency=LatencyTable.from_json(data["latency"]) if data.get("latency") else None,
            **{name: data[name] for name in names},
            fidelity=data.get("fidelity", DEFAULT),
            reduction=data.get("reduction", REDUCTION),
            checkpoints=data.get("checkpoints"),
            showcase=data.get("showcase", True),
        )


def cache_dir(folder: str) -> Path:
    """Return where resized images are kept: beside the studies."""
    return Path(folder).parent / ".cache"
