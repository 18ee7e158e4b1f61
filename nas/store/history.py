"""A study's trials as Optuna sees them, read by few plain statements in place of Optuna's ORM.

A sampler reads every trial of its study once, and from then on new trials. The ORM makes an
object of every row, and of every choice a distribution of its own: for 100,000 trials of 20
choices that takes minutes and gigabytes. Here trials share their distributions.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from sys import intern
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import _rdb
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

# All private names of Optuna that nas leans on, but for `RDBStorage._get_trials`.
TABLES: dict[str, sa.Table] = dict(models.BaseModel.metadata.tables)
MIGRATIONS = Path(str(_rdb.__file__)).parent / "alembic"
NOT_FOUND = models.NOT_FOUND_MSG
SCHEMA_VERSION: int = models.SCHEMA_VERSION
value_of: Callable[..., float] = models.TrialValueModel.stored_repr_to_value
step_of: Callable[..., float] = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
stored_value: Callable[..., Any] = models.TrialValueModel.value_to_stored_repr
stored_step: Callable[..., Any] = (
    models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
)

TRIALS = TABLES["trials"]
PARAMS, VALUES = TABLES["trial_params"], TABLES["trial_values"]
ATTRIBUTES, SYSTEM_ATTRIBUTES = TABLES["trial_user_attributes"], TABLES["trial_system_attributes"]
STEPS = TABLES["trial_intermediate_values"]
CHUNK = 1_000  # trials whose rows are read at once

_TRIAL = sa.select(
    *(TRIALS.c[name] for name in ("trial_id", "number", "state")),
    *(TRIALS.c[name] for name in ("datetime_start", "datetime_complete")),
).order_by(TRIALS.c.trial_id)


def _of_trials(table: sa.Table, order: str, *columns: str) -> Any:
    of: Any = sa.bindparam("trials", expanding=True)
    wanted = sa.select(table.c.trial_id, *(table.c[name] for name in columns))
    return wanted.where(table.c.trial_id.in_(of)).order_by(table.c[order])


_SELECTS = {
    "params": _of_trials(PARAMS, "param_id", "param_name", "param_value", "distribution_json"),
    "user": _of_trials(ATTRIBUTES, "trial_user_attribute_id", "key", "value_json"),
    "system": _of_trials(SYSTEM_ATTRIBUTES, "trial_system_attribute_id", "key", "value_json"),
    "steps": _of_trials(
        STEPS,
        "trial_intermediate_value_id",
        *("step", "intermediate_value", "intermediate_value_type"),
    ),
    "values": _of_trials(VALUES, "objective", "value", "value_type"),
}


def read(
    connection: sa.Connection,
    study_id: int,
    states: Collection[Any] | None,
    including: Collection[int],
    after: int,
) -> list[FrozenTrial]:
    """Return the trials of a study after an id, and those `including` names, by id."""
    wanted = _TRIAL.where(TRIALS.c.study_id == study_id)
    if after > -1:
        newer = TRIALS.c.trial_id > after
        named = TRIALS.c.trial_id.in_(sorted(each for each in including if each <= after))
        wanted = wanted.where(sa.or_(newer, named) if including else newer)
    if states is not None:
        wanted = wanted.where(TRIALS.c.state.in_(list(states)))
    rows = connection.execute(wanted).all()
    chunks = (rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK))
    return [trial for chunk in chunks for trial in _frozen(connection, chunk)]


def _frozen(connection: sa.Connection, rows: Collection[Any]) -> Iterator[FrozenTrial]:
    of = {"trials": [row.trial_id for row in rows]}
    parts = {name: _grouped(connection.execute(part, of)) for name, part in _SELECTS.items()}
    for row in rows:
        trial = row.trial_id
        choices = parts["params"].get(trial, ())
        distributions = _distributions(tuple((name, text) for name, _, text in choices))
        yield FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[value_of(*stored) for stored in parts["values"].get(trial, ())] or None,
            datetime_start=row.datetime_start,
            datetime_complete=row.datetime_complete,
            params={
                name: distribution.to_external_repr(choice[1])
                for (name, distribution), choice in zip(distributions.items(), choices, strict=True)
            },
            distributions=distributions,
            user_attrs=_attributes(parts["user"].get(trial, ())),
            system_attrs=_attributes(parts["system"].get(trial, ())),
            intermediate_values={
                step: step_of(*stored) for step, *stored in parts["steps"].get(trial, ())
            },
            trial_id=trial,
        )


_distribution = cache(json_to_distribution)


@cache
def _distributions(choices: tuple[tuple[str, str], ...]) -> dict[str, BaseDistribution]:
    """Return the distributions of names and JSON texts: one dict for equal ones."""
    return {intern(name): _distribution(text) for name, text in choices}


def _grouped(rows: Any) -> dict[int, list[Any]]:
    """Return the rows of each trial, without its id."""
    groups: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(row[1:])
    return groups


def _attributes(rows: Collection[Any]) -> dict[str, Any]:
    return {intern(key): json.loads(text) for key, text in rows}
