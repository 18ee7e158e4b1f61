"""Optuna's storage for a store: its own RDBStorage, with the steps of a trial's life batched.

Optuna writes a trial's parameters one by one, three ORM statements each (look the trial up, look
the distribution up, insert): 16 ms for 20 parameters. Here the same rows go in as one statement per
table, behind the same `create_new_trial`; attributes, intermediate values and the final state skip
the ORM. The same steps can be taken in a transaction of ours (`insert_trial`, `show_values`,
`end_trial`), so that what Optuna shows and what our tables hold can't part. Trials are read by
`nas.store.history`. Everything else is Optuna's, and so are the tests that hold this class to the
interface (`optuna.testing`).
"""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
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
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from nas.errors import StoreError
from nas.store import mariadb
from nas.store import optuna_tables as optunas
from nas.store.engine import engine_options, hidden, masked, set_pragmas, sqlite_file, translated
from nas.store.history import History

_BEFORE = (  # Optuna counts the trials; the newest one has the number without counting
    sa.select(optunas.TRIALS.c.number)
    .where(optunas.TRIALS.c.study_id == sa.bindparam("of_study"))
    .order_by(optunas.TRIALS.c.trial_id.desc())
    .limit(1)
    .subquery("newest")  # MariaDB asks for one where a statement inserts into what it reads
)
_NEW_TRIAL = (
    sa.insert(optunas.TRIALS)
    .values(number=sa.func.coalesce(sa.select(_BEFORE.c.number + 1).scalar_subquery(), 0))
    .returning(optunas.TRIALS.c.trial_id, optunas.TRIALS.c.number)
)
_RUNNING = TrialState.RUNNING
MOST_INCLUDED = 10_000  # ids in one statement; SQLite takes 32,766 in all
_LOCK = sa.text("SELECT study_id FROM studies WHERE study_id = :study FOR UPDATE")
_STUDY = sa.text("SELECT study_id FROM studies WHERE study_id = :study")
_STATE = sa.select(optunas.TRIALS.c.state).where(optunas.TRIALS.c.trial_id == sa.bindparam("trial"))
_END = (
    sa.update(optunas.TRIALS)
    .where(optunas.TRIALS.c.trial_id == sa.bindparam("trial"), optunas.TRIALS.c.state == _RUNNING)
    .values(state=sa.bindparam("new_state"), datetime_complete=sa.bindparam("now"))
)


class BatchedStorage(RDBStorage):
    """An RDBStorage whose trials are written in few statements."""

    def __init__(self, url: sa.URL) -> None:
        text = url.render_as_string(hide_password=False)
        super().__init__(_escaped(text), engine_kwargs=engine_options(url))
        self._distributions: dict[tuple[int, str], tuple[BaseDistribution, str]] = {}
        self._history = History()
        dialect = self.engine.dialect.name
        self._held = mariadb.held if dialect == mariadb.NAME else dict
        self._set_attribute = _upsert(dialect, optunas.ATTRIBUTES, "key")
        self._set_intermediate = _upsert(dialect, optunas.INTERMEDIATE, "step")
        self._set_value = _upsert(dialect, optunas.VALUES, "objective")
        if sqlite_file(url) is not None:
            event.listen(self.engine, "connect", set_pragmas)
            self.engine.dispose()  # the connections made so far lack the pragmas

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
            connection.execute(self._set_intermediate, rows)

    def end_trial(
        self,
        connection: sa.Connection,
        trial_id: int,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> bool:
        """End a trial with its value and attributes; False, and nothing is written, if it ended."""
        ended = {"trial": trial_id, "new_state": state, "now": _now()}
        if connection.execute(_END, ended).rowcount != 1:
            return False
        rows = [{"trial_id": trial_id, **row} for row in _attributes(self._held(attributes))]
        if rows:
            connection.execute(self._set_attribute, rows)
        rows = [
            {"trial_id": trial_id, **row} for row in _values(None if value is None else [value])
        ]
        if rows:
            connection.execute(self._set_value, rows)
        return True

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a running trial."""
        rows = [{"trial_id": trial_id, **row} for row in _attributes(self._held({key: value}))]
        with self._updating(trial_id) as connection:
            if rows:
                connection.execute(self._set_attribute, rows)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set the value of a running trial at a step."""
        row = {"trial_id": trial_id, **_intermediate({step: intermediate_value})[0]}
        with self._updating(trial_id) as connection:
            connection.execute(self._set_intermediate, row)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """End a running trial in one transaction; other changes of state are left to Optuna."""
        if state.is_finished():
            with self._transaction() as connection:
                ended = {"trial": trial_id, "new_state": state, "now": _now()}
                if connection.execute(_END, ended).rowcount == 1:
                    rows = [{"trial_id": trial_id, **row} for row in _values(values)]
                    if rows:
                        connection.execute(
                            sa.delete(optunas.VALUES).where(optunas.VALUES.c.trial_id == trial_id)
                        )
                        connection.execute(sa.insert(optunas.VALUES), rows)
                    return True
        return bool(super().set_trial_state_values(trial_id, state, values))

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> Any:
        """Insert a trial and all it has; `create_new_trial` calls this in its transaction."""
        if template_trial is None:
            return super()._get_prepared_new_trial(study_id, None, session)
        trial_id, number = self.insert_trial(session.connection(), study_id, template_trial)
        start = template_trial.datetime_start
        return SimpleNamespace(trial_id=trial_id, number=number, datetime_start=start)

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
            trials = self._history.read(
                connection, study_id, wanted, included_trial_ids, trial_id_greater_than
            )
            if not trials and connection.execute(_STUDY, {"study": study_id}).first() is None:
                raise KeyError(models.NOT_FOUND_MSG)
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
            (optunas.PARAMS, params),
            (optunas.ATTRIBUTES, _attributes(self._held(template.user_attrs))),
            (optunas.SYSTEM_ATTRIBUTES, _attributes(template.system_attrs)),
            (optunas.INTERMEDIATE, _intermediate(template.intermediate_values)),
            (optunas.VALUES, _values(template.values)),
        ]

    def _checked(
        self, study_id: int, name: str, distribution: BaseDistribution, connection: sa.Connection
    ) -> str:
        """Return a distribution's JSON, once it agrees with the one the study has."""
        known = self._distributions.get((study_id, name))
        if known is not None and known[0] == distribution:
            return known[1]
        query = (
            sa.select(optunas.PARAMS.c.distribution_json)
            .join(optunas.TRIALS, optunas.TRIALS.c.trial_id == optunas.PARAMS.c.trial_id)
            .where(optunas.TRIALS.c.study_id == study_id, optunas.PARAMS.c.param_name == name)
            .limit(1)
        )
        stored = connection.execute(query).scalar()
        if stored is not None:
            check_distribution_compatibility(json_to_distribution(stored), distribution)
        text = distribution_to_json(distribution)
        self._distributions[(study_id, name)] = (distribution, text)
        return text

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except exc.SQLAlchemyError as error:
            raise StorageInternalError("The database refused a write of Optuna's.") from error

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Connect to read; see `Store.read` for why without a transaction on a server."""
        try:
            with self.engine.connect() as connection:
                if connection.dialect.name != "sqlite":
                    connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
        except exc.SQLAlchemyError as error:
            raise StorageInternalError("The database refused a read of Optuna's.") from error

    @contextmanager
    def _updating(self, trial_id: int) -> Iterator[sa.Connection]:
        """Begin a transaction on a trial that is not finished; raise KeyError if there is none."""
        with self._transaction() as connection:
            state = connection.execute(_STATE, {"trial": trial_id}).scalar()
            if state is None:
                raise KeyError(models.NOT_FOUND_MSG)
            self.check_trial_is_updatable(trial_id, state)
            yield connection


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


def _upsert(dialect: str, table: sa.Table, key: str) -> Any:
    changed = [
        column.name
        for column in table.columns
        if column.name not in (key, "trial_id") and not column.primary_key
    ]
    if dialect == mariadb.NAME:
        new = mysql.insert(table)
        return new.on_duplicate_key_update({name: new.inserted[name] for name in changed})
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    given = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=["trial_id", key], set_=given)


def _escaped(url: str) -> str:
    return url.replace("{", "{{").replace("}", "}}")  # RDBStorage formats its URL


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Keep others from adding trials to a study until the transaction ends, as Optuna does.

    SQLite has one writer anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK, {"study": study_id})


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _utc(local: datetime | None) -> datetime | None:
    """Return a time as Optuna stores it: naive UTC."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _intermediate(values: Mapping[int, float]) -> list[dict[str, Any]]:
    convert = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, value in values.items():
        stored, kind = convert(value)
        rows.append({"step": step, "intermediate_value": stored, "intermediate_value_type": kind})
    return rows


def _values(values: Sequence[float] | None) -> list[dict[str, Any]]:
    rows = []
    for objective, value in enumerate(values or []):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        rows.append({"objective": objective, "value": stored, "value_type": kind})
    return rows
