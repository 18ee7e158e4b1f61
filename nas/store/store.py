"""The store opened for writing: studies, recipes, looks at the test split, artifacts."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, get_storage
from sqlalchemy import exc

from nas.errors import StoreError
from nas.store import dialects, migrate, places, queries, schema
from nas.store import engine as engines
from nas.store.dialects import finite, insert_new
from nas.store.optuna_storage import BatchedStorage, lock_study, reported
from nas.store.records import Evaluation, GuardWarning, Metrics

_OPENING_ATTEMPTS = 8
_MADE_BY_ANOTHER = ("already exists", "unique", "duplicate")


class Store:
    """One database, open for writing; `Store.open` makes it, `close` gives its connections back."""

    def __init__(self, url: sa.URL, engine: sa.Engine, batched: BatchedStorage) -> None:
        self.url = url
        self.engine = engine
        self.batched = batched
        self.storage: BaseStorage = get_storage(batched)  # cached, as Optuna caches it

    @classmethod
    def open(cls, url: str = engines.DEFAULT_URL) -> "Store":
        """Open a store, creating or upgrading its tables; raise StoreError where it can't be."""
        parsed = engines.parse(url)
        with reported(parsed, "open"):
            path = engines.sqlite_file(parsed)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            engine = engines.write_engine(parsed)
            try:
                migrate.make_or_upgrade(engine)
                store = cls(parsed, engine, _optuna_storage(parsed))
                migrate.index_optunas(engine)
                return store
            except BaseException:
                engine.dispose()
                raise

    def close(self) -> None:
        """Give the connections back."""
        self.batched.remove_session()
        self.batched.engine.dispose()
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Begin one transaction of ours; database errors become StoreError."""
        with engines.translated(self.url, "write"), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Connect for a short while to read, for `nas.store.queries`."""
        with engines.translated(self.url, "read"), self.engine.connect() as connection:
            yield connection.execution_options(**dialects.of(connection).reading)

    def create_study(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        fixed: Sequence[str] = (),
        recipes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> queries.StudyInfo:
        """Create a study, or find it again; raise StoreError when its name means something else.

        `config` is JSON; its `fixed` keys may not change under a name, the first that differs is
        told; the others are stored as they are now. `recipes` are stored under their hashes.
        """
        plain = json.loads(json.dumps({**config, "home": places.home(self.url)}))
        with self.write() as connection:
            forget_deleted(connection)
            for study in queries.studies(connection):
                if study.name == name:
                    _check_same(name, study.config, plain, fixed)
        with reported(self.url, "write"), _quiet():
            optuna.create_study(
                study_name=name, storage=self.storage, direction="maximize", load_if_exists=True
            )
            study_id = self.storage.get_study_id_from_name(name)
        with self.write() as connection:
            values = {"id": study_id, "name": name, "config": plain}
            if insert_new(connection, schema.STUDIES, values) is None:
                stored = queries.study(connection, name).config
                _check_same(name, stored, plain, fixed)  # another process may have been first
                mine = schema.STUDIES.update().where(schema.STUDIES.c.id == study_id)
                connection.execute(mine.values(config={**stored, **plain}))
            for recipe_hash, recipe in (recipes or {}).items():
                insert_new(connection, schema.RECIPES, {"hash": recipe_hash, "json": dict(recipe)})
            return queries.study(connection, name)

    def delete_studies(self, names: Sequence[str]) -> None:
        """Delete studies with their trials; evaluations stay for others to reuse."""
        with reported(self.url, "write"):
            for name in names:
                with suppress(KeyError):  # another process was first
                    self.storage.delete_study(self.storage.get_study_id_from_name(name))
        self.forget_deleted()

    def forget_deleted(self) -> None:
        """Forget the studies and trials that Optuna no longer has."""
        with self.write() as connection:
            forget_deleted(connection)

    def expire(self, study_id: int, is_dead: Callable[[str], bool]) -> int:
        """Let the leases of workers known to be dead expire now; return how many there were."""
        table = schema.EVALUATIONS.c
        with self.write() as connection:
            held = (table.study_id == study_id) & (table.state == "running")
            workers = connection.execute(sa.select(table.worker).where(held).distinct()).scalars()
            dead = table.worker.in_([name for name in workers.all() if name and is_dead(name)])
            expired = schema.EVALUATIONS.update().where(held & dead).values(expires_at=0.0)
            return connection.execute(expired).rowcount

    def look_at_test(
        self, study_id: int, evaluation_id: int, metrics: Metrics, *, once: bool = False
    ) -> int:
        """Record one look at the test split and return how many the study has had.

        With `once` nothing is recorded where there is a look at this evaluation: of two drivers
        that come to the same end one looks, and the other's numbers are the same.
        """
        row = {"study_id": study_id, "evaluation_id": evaluation_id, "metrics": finite(metrics)}
        with self.write() as connection:
            lock_study(connection, study_id)
            looked = [each for each, _ in queries.test_looks(connection, study_id)]
            if not (once and evaluation_id in looked):
                connection.execute(schema.TEST_LOOKS.insert().values(row))
            return queries.test_look_count(connection, study_id)

    def set_warnings(self, study_id: int, warnings: Sequence[GuardWarning]) -> None:
        """Store the warnings of a study's guards, in place of earlier ones, as its attribute."""
        plain = [warning.to_json() for warning in warnings]
        self.set_attribute(study_id, schema.WARNINGS, plain)

    def set_attribute(self, study_id: int, key: str, value: Any) -> None:
        """Store an attribute of a study in Optuna's table, in place of an earlier one."""
        with reported(self.url, "write"):
            self.storage.set_study_user_attr(study_id, key, value)

    def set_export(self, study_id: int, of: Evaluation, verdict: Mapping[str, Any]) -> None:
        """Store the verdict on an evaluation's network in a format, in place of an earlier one.

        A finished trial's attributes are frozen: the verdict is an attribute of the study.
        """
        key = f"{queries.export_key(of.architecture_id)}{of.recipe_hash}:{verdict['format']}"
        self.set_attribute(study_id, key, {"recipe_hash": of.recipe_hash, **verdict})

    def add_artifact(self, study_id: int, kind: str, path: str) -> None:
        """Record a file that a study made; the same file is recorded once."""
        with self.write() as connection:
            insert_new(
                connection, schema.ARTIFACTS, {"study_id": study_id, "kind": kind, "path": path}
            )

    def set_checkpoint(self, evaluation_id: int, path: str) -> None:
        """Record where an evaluation's weights lie now."""
        mine = schema.EVALUATIONS.c.id == evaluation_id
        with self.write() as connection:
            connection.execute(schema.EVALUATIONS.update().where(mine).values(checkpoint=path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a new study on standard error: the caller does."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _optuna_storage(url: sa.URL) -> BatchedStorage:
    """Open Optuna's storage; two processes may be creating its tables at the same time."""
    for _ in range(_OPENING_ATTEMPTS - 1):
        try:
            return BatchedStorage(url)
        except (exc.OperationalError, exc.ProgrammingError, exc.IntegrityError) as error:
            if not any(sign in str(error).lower() for sign in _MADE_BY_ANOTHER):
                raise
            time.sleep(random.uniform(0.01, 0.1))
    return BatchedStorage(url)


def _check_same(
    name: str, stored: Mapping[str, Any], now: Mapping[str, Any], fixed: Sequence[str]
) -> None:
    for key in fixed:
        was, new = stored.get(key), now.get(key)
        if was == new or key not in stored:  # a study that is older than the option
            continue
        label = {"parameters": "space", "recipe_hash": "recipe"}.get(key, key)
        if key == "recipe_hash" and _recipe(stored) != _recipe(now):
            was, new = _recipe(stored), _recipe(now)
        raise StoreError(
            f"Study {name!r} exists with another {label}: {_difference(was, new)}. "
            "Go on with the one it has, or give this search another --study name."
        )


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's recipe without the data's name, which is no part of its hash."""
    return {key: value for key, value in config.get("recipe", {}).items() if key != "data"}


def _difference(was: Any, now: Any, path: str = "") -> str:
    """Say where two JSON values first differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            here = f"{path}.{key}" if path else str(key)
            if not was.get(key) and not now.get(key):  # a neutral value may be left out
                continue
            if key not in now:
                return f"{here} is gone"
            if key not in was:
                return f"{here} is new"
            if was[key] != now[key]:
                return _difference(was[key], now[key], here)
    path = path or "it"
    if isinstance(was, list) and isinstance(now, list):
        if not any(isinstance(value, dict | list) for value in was + now):
            choices = (", ".join(map(str, values)) for values in (was, now))
            return "{} has choices {}, now {}".format(path, *choices)
        for index, (left, right) in enumerate(zip(was, now, strict=False)):
            if left != right:
                return _difference(left, right, f"{path}[{index}]")
        return f"{path} has {len(was)} entries, now {len(now)}"
    return f"{path} was {was!r}, now {now!r}"


DELETED = "its study was deleted"
_t, _e, _s = schema.TRIALS.c, schema.EVALUATIONS.c, schema.STUDIES.c
_o, _p = schema.OPTUNA_TRIALS.c, schema.OPTUNA_STUDIES.c
_GONE = sa.select(_s.id).where(~sa.exists().where(_p.study_id == _s.id, _p.study_name == _s.name))
_IN_OPTUNA = sa.exists().where(
    _o.trial_id == _t.trial_id, _o.study_id == _t.study_id, _o.number == _t.number
)
_HAS_TRIAL = sa.exists().where(
    _t.study_id == _e.study_id, _t.number == _e.number, _t.evaluation_id == _e.id
)


def _ended(column: sa.Column[object], value: object) -> sa.ColumnElement[object]:
    """Return the value for an evaluation that runs, else the stored one."""
    return sa.case((_e.state == "running", value), else_=column)


_STATEMENTS = (
    schema.TRIALS.delete().where(_t.study_id.in_(_GONE) | ~_IN_OPTUNA),
    schema.EVALUATIONS.update()
    .where(_e.study_id.in_(_GONE) | _e.number.is_not(None) & ~_HAS_TRIAL)
    .values(
        study_id=None,
        number=None,
        expires_at=None,
        reason=_ended(_e.reason, DELETED),
        finished=_ended(_e.finished, sa.bindparam("now", type_=sa.DateTime())),
        state=_ended(_e.state, "failed"),
    ),
    schema.ARTIFACTS.delete().where(schema.ARTIFACTS.c.study_id.in_(_GONE)),
    schema.TEST_LOOKS.delete().where(schema.TEST_LOOKS.c.study_id.in_(_GONE)),
    schema.STUDIES.delete().where(_s.id.in_(_GONE)),
)


def forget_deleted(connection: sa.Connection) -> None:
    """Forget the studies and trials that Optuna no longer has, on an open transaction.

    Its dashboard can delete them, and SQLite gives ids out again. Evaluations stay, for other
    studies to reuse; they belong to no study any more.
    """
    for statement in _STATEMENTS:
        connection.execute(statement, {"now": schema.utc_now()} if statement.is_update else {})
