"""Move studies whole from one store to another, of either kind, in one transaction.

The copy reads one consistent view and writes in bulk. Ids stay where the target has given out no
higher ones, else they move up. An evaluation that the target has is not doubled: the better end
stands. A trial that runs in the source can be resumed in the target.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from nas.errors import StoreError, unknown
from nas.store import dialects, plain, queries, schema
from nas.store import engine as engines
from nas.store.history import TABLES as _OPTUNA
from nas.store.migrate import require_current
from nas.store.optuna_storage import reported
from nas.store.plain import Row
from nas.store.store import Store

LEFT_BEHIND = "it was copied while a study trained it that was not"
_CHUNK = 500  # keys in one statement
_RANK = {"failed": 0, "running": 1, "pruned": 2, "complete": 3}

_STUDIES, _TRIALS, _LINKS = _OPTUNA["studies"], _OPTUNA["trials"], schema.TRIALS
_NAS_STUDIES, _EVALUATIONS, _CURVES = schema.STUDIES, schema.EVALUATIONS, schema.CURVE_POINTS
_KEY = (_EVALUATIONS.c.architecture_id, _EVALUATIONS.c.recipe_hash, _EVALUATIONS.c.fidelity)
_OF_TRIALS = (
    *("trial_params", "trial_values", "trial_intermediate_values"),
    *("trial_user_attributes", "trial_system_attributes", "trial_heartbeats"),
)
_OF_TRIAL = re.compile(r"(dashboard:|dashboard:artifacts:|preference:skip_trial:)(\d+)(:.*|)")
_PARENTS = re.compile(r"\w+:parent:\d+")  # of Optuna's genetic samplers: a list of trials' ids

Watch = Callable[[str, int, int], None]
"""Told of a table's name, its rows written so far, and how many there will be."""


@dataclass(frozen=True)
class Copied:
    """What was copied: studies by their names in the target, rows by table.

    `known` counts the evaluations that the target had, `improved` those of them whose end in the
    source was better.
    """

    studies: tuple[str, ...]
    rows: Mapping[str, int]
    known: int
    improved: int


def copy(
    source: str,
    target: str,
    *,
    studies: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Copied:
    """Copy these studies, or all, into another store; raise StoreError, and write nothing, if not.

    `rename` gives studies another name in the target, where its name may be taken.
    """
    parsed = engines.parse(target)
    if engines.parse(source) == parsed:
        raise StoreError(f"{engines.masked(parsed)} is the store that is copied: name another.")
    with queries.connect(source, frozen=True) as old:
        require_current(old, source)
        ids = _ids(old, studies)
        made = Store.open(target)
        try:
            names = {name: (rename or {}).get(name, name) for name in ids}
            _refuse_taken(made, names)
            with reported(parsed, "write"), made.engine.begin() as new:
                whole = not studies
                return _Copy(made, old, new, (ids, names), watch or _unwatched).run(whole=whole)
        finally:
            made.close()


def _unwatched(_table: str, _done: int, _total: int) -> None:
    """Show nothing."""


def _ids(connection: sa.Connection, wanted: Sequence[str]) -> dict[str, int]:
    """Return the ids of the wanted studies, of all where none is named."""
    rows = connection.execute(sa.select(_STUDIES.c.study_name, _STUDIES.c.study_id))
    ids = {row.study_name: row.study_id for row in rows}
    for name in wanted:
        if name not in ids:
            raise StoreError(unknown("study", name, ids))
    return {name: ids[name] for name in sorted(wanted or ids, key=lambda each: ids[each])}


def _refuse_taken(target: Store, names: Mapping[str, str]) -> None:
    with target.read() as connection:
        there = set(connection.execute(sa.select(_STUDIES.c.study_name)).scalars())
    wanted = list(names.values())
    taken = [name for name in dict.fromkeys(wanted) if name in there or wanted.count(name) > 1]
    if taken:
        raise StoreError(
            f"{engines.masked(target.url)} has a study named {taken[0]!r} already: give the copied "
            "one another name with --study NAME --as OTHER, or copy into another store."
        )


class _Copy:
    """One copy on two open connections: `old` is read, `new` written.

    Ids move: those of studies and trials by one distance, those of evaluations one by one.
    """

    def __init__(
        self,
        target: Store,
        old: sa.Connection,
        new: sa.Connection,
        studies: tuple[Mapping[str, int], Mapping[str, str]],
        watch: Watch,
    ) -> None:
        self.target, self.old, self.new, self.watch = target, old, new, watch
        self.ids, self.names = studies
        self.rows: dict[str, int] = {}
        self.known = self.improved = 0
        stored = old.execute(sa.select(_NAS_STUDIES.c.id, _NAS_STUDIES.c.name))
        # searches, and not a study whose id has passed to another
        self.ours = [row.id for row in stored if self.ids.get(row.name) == row.id]

    def run(self, *, whole: bool) -> Copied:
        """Copy table by table, each after those it refers to."""
        evaluations = None if whole else self._evaluations_of_studies()
        by = self._reserve(_STUDIES, self._belongs(_STUDIES))  # all before the first is written
        self.studies = {old: old + by for old in self.ids.values()}
        self.trials_by = self._reserve(_TRIALS, self._belongs(_TRIALS))
        evaluations_by = self._reserve(_EVALUATIONS, evaluations)
        self._table(_STUDIES, self._belongs(_STUDIES), self._moved)
        for name in ("study_directions", "study_user_attributes", "study_system_attributes"):
            self._table(_OPTUNA[name], self._belongs(_OPTUNA[name]), self._moved)
        self._table(_NAS_STUDIES, _NAS_STUDIES.c.id.in_(self.ours), self._our_study)
        self._shared(evaluations, whole=whole)
        self.evaluations = self._evaluations(evaluations, evaluations_by)
        self._table(_TRIALS, self._belongs(_TRIALS), self._moved)
        children = sa.select(_TRIALS.c.trial_id).where(self._belongs(_TRIALS))
        for name in _OF_TRIALS:
            table = _OPTUNA[name]
            self._table(table, table.c.trial_id.in_(children), self._moved)
        same = (_TRIALS.c.trial_id == _LINKS.c.trial_id) & (_TRIALS.c.study_id == _LINKS.c.study_id)
        self._table(_LINKS, self._belongs(_LINKS) & sa.exists().where(same), self._moved)
        for table in (schema.TEST_LOOKS, schema.ARTIFACTS):
            self._table(table, self._belongs(table), self._moved)
        jobs = None if whole else schema.JOBS.c.id.in_(self._jobs())
        self._table(schema.JOBS, jobs, dict, unless_known=True)
        return Copied(tuple(self.names.values()), self.rows, self.known, self.improved)

    def _reserve(self, table: sa.Table, where: sa.ColumnElement[bool] | None) -> int:
        """Reserve the target's ids for some rows; return how far they move."""
        key = next(iter(table.primary_key.columns))
        bounds = sa.select(sa.func.min(key).label("lowest"), sa.func.max(key).label("highest"))
        row = self.old.execute(_filtered(bounds, where)).one()
        if row.lowest is None:
            return 0
        ids = range(row.lowest, row.highest + 1)
        return dialects.of(self.new).reserve(self.target.engine, self.new, key, ids)

    def _moved(self, row: Row) -> Row:
        """Return a row with the target's ids and names, in its columns and in its text."""
        row = dict(row)
        if "study_id" in row:
            row["study_id"] = self.studies[row["study_id"]]
        if "trial_id" in row:
            row["trial_id"] += self.trials_by
        if "evaluation_id" in row:
            row["evaluation_id"] = self.evaluations[row["evaluation_id"]]
        if "study_name" in row:
            row["study_name"] = self.names[row["study_name"]]
        if row.get("reused_from"):
            row["reused_from"] = self._origin(row["reused_from"])
        if "key" in row:
            self._move_attribute(row)
        return row

    def _move_attribute(self, row: Row) -> None:
        """Change the ids in an attribute: the dashboard's notes have the trial in their key."""
        key, value = row["key"], row["value_json"]
        if "trial_id" in row:
            if key == "evaluation":
                old = json.loads(value)
                row["value_json"] = json.dumps(self.evaluations.get(old, old))
            elif key == "reused_from":
                row["value_json"] = json.dumps(self._origin(json.loads(value)))
        elif match := _OF_TRIAL.fullmatch(key):
            row["key"] = f"{match[1]}{int(match[2]) + self.trials_by}{match[3]}"
        elif _PARENTS.fullmatch(key):
            row["value_json"] = json.dumps([each + self.trials_by for each in json.loads(value)])

    def _origin(self, text: str) -> str:
        """Return STUDY/NUMBER with the study's new name."""
        study, slash, number = text.rpartition("/")
        return f"{self.names.get(study, study)}{slash}{number}"

    def _our_study(self, row: Row) -> Row:
        return row | {"id": self.studies[row["id"]], "name": self.names[row["name"]]}

    def _shared(self, evaluations: sa.ColumnElement[bool] | None, *, whole: bool) -> None:
        """Copy networks and recipes that the target lacks: their ids say what they are."""
        config = sa.select(_NAS_STUDIES.c.config).where(_NAS_STUDIES.c.id.in_(self.ours))
        about_to_use = [each.get("recipe_hash") for each in self.old.execute(config).scalars()]
        for table, column in (
            (schema.RECIPES, _EVALUATIONS.c.recipe_hash),
            (schema.ARCHITECTURES, _EVALUATIONS.c.architecture_id),
        ):
            key = next(iter(table.primary_key.columns))
            wanted: sa.ColumnElement[bool] = key.in_(_filtered(sa.select(column), evaluations))
            if table is schema.RECIPES:
                wanted |= key.in_([recipe for recipe in about_to_use if recipe])
            self._table(table, None if whole else wanted, dict, unless_known=True)

    def _evaluations_of_studies(self) -> sa.ColumnElement[bool]:
        """Choose the evaluations that the studies have trained or reused."""
        linked = sa.select(_LINKS.c.evaluation_id).where(self._belongs(_LINKS))
        return _EVALUATIONS.c.id.in_(linked) | self._belongs(_EVALUATIONS)

    def _belongs(self, table: sa.Table) -> sa.ColumnElement[bool]:
        ours = table.name.startswith("nas_")
        return table.c.study_id.in_(self.ours if ours else self.ids.values())

    def _evaluations(self, where: sa.ColumnElement[bool] | None, move: int) -> dict[int, int]:
        """Copy evaluations and their curves; return the target's ids of the source's."""
        arrived = partial(self._arrived, move=move)
        self._table(_EVALUATIONS, where, arrived, unless_known=True)
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, *_KEY)
        wanted = self.old.execute(_filtered(sa.select(*columns), where)).all()
        there = self._there([row.architecture_id for row in wanted])
        ids, known, better = {}, set(), []
        for row in wanted:
            stored = there[(row.architecture_id, row.recipe_hash, row.fidelity)]
            ids[row.id] = stored.id
            if stored.id != row.id + move:
                known.add(row.id)
                if _is_better(row.state, stored.state):
                    better.append((row.id, stored))
        improved = self._improve(better, move)
        self.known, self.improved = len(known), len(improved)
        left_out = known - improved

        def point(row: Row) -> Row | None:
            old = row["evaluation_id"]
            return None if old in left_out else row | {"evaluation_id": ids[old]}

        mine = None
        if where is not None:
            mine = _CURVES.c.evaluation_id.in_(sa.select(_EVALUATIONS.c.id).where(where))
        self._table(_CURVES, mine, point)
        return ids

    def _arrived(self, row: Row, *, move: int) -> Row:
        """Return an evaluation as it begins in the target: nobody holds a lease on it there."""
        study = self.studies[row["study_id"]] if row["study_id"] in self.ours else None
        changed: Row = {"id": row["id"] + move, "study_id": study, "expires_at": None}
        if study is None:
            changed |= {"number": None}
        if row["state"] == "running" and study is not None:
            changed |= {"worker": "", "expires_at": 0.0}  # let go: whoever wants it takes it over
        elif row["state"] == "running":
            changed |= {"state": "failed", "reason": LEFT_BEHIND, "finished": schema.utc_now()}
        return row | changed

    def _there(self, architectures: Iterable[str]) -> dict[tuple[str, str, int], Any]:
        """Return the target's evaluations of these networks by their keys."""
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, _EVALUATIONS.c.attempt)
        there = {}
        for part in _chunks(list(dict.fromkeys(architectures))):
            statement = sa.select(*columns, *_KEY)
            known = statement.where(_EVALUATIONS.c.architecture_id.in_(part))
            for row in self.new.execute(known):
                there[(row.architecture_id, row.recipe_hash, row.fidelity)] = row
        return there

    def _improve(self, better: list[tuple[int, Any]], move: int) -> set[int]:
        """Give the target's evaluations the source's better ends, unless they have moved on."""
        stored, improved = dict(better), set()
        for part in _chunks(list(stored)):
            for row in self.old.execute(sa.select(_EVALUATIONS).where(_EVALUATIONS.c.id.in_(part))):
                there = stored[row.id]
                values = self._arrived(dict(row._mapping), move=move)
                values["attempt"] = max(values["attempt"], there.attempt + 1)  # fences its worker
                del values["id"]
                same = (_EVALUATIONS.c.id == there.id) & (_EVALUATIONS.c.state == there.state)
                same &= _EVALUATIONS.c.attempt == there.attempt
                if self.new.execute(_EVALUATIONS.update().where(same).values(values)).rowcount:
                    self.new.execute(_CURVES.delete().where(_CURVES.c.evaluation_id == there.id))
                    improved.add(row.id)
        return improved

    def _jobs(self) -> list[str]:
        """Return the jobs that were submitted for the studies."""
        rows = self.old.execute(sa.select(schema.JOBS.c.id, schema.JOBS.c.words))
        return [row.id for row in rows if set(_studies_in(row.words)) & set(self.ids)]

    def _table(
        self,
        table: sa.Table,
        where: sa.ColumnElement[bool] | None,
        change: Callable[[Row], Row | None],
        *,
        unless_known: bool = False,
    ) -> None:
        """Copy the selected rows of a table; the target gives the ids that nothing refers to."""
        counting = sa.select(sa.func.count()).select_from(table)
        total = self.old.execute(_filtered(counting, where)).scalar_one()
        key = list(table.primary_key.columns)
        rows_of = _filtered(plain.select(table), where).order_by(*key)
        free = _surrogate(table)
        done = 0
        read = plain.read(self.old, rows_of)  # a server's cursor is open meanwhile
        with closing(read) as batches:
            for batch in batches if total else ():
                rows = [row for row in map(change, batch) if row is not None]
                for row in rows if free is not None else ():
                    del row[str(free)]
                done += len(rows)
                plain.insert(self.new, table, rows, unless_known=unless_known)
                self.watch(table.name, done, total)
        self.rows[table.name] = done


def _surrogate(table: sa.Table) -> str | None:
    """Return the name of an id that no other table refers to."""
    key, *more = table.primary_key.columns
    counted = isinstance(key.type, sa.Integer) and key.autoincrement and not key.foreign_keys
    referred = table in (_STUDIES, _TRIALS, _EVALUATIONS)
    return key.name if counted and not more and not referred else None


def _is_better(state: str, than: str) -> bool:
    """Tell whether an end stands before another; a running one gives way to complete only."""
    return state == "complete" != than if than == "running" else _RANK[state] > _RANK[than]


def _filtered(statement: Any, where: sa.ColumnElement[bool] | None) -> Any:
    return statement if where is None else statement.where(where)


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for begin in range(0, len(items), _CHUNK):
        yield items[begin : begin + _CHUNK]


def _studies_in(words: Sequence[str]) -> Iterator[str]:
    """Yield the names that a command line gives its study."""
    for index, word in enumerate(words):
        if word == "--study" and index + 1 < len(words):
            yield words[index + 1]
        elif word.startswith("--study="):
            yield word.removeprefix("--study=")
