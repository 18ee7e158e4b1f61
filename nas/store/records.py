"""The data that goes into the store and comes out of it: plain and frozen."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nas.architecture import Architecture
from nas.cost import Cost

Metrics = Mapping[str, float | None]
Record = TypeVar("Record")


def well_typed(record: Record) -> Record:
    """Return a record of a row; raise TypeError where a value is of another type than its field.

    SQLite takes any value in any column, and JSON has any form: damage is told where it is read.
    """
    for name, hint in _hints(type(record)).items():  # type: ignore[arg-type] # it can be hashed
        if not _fits(getattr(record, name), hint):
            raise TypeError(f"{name} has another type")
    return record


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):  # nas stores no such number
        return False
    base, parts = get_origin(hint) or hint, get_args(hint)
    if base in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if base is Mapping:
        return isinstance(value, dict) and all(_fits(each, parts[1]) for each in value.values())
    if base is Any:
        return True
    if base is Cost:
        return all(_fits(each, int) for each in value)
    return isinstance(value, (int, float) if base is float else base)


Outcome = Literal["run", "complete", "pruned", "failed", "elsewhere", "budget"]


@dataclass(frozen=True, kw_only=True)
class StoredArchitecture:
    """An architecture and its cost as they are stored; its rows are read when first asked for."""

    cost: Cost
    architecture_json: Mapping[str, Any] = field(repr=False)

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture; raises UserError where a block is not known here."""
        return Architecture.from_json(self.architecture_json)


@dataclass(frozen=True)
class GuardWarning:
    """The warning of a guard about a study: its level, and a text with numbers.

    The level is `error` (the network is worth nothing), `warning` (a number misleads) or `note`.
    `count` is the number of images, trainings, looks or choices that it is about.
    """

    guard: str
    level: str
    text: str
    count: int

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{self.level}: {self.text} [{self.guard}]"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


Score = Callable[[Metrics, StoredArchitecture], float]
"""Of an evaluation's metrics and its architecture."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a sampler wants evaluated: its choices, the architecture they decode to, the key.

    `params` and `distributions` are Optuna's; `recipe` is the recipe as JSON where it is not the
    study's own, which the store has, and `recipe_values` are those of its values that the search
    space chooses; `fidelity` is the number of epochs; `prediction` is
    the sampler's, where it makes one, and `latency_ms` that of the study's table, where it has
    one; both are kept with the trial. `promoted_from` is the number of the trial, at a
    lower fidelity, that goes on here. `number` is that of the trial it was made for: the trial gets
    another where another worker was first.
    """

    architecture_id: str
    architecture: Architecture
    notation: str
    cost: Cost
    recipe_hash: str
    fidelity: int
    params: Mapping[str, Any]
    distributions: Mapping[str, Any]
    recipe: Mapping[str, Any] | None = None
    recipe_values: Mapping[str, Any] = field(default_factory=dict)
    prediction: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None
    promoted_from: int | None = None
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The validation metrics after one epoch (1-based); `seconds` of training in that epoch."""

    epoch: int
    metrics: Metrics
    train_loss: float | None = None
    seconds: float = 0.0
    learning_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lease(StoredArchitecture):
    """One worker's right to write to one evaluation, until it expires or is taken over."""

    evaluation_id: int
    recipe_hash: str
    attempt: int
    worker: str
    seconds: float
    trial_id: int
    number: int
    fidelity: int


@dataclass(frozen=True, kw_only=True)
class Evaluation(StoredArchitecture):
    """One architecture under one recipe at one fidelity, as it is stored.

    `state` is running, complete, pruned or failed; `study` and `number` name the trial that
    trains or trained it, None once that study is deleted; `worker` is '' after a release; `deaths`
    counts the workers that died over it since its last epoch.
    """

    id: int
    state: str
    architecture_id: str
    notation: str
    recipe_hash: str
    fidelity: int
    study: str | None
    number: int | None = None
    worker: str
    attempt: int = 1
    deaths: int = 0
    metrics: Metrics = field(default_factory=dict)
    reason: str | None = None
    seconds: float | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """The outcome of a proposal.

    run: `lease` is ours, train it (from its last checkpoint when `lease.attempt` > 1).
    complete, pruned, failed: it was evaluated before; trial `number` has been told so.
    elsewhere: another worker trains it now (`evaluation.worker`); no trial was made, ask again.
    budget: the study has its number of trials; no trial was made.
    """

    outcome: Outcome
    number: int | None = None
    lease: Lease | None = None
    evaluation: Evaluation | None = None
    value: float | None = None
