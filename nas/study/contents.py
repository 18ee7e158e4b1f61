"""Are the rows of a store what they say they are? Ids, costs and scores counted once more.

A check compares what is stored with what follows from its content: an architecture with its id and
its cost, a recipe with its hash, a trial with its parameters, its curve and its evaluation.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas import network
from nas.architecture import Architecture
from nas.blocks.notation import notation
from nas.config import Config
from nas.cost import Cost
from nas.errors import UNREADABLE, UserError
from nas.store import history, plain, queries, schema
from nas.store.checking import named
from nas.store.records import Metrics, StoredArchitecture
from nas.store.shape import Broken
from nas.store.trials import shown_attributes
from nas.training.recipe import Recipe

_a, _c, _e, _t = (
    table.c
    for table in (schema.ARCHITECTURES, schema.CURVE_POINTS, schema.EVALUATIONS, schema.TRIALS)
)
_COST = [_a[name] for name in Cost._fields]
_ROWS = (  # a row for each point of the curve
    sa.select(
        *(_t.trial_id, _t.evaluation_id, _t.reused_from, _t.promoted_from, _e.architecture_id),
        *(*_COST, _a.notation, _e.recipe_hash, _e.fidelity, _e.state, _e.metrics, _e.reason),
        *(_c.epoch, _c.metrics.label("point")),
        sa.and_(_e.study_id == _t.study_id, _e.number == _t.number).label("is_own"),
    )
    .select_from(
        schema.TRIALS.join(schema.EVALUATIONS, _e.id == _t.evaluation_id)
        .join(schema.ARCHITECTURES, _a.id == _e.architecture_id)
        .outerjoin(schema.CURVE_POINTS, _c.evaluation_id == _e.id)
    )
    .order_by(_t.trial_id, _c.epoch)
)


class TrialRows(NamedTuple):
    """A trial as Optuna has it and as we have it, with its curve, its study and its recipe."""

    trial: FrozenTrial
    row: Any
    curve: Mapping[int, Metrics]
    config: Config
    recipe: Recipe
    distributions: Mapping[str, CategoricalDistribution]

    @property
    def has_ended(self) -> bool:
        """Tell whether the trial has ended as its evaluation has.

        Other studies may try an evaluation again that another trial has told as failed or pruned.
        """
        state = self.trial.state
        return state is TrialState.COMPLETE or (state.is_finished() and bool(self.row.is_own))

    @property
    def last(self) -> int:
        """The last epoch of the curve; 0 of none."""
        return max(self.curve, default=0)

    def score(self, metrics: Metrics) -> float:
        """Return the study's value of metrics of this architecture."""
        content = self.row.architecture_json
        of = StoredArchitecture(cost=_cost(self.row), architecture_json=content)
        return self.config.score(metrics, of)


def compare(connection: sa.Connection) -> Iterator[Broken]:
    """Yield each row whose content is not what it says it is."""
    recipes = {}
    for recipe_hash, content in queries.recipes(connection).items():
        recipes[recipe_hash] = recipe = _read(Recipe.from_json, content)
        if recipe is None or recipe.hash != recipe_hash:
            yield "recipes that are not what their hash says", recipe_hash
    for row in _each(connection, sa.select(schema.ARCHITECTURES)):
        yield from _of_architecture(row)
    for info in queries.studies(connection):
        config = _read(Config.from_json, info.config)
        if config is None:
            yield "studies whose configuration can't be read", info.name
            continue
        broken = (what for what, holds in STUDY_RULES.items() if not _holds(holds, info, config))
        yield from ((what, info.name) for what in broken)
        if config.recipe.hash not in recipes:
            yield "studies whose recipe is gone", info.name
        if _read(partial(queries.warnings, connection), info.id) is None:
            yield "studies whose warnings can't be read", info.name
        for rule, number in _of_trials(connection, info, config, recipes):
            yield rule, named(info.name, number)


def _each(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    return iter(connection.execute(statement, execution_options={"yield_per": plain.BATCH}))


def _read(reader: Callable[[Any], Any], content: Any) -> Any:
    try:
        return reader(content)
    except (*UNREADABLE, UserError):
        return None


def _holds(rule: Callable[..., object], *of: Any) -> bool:
    """Tell whether a rule holds; it does not where what it looks at can't be read."""
    return bool(_read(lambda _: rule(*of), None))


def _of_architecture(row: Any) -> Iterator[Broken]:
    architecture = _read(Architecture.from_json, row.json)
    if architecture is None or architecture.id != row.id:
        yield "architectures that are not what their id says", row.id
        return
    counted = _read(network.cost, architecture)  # a block may be unknown here
    if counted is not None and counted != _cost(row):
        yield "architectures with another cost", row.id
    if counted is not None and row.notation != "\n".join(notation(architecture)):
        yield "architectures with another notation", row.id


STUDY_RULES: Mapping[str, Callable[[queries.StudyInfo, Config], object]] = {
    "studies whose recipe is not what its hash says": lambda info, config: (
        info.config["recipe_hash"] == config.recipe.hash
    ),
    "studies with other parameters than their space": lambda info, config: (
        info.config["parameters"] == config.to_json()["parameters"]
    ),
    "studies with no possible budget": lambda info, _: all(
        value is None or value > 0 for value in (info.trials, info.seconds)
    ),
}
TRIAL_RULES: Mapping[str, Callable[[TrialRows], object]] = {
    "trials with other attributes than their evaluation": lambda of: all(
        of.trial.user_attrs.get(key) == value for key, value in _expected(of).items()
    ),
    "trials whose parameters give another architecture": lambda of: (
        of.config.subject.decode(of.trial.params).id == of.row.architecture_id
    ),
    "trials whose parameters have other choices": lambda of: (
        of.trial.distributions.items() <= of.distributions.items()
    ),
    "trials whose parameters give another recipe": lambda of: (
        replace(of.recipe, **_own(of.config)).hash
        == replace(of.config.recipe_of(of.trial.params), **_own(of.config)).hash
    ),
    "trials with another latency than predicted": lambda of: (
        of.config.latency is None
        or _is_close(
            of.trial.user_attrs["latency_ms"],
            of.config.predicted_ms(Architecture.from_json(of.row.architecture_json)),
        )
    ),
    "trials at a fidelity that is no rung": lambda of: of.row.fidelity in of.config.schedule.rungs,
    "trials whose curve has gaps": lambda of: of.last == len(of.curve),
    "trials with more epochs than their fidelity": lambda of: of.last <= of.row.fidelity,
    "trials with fewer epochs than their fidelity": lambda of: (
        of.row.state != "complete"
        or of.last == of.row.fidelity
        or (of.last and of.recipe.early_stopping)
    ),
    "trials whose metrics are not those of their last epoch": lambda of: (
        of.row.state not in ("complete", "pruned")
        or (of.row.metrics or None) == of.curve.get(of.last)
    ),
    "trials whose value is not what their metrics give": lambda of: (
        not of.has_ended or _is_close(of.trial.value, _value(of))
    ),
    "trials whose intermediate values are not what their curve gives": lambda of: (
        not (of.has_ended or of.row.is_own)
        or (
            of.trial.intermediate_values.keys() == of.curve.keys()
            and all(
                _is_close(of.trial.intermediate_values[epoch], of.score(metrics))
                for epoch, metrics in of.curve.items()
            )
        )
    ),
    "trials that end before they begin": lambda of: (
        of.trial.duration is None or of.trial.duration >= timedelta(0)
    ),
}


def _own(config: Config) -> dict[str, Any]:
    """Return the fields of a recipe that trials of a study have of their own, as neutral."""
    return {"seed": 0, "start": ""} if config.inherit else {"seed": 0}


def _value(of: TrialRows) -> float | None:
    return of.score(of.row.metrics) if of.row.metrics and of.row.state != "failed" else None


def _expected(of: TrialRows) -> dict[str, Any]:
    """Return the attributes that a trial has, by our rows; None where it has none of a name."""
    row = of.row
    names = ("architecture_id", "notation", *Cost._fields, "fidelity", "reused_from")
    wanted = {name: getattr(row, name) for name in (*names, "promoted_from")}
    values = of.config.space.recipe_values(of.trial.params)
    wanted |= {"evaluation": row.evaluation_id, "recipe": values or None}
    if of.has_ended:
        wanted |= {"metrics": None, "reason": None, "one_class": None}
        wanted |= shown_attributes(row.metrics or {}, row.reason)
    return wanted


def _of_trials(
    connection: sa.Connection,
    info: queries.StudyInfo,
    config: Config,
    recipes: Mapping[str, Recipe | None],
) -> Iterator[tuple[str, int]]:
    """Yield the rules that trials of a study break, and the trial's number."""
    trials = {each._trial_id: each for each in history.read(connection, info.id, None, (), -1)}
    distributions = {p.name: CategoricalDistribution(p.choices) for p in config.space.parameters()}
    content = _a.json if config.latency else sa.null()  # long, and needed there alone
    rows = _ROWS.where(_t.study_id == info.id).add_columns(content.label("architecture_json"))
    for trial_id, group in groupby(_each(connection, rows), lambda row: row.trial_id):
        row, *others = group
        recipe, trial = recipes.get(row.recipe_hash), trials.get(trial_id)
        if recipe is None or trial is None:  # told by another rule
            continue
        curve = {each.epoch: each.point for each in (row, *others) if each.epoch is not None}
        of = TrialRows(trial, row, curve, config, recipe, distributions)
        broken = (what for what, holds in TRIAL_RULES.items() if not _holds(holds, of))
        yield from ((what, trial.number) for what in broken)


def _cost(row: Any) -> Cost:
    return Cost(*(getattr(row, name) for name in Cost._fields))


def _is_close(stored: float | None, wanted: float | None) -> bool:
    if stored is None or wanted is None or math.isnan(wanted):
        return (stored is None or math.isnan(stored)) and (wanted is None or math.isnan(wanted))
    return math.isclose(stored, wanted, rel_tol=1e-9, abs_tol=1e-12)
