"""Optuna's own RDBStorage for a store, with the steps of a trial's life in few statements.

Optuna writes a trial's parameters one by one, three ORM statements each (look the trial up, look
the distribution up, insert): 16 ms for 20 parameters. Here the same rows go in as one statement per
table, in a transaction of ours (`insert_trial`, `show_values`, `end_trial`), so that what Optuna
shows and what our tables hold can't part. `nas.store.history` reads trials. Everything else is
Optuna's, and so are the tests that hold this class to the interface (`optuna.testing`).
"""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc

from nas.errors import StoreError
from nas.store import dialects, history
from nas.store.dialects import upsert
from nas.store.engine import engine_options, hidden, masked, translated
from nas.store.schema import utc_now

_BEFORE = (  # Optuna counts the trials; the newest one has the number without counting
    sa.select(history.TRIALS.c.number)
    .where(history.TRIALS.c.study_id == sa.bindparam("of_study"))
    .order_by(history.TRIALS.c.trial_id.desc())
    .limit(1)
)
_NEW_TRIAL = (
    sa.insert(history.TRIALS)
    .values(number=sa.func.coalesce(_BEFORE.scalar_subquery() + 1, 0))
    .returning(history.TRIALS.c.trial_id, history.TRIALS.c.number)
)
_RUNNING = TrialState.RUNNING
MOST_INCLUDED = 10_000  # ids in one statement; SQLite takes 32,766 in all
_STUDIES = history.TABLES["studies"]
_STUDY = sa.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == sa.bindparam("key"))
_STATE = sa.select(history.TRIALS.c.state).where(history.TRIALS.c.trial_id == sa.bindparam("trial"))
_END = (
    sa.update(history.TRIALS)
    .where(history.TRIALS.c.trial_id == sa.bindparam("trial"), history.TRIALS.c.state == _RUNNING)
    .values(state=sa.bindparam("new_state"), datetime_complete=sa.bindparam("now"))
)


class BatchedStorage(RDBStorage):
    """An RDBStorage whose trials are written in few statements."""

    def __init__(self, url: sa.URL) -> None:
        text = url.render_as_string(hide_password=False)
        super().__init__(_escaped(text), engine_kwargs=engine_options(url))
        self._distributions: dict[tuple[int, str], tuple[BaseDistribution, str]] = {}
        dialects.of(url).prepare(self.engine, begin=False)
        self.engine.dispose()  # the connections made so far are not prepared

    def insert_trial(
        self, connection: sa.Connection, study_id: int, template: FrozenTrial
    ) -> tuple[int, int]:
        """Insert a trial and all it has; return its id and its number.

        The caller's transaction holds the study's lock (`lock_study`), or the number is not sure.
        """
        row = {
            "of_study": study_id,
            "study_id": study_id,
            "state": template.state,
            "datetime_start": _utc(template.datetime_start),
            "datetime_complete": _utc(template.datetime_complete),
        }
        made = connection.execute(_NEW_TRIAL, row).one()
        for table, rows in self._rows(study_id, template, connection):
            if rows:
                connection.execute(sa.insert(table), [{"trial_id": made[0], **row} for row in rows])
        return int(made[0]), int(made[1])

    def show_values(
        self, connection: sa.Connection, trial_id: int, values: Mapping[int, float]
    ) -> None:
        """Set the values of a trial at steps, while it runs."""
        if values and connection.execute(_STATE, {"trial": trial_id}).scalar() == _RUNNING:
            rows = [{"trial_id": trial_id, **row} for row in _intermediate(values)]
            upsert(connection, history.STEPS, ("trial_id", "step"), rows)

    def end_trial(
        self,
        connection: sa.Connection,
        trial_id: int,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> bool:
        """End a trial with its value and attributes; False, and nothing is written, if it ended."""
        ended = {"trial": trial_id, "new_state": state, "now": utc_now()}
        if connection.execute(_END, ended).rowcount != 1:
            return False
        for table, key, rows in (
            (history.ATTRIBUTES, "key", _attributes(attributes)),
            (history.VALUES, "objective", _values([] if value is None else [value])),
        ):
            rows = [{"trial_id": trial_id, **row} for row in rows]
            upsert(connection, table, ("trial_id", key), rows)
        return True

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return trials past a trial's id, and some before it; `get_all_trials` calls this too."""
        if len(included_trial_ids) > MOST_INCLUDED:
            return list(
                super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
            )
        wanted = None if states is None else [state for state in TrialState if state in states]
        with self._reading() as connection:
            trials = history.read(
                connection, study_id, wanted, included_trial_ids, trial_id_greater_than
            )
            if not trials and connection.execute(_STUDY, {"key": study_id}).first() is None:
                raise KeyError(history.NOT_FOUND)
        return trials

    def _rows(
        self, study_id: int, template: FrozenTrial, connection: sa.Connection
    ) -> list[tuple[sa.Table, list[dict[str, Any]]]]:
        params = []
        for name, value in template.params.items():
            distribution = template.distributions[name]
            text = self._checked(study_id, name, distribution, connection)
            number = distribution.to_internal_repr(value)
            params.append({"param_name": name, "param_value": number, "distribution_json": text})
        return [
            (history.PARAMS, params),
            (history.ATTRIBUTES, _attributes(template.user_attrs)),
            (history.SYSTEM_ATTRIBUTES, _attributes(template.system_attrs)),
            (history.STEPS, _intermediate(template.intermediate_values)),
            (history.VALUES, _values(template.values)),
        ]

    def _checked(
        self, study_id: int, name: str, distribution: BaseDistribution, connection: sa.Connection
    ) -> str:
        """Return a distribution's JSON, once it agrees with the one the study has."""
        checked = self._distributions.get((study_id, name))
        if checked is not None and checked[0] == distribution:
            return checked[1]
        query = (
            sa.select(history.PARAMS.c.distribution_json)
            .join(history.TRIALS, history.TRIALS.c.trial_id == history.PARAMS.c.trial_id)
            .where(history.TRIALS.c.study_id == study_id, history.PARAMS.c.param_name == name)
            .limit(1)
        )
        stored = connection.execute(query).scalar()
        if stored is not None:
            check_distribution_compatibility(json_to_distribution(stored), distribution)
        text = distribution_to_json(distribution)
        self._distributions[(study_id, name)] = (distribution, text)
        return text

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection.execution_options(**dialects.of(connection).reading)
        except exc.SQLAlchemyError as error:
            raise StorageInternalError("The database refused a read of Optuna's.") from error


@contextmanager
def reported(url: sa.URL, doing: str) -> Iterator[None]:
    """Turn Optuna's wrapping of a database error into StoreError."""
    with translated(url, doing):
        try:
            yield
        except StorageInternalError as error:
            raise error.__cause__ or error from None
        except RuntimeError as error:  # the tables of another version of Optuna
            reason = str(error)
            if "storage upgrade" in reason:  # Optuna's advice has the user write the URL out
                reason = "Optuna's tables are an older Optuna's; nas store upgrade updates them."
            reason = hidden(url, reason)
            raise StoreError(f"Can't {doing} the store {masked(url)}: {reason}") from None


def upgrade_optuna(url: sa.URL) -> tuple[str, str]:
    """Upgrade Optuna's tables; return their revisions before and after."""
    text = url.render_as_string(hide_password=False)
    storage = RDBStorage(
        _escaped(text), engine_kwargs=engine_options(url), skip_compatibility_check=True
    )
    try:
        before, head = storage.get_current_version(), storage.get_head_version()
        if before not in storage.get_all_versions():
            raise StoreError(
                f"The store's Optuna tables have revision {before}, which this Optuna does not "
                f"know (it knows {head}): update optuna."
            )
        if before != head:
            storage.upgrade()
        return before, head
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _escaped(url: str) -> str:
    return url.replace("{", "{{").replace("}", "}}")  # RDBStorage formats its URL


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Keep others from adding trials to a study until the transaction ends, as Optuna does."""
    dialects.of(connection).lock(connection, _STUDY, study_id)


def _utc(local: datetime | None) -> datetime | None:
    """Return a time as Optuna stores it: naive UTC."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _intermediate(values: Mapping[int, float]) -> list[dict[str, Any]]:
    columns = ("step", "intermediate_value", "intermediate_value_type")
    return [
        dict(zip(columns, (step, *history.stored_step(value)), strict=True))
        for step, value in values.items()
    ]


def _values(values: Sequence[float] | None) -> list[dict[str, Any]]:
    columns = ("objective", "value", "value_type")
    return [
        dict(zip(columns, (objective, *history.stored_value(value)), strict=True))
        for objective, value in enumerate(values or [])
    ]
