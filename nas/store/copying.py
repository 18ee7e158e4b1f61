"""Move studies whole from one store to another, of either kind, in one transaction.

Read from one consistent view, written in bulk. Ids are kept where the target has given out no
higher ones, else moved up. A network that the target has evaluated under the same recipe is not
doubled: its better end stands. What runs in the source can be resumed in the target.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models as optuna_models

from nas.errors import StoreError, unknown
from nas.store import engine as engines
from nas.store import mariadb, plain
from nas.store.models import Base, utc_now
from nas.store.optuna_storage import reported
from nas.store.plain import Row
from nas.store.renumber import Renumbering
from nas.store.reserve import reserve
from nas.store.snapshot import require_current, snapshot
from nas.store.store import Store

LEFT_BEHIND = "it was copied while a study trained it that was not"
_CHUNK = 500  # keys in one statement
_RANK = {"failed": 0, "running": 1, "pruned": 2, "complete": 3}

_OPTUNA = optuna_models.BaseModel.metadata.tables
_OURS = Base.metadata.tables
_STUDIES, _TRIALS = _OPTUNA["studies"], _OPTUNA["trials"]
_NAS_STUDIES, _NAS_TRIALS = _OURS["nas_studies"], _OURS["nas_trials"]
_EVALUATIONS, _CURVES = _OURS["nas_evaluations"], _OURS["nas_curve_points"]
_ARCHITECTURES, _RECIPES = _OURS["nas_architectures"], _OURS["nas_recipes"]

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
    with snapshot(source) as old:
        require_current(old, source)
        chosen = _chosen(old, studies)
        made = Store.open(target)
        try:
            names = {name: (rename or {}).get(name, name) for name in chosen}
            _refuse_taken(made, names)
            with reported(parsed, "write"), made.engine.begin() as new:
                whole = not studies
                return _Copy(made, old, new, (chosen, names), watch or _unwatched).run(whole=whole)
        finally:
            made.close()


def _unwatched(_table: str, _done: int, _total: int) -> None:
    """Show nothing."""


def _chosen(connection: sa.Connection, wanted: Sequence[str]) -> dict[str, int]:
    """Return the ids of the wanted studies, of all where none is named."""
    found = connection.execute(sa.select(_STUDIES.c.study_name, _STUDIES.c.study_id)).all()
    ids = {row.study_name: row.study_id for row in found}
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
    """One copy on two open connections: `old` is read, `new` written."""

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
        self.is_mariadb = new.dialect.name == mariadb.NAME
        self.rows: dict[str, int] = {}
        self.known = self.improved = 0

    def run(self, *, whole: bool) -> Copied:
        """Copy table by table, each after those it refers to."""
        self.ours = self._ours()
        evaluations = None if whole else self._evaluations_of_studies()
        studies = self._move(_STUDIES, self._belongs(_STUDIES))  # all before the first is written
        trials = self._move(_TRIALS, self._belongs(_TRIALS))
        move = self._move(_EVALUATIONS, evaluations)
        self.ids_of = Renumbering(
            {old: old + studies for old in self.ids.values()}, trials, {}, self.names
        )
        self._studies()
        self._shared(evaluations, whole=whole)
        self.ids_of = Renumbering(
            self.ids_of.studies, trials, self._evaluations(evaluations, move), self.names
        )
        self._trials()
        self._beside(whole=whole)
        return Copied(tuple(self.names.values()), self.rows, self.known, self.improved)

    def _ours(self) -> list[int]:
        """Return the studies that are searches, not those whose id has passed to another."""
        found = self.old.execute(sa.select(_NAS_STUDIES.c.id, _NAS_STUDIES.c.name))
        return [row.id for row in found if self.ids.get(row.name) == row.id]

    def _move(self, table: sa.Table, where: sa.ColumnElement[bool] | None) -> int:
        """Reserve the target's ids for some rows; return how far they move."""
        key = next(iter(table.primary_key.columns))
        bounds = sa.select(sa.func.min(key), sa.func.max(key))
        lowest, highest = self.old.execute(_filtered(bounds, where)).one()
        if lowest is None:
            return 0
        return reserve(self.target.engine, self.new, key, (lowest, highest))

    def _studies(self) -> None:
        renumber = self.ids_of

        def name(row: Row) -> Row:
            return renumber.of_study(row) | {"study_name": self.names[row["study_name"]]}

        def ours(row: Row) -> Row:
            name = self.names[row["name"]]
            return row | {"id": renumber.studies[row["id"]], "name": name}

        self._table(_STUDIES, self._belongs(_STUDIES), name)
        for table in ("study_directions", "study_user_attributes"):
            self._table(_OPTUNA[table], self._belongs(_OPTUNA[table]), renumber.of_study)
        system = _OPTUNA["study_system_attributes"]
        self._table(system, self._belongs(system), renumber.study_attribute)
        self._table(_NAS_STUDIES, _NAS_STUDIES.c.id.in_(self.ours), ours)

    def _shared(self, evaluations: sa.ColumnElement[bool] | None, *, whole: bool) -> None:
        """Copy networks and recipes that the target lacks: their ids say what they are."""
        for table, column in (
            (_RECIPES, _EVALUATIONS.c.recipe_hash),
            (_ARCHITECTURES, _EVALUATIONS.c.architecture_id),
        ):
            key = next(iter(table.primary_key.columns))
            chosen = [key.in_(_filtered(sa.select(column), evaluations))]
            if table is _RECIPES:
                chosen.append(key.in_(self._recipes_of_studies()))
            self._table(table, None if whole else sa.or_(*chosen), dict, unless_known=True)

    def _recipes_of_studies(self) -> list[str]:
        """Return the recipes that the studies are about to use."""
        config = sa.select(_NAS_STUDIES.c.config).where(_NAS_STUDIES.c.id.in_(self.ours))
        found = self.old.execute(config).scalars()
        return [str(one["recipe_hash"]) for one in found if one.get("recipe_hash")]

    def _evaluations_of_studies(self) -> sa.ColumnElement[bool]:
        """Choose what the studies have trained and what they reused."""
        linked = sa.select(_NAS_TRIALS.c.evaluation_id).where(self._belongs(_NAS_TRIALS))
        return _EVALUATIONS.c.id.in_(linked) | self._belongs(_EVALUATIONS)

    def _belongs(self, table: sa.Table) -> sa.ColumnElement[bool]:
        ours = table.name.startswith("nas_")
        return table.c.study_id.in_(self.ours if ours else self.ids.values())

    def _evaluations(self, where: sa.ColumnElement[bool] | None, move: int) -> dict[int, int]:
        """Copy evaluations and their curves; return the target's ids of the source's."""
        arrived = partial(self._arrived, move=move)
        self._table(_EVALUATIONS, where, arrived, unless_known=True)
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, *_key(_EVALUATIONS))
        wanted = self.old.execute(_filtered(sa.select(*columns), where)).all()
        there = self._there([row.architecture_id for row in wanted])
        ids, known, better = {}, set(), []
        for row in wanted:
            found = there[(row.architecture_id, row.recipe_hash, row.fidelity)]
            ids[row.id] = found.id
            if found.id != row.id + move:
                known.add(row.id)
                if _is_better(row.state, found.state):
                    better.append((row.id, found))
        improved = self._improve(better, move)
        self.known, self.improved = len(known), len(improved)
        self._curves(where, ids, known - improved)
        return ids

    def _arrived(self, row: Row, *, move: int) -> Row:
        """Return an evaluation as it begins in the target: nobody holds a lease on it there."""
        ours = row["study_id"] in self.ours
        study = self.ids_of.studies[row["study_id"]] if ours else None
        changed: Row = {"id": row["id"] + move, "study_id": study, "expires_at": None}
        if study is None:
            changed |= {"number": None}
        if row["state"] == "running" and study is not None:
            changed |= {"worker": "", "expires_at": 0.0}  # let go: whoever wants it takes it over
        elif row["state"] == "running":
            changed |= {"state": "failed", "reason": LEFT_BEHIND, "finished": utc_now()}
        return row | changed

    def _there(self, architectures: Iterable[str]) -> dict[tuple[str, str, int], Any]:
        """Return the target's evaluations of these networks by their keys."""
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, _EVALUATIONS.c.attempt)
        found = {}
        for part in _chunks(list(dict.fromkeys(architectures))):
            statement = sa.select(*columns, *_key(_EVALUATIONS))
            chosen = statement.where(_EVALUATIONS.c.architecture_id.in_(part))
            for row in self.new.execute(chosen):
                found[(row.architecture_id, row.recipe_hash, row.fidelity)] = row
        return found

    def _improve(self, better: list[tuple[int, Any]], move: int) -> set[int]:
        """Give the target's evaluations the source's better ends, unless they have moved on."""
        seen, improved = dict(better), set()
        for part in _chunks(list(seen)):
            statement = plain.select(_EVALUATIONS).where(_EVALUATIONS.c.id.in_(part))
            for row in (row for batch in plain.read(self.old, statement) for row in batch):
                found = seen[row["id"]]
                values = self._arrived(row, move=move)
                values["attempt"] = max(values["attempt"], found.attempt + 1)  # fences its worker
                del values["id"]
                same = (_EVALUATIONS.c.id == found.id) & (_EVALUATIONS.c.state == found.state)
                same &= _EVALUATIONS.c.attempt == found.attempt
                if plain.update(self.new, _EVALUATIONS, same, values):
                    self.new.execute(sa.delete(_CURVES).where(_CURVES.c.evaluation_id == found.id))
                    improved.add(row["id"])
        return improved

    def _curves(
        self, where: sa.ColumnElement[bool] | None, ids: Mapping[int, int], known: set[int]
    ) -> None:
        def arrived(row: Row) -> Row | None:
            old = row["evaluation_id"]
            return None if old in known else row | {"evaluation_id": ids[old]}

        of = None
        if where is not None:
            of = _CURVES.c.evaluation_id.in_(sa.select(_EVALUATIONS.c.id).where(where))
        self._table(_CURVES, of, arrived)

    def _trials(self) -> None:
        renumber = self.ids_of
        studies = self._belongs(_TRIALS)

        def trial(row: Row) -> Row:
            return renumber.of_trial(renumber.of_study(row))

        def link(row: Row) -> Row:
            changed = {
                "evaluation_id": renumber.evaluations[row["evaluation_id"]],
                "reused_from": renumber.origin(row["reused_from"]),
            }
            return trial(row) | changed

        self._table(_TRIALS, studies, trial)
        children = sa.select(_TRIALS.c.trial_id).where(studies)
        for name, change in {
            "trial_params": renumber.of_trial,
            "trial_values": renumber.of_trial,
            "trial_intermediate_values": renumber.of_trial,
            "trial_user_attributes": renumber.trial_attribute,
            "trial_system_attributes": renumber.of_trial,
            "trial_heartbeats": renumber.of_trial,
        }.items():
            table = _OPTUNA[name]
            self._table(table, table.c.trial_id.in_(children), change)
        same = sa.select(_TRIALS.c.trial_id).where(
            _TRIALS.c.trial_id == _NAS_TRIALS.c.trial_id,
            _TRIALS.c.study_id == _NAS_TRIALS.c.study_id,
        )
        self._table(_NAS_TRIALS, self._belongs(_NAS_TRIALS) & sa.exists(same), link)

    def _beside(self, *, whole: bool) -> None:
        """Copy the looks at the test split, the list of files, and the jobs."""
        renumber = self.ids_of

        def look(row: Row) -> Row:
            evaluation = renumber.evaluations[row["evaluation_id"]]
            return renumber.of_study(row) | {"evaluation_id": evaluation}

        looks, files, jobs = (_OURS[f"nas_{name}"] for name in ("test_looks", "artifacts", "jobs"))
        self._table(looks, self._belongs(looks), look)
        self._table(files, self._belongs(files), renumber.of_study)
        mine = None if whole else jobs.c.id.in_(self._jobs(jobs))
        self._table(jobs, mine, dict, unless_known=True)

    def _jobs(self, jobs: sa.Table) -> list[str]:
        """Return the jobs that were submitted for the studies."""
        found = self.old.execute(sa.select(jobs.c.id, jobs.c.words))
        return [row.id for row in found if set(_studies_in(row.words)) & set(self.ids)]

    def _table(
        self,
        table: sa.Table,
        where: sa.ColumnElement[bool] | None,
        change: Callable[[Row], Row | None],
        *,
        unless_known: bool = False,
    ) -> None:
        """Copy the chosen rows of a table; ids that nothing refers to are the target's to give."""
        counting = sa.select(sa.func.count()).select_from(table)
        total = self.old.execute(_filtered(counting, where)).scalar_one()
        key = list(table.primary_key.columns)
        chosen = _filtered(plain.select(table), where).order_by(*key)
        free = _surrogate(table)
        done = 0
        read = plain.read(self.old, chosen) if total else iter(())
        with closing(plain.changed(read, change)) as batches:  # a server's cursor is open meanwhile
            for batch in batches:
                for row in batch if free is not None else ():
                    del row[str(free)]
                done += len(batch)
                rows = list(mariadb.fitting(batch)) if self.is_mariadb else batch
                plain.insert(self.new, table, rows, unless_known=unless_known)
                self.watch(table.name, done, total)
        self.rows[table.name] = done


def _surrogate(table: sa.Table) -> str | None:
    """Return the name of an id that no other table refers to."""
    keys = list(table.primary_key.columns)
    own = table.name not in ("studies", "trials", "nas_evaluations") and len(keys) == 1
    counted = own and isinstance(keys[0].type, sa.Integer) and not keys[0].foreign_keys
    given = keys[0].autoincrement is False or table.name == "nas_studies"
    return keys[0].name if counted and not given else None


def _key(table: sa.Table) -> tuple[sa.Column[Any], ...]:
    return (table.c.architecture_id, table.c.recipe_hash, table.c.fidelity)


def _is_better(state: str, than: str) -> bool:
    """Tell whether an end stands before another; what runs only gives way to what is complete."""
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
