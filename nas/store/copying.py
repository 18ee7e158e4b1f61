"""Move studies whole from one store to another, of either kind, in one transaction.

The copy reads one consistent view and writes in bulk. Ids stay where the target has given out no
higher ones, else they move up. An evaluation that the target has is not doubled: the better end
stands. A trial that runs in the source can be resumed in the target.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from nas.errors import StoreError, unknown
from nas.store import dialects, places, plain, queries, schema
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
_OF_STUDIES = ("study_directions", "study_user_attributes", "study_system_attributes")
_OF_TRIALS = (
    *("trial_params", "trial_values", "trial_intermediate_values"),
    *("trial_user_attributes", "trial_system_attributes", "trial_heartbeats"),
)
_OF_SERVICE = (schema.TOKENS, schema.SEARCHES, schema.UPLOADS, schema.AUDIT)  # of a whole store
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

    `rename` gives studies another name in the target, where its name may be taken. With a search
    comes the study of its finalists, named after it.
    """
    url, parsed = engines.parse(source), engines.parse(target)
    if url == parsed:
        raise StoreError(f"{engines.masked(parsed)} is the store that is copied: name another.")
    with queries.connect(source, frozen=True) as old:
        require_current(old, source)
        _blame(old, url)
        searches = {each.name: each.search for each in queries.studies(old)}
        ids = _ids(old, studies, searches)
        with _new_file(parsed), closing(Store.open(target)) as made:
            names = {name: _new_name(name, searches.get(name), rename or {}) for name in ids}
            _refuse_taken(made, list(names.values()))
            with reported(parsed, "write"), made.engine.begin() as new:
                tables = _Copy(made, old, new, (ids, names), watch or (lambda *_: None), url)
                return tables.run(whole=not studies)


def _blame(source: sa.Connection, url: sa.URL) -> None:
    """Let the source's errors name the source, wherever they come up."""

    @event.listens_for(source.engine, "handle_error")
    def tell(context: ExceptionContext) -> None:
        with engines.translated(url, "read"):
            raise context.sqlalchemy_exception or context.original_exception


@contextmanager
def _new_file(target: sa.URL) -> Iterator[None]:
    """Remove a target's file after a failure, if it was not there before."""
    path = engines.sqlite_file(target)
    is_new = path is not None and not path.exists()
    try:
        yield
    except BaseException:
        for rest in (path, *engines.beside(path)) if is_new and path is not None else ():
            rest.unlink(missing_ok=True)
        raise


def _new_name(name: str, search: str | None, rename: Mapping[str, str]) -> str:
    """Return a study's name in the target: that of finalists follows their search's."""
    if search is not None and search in rename and name not in rename:
        return rename[search] + name.removeprefix(search)
    return rename.get(name, name)


def _ids(
    connection: sa.Connection, wanted: Sequence[str], searches: Mapping[str, str | None]
) -> dict[str, int]:
    """Return the ids of the wanted studies and their finalists', of all where none is named.

    The oldest comes first; `searches` names the search of each study of finalists.
    """
    rows = connection.execute(sa.select(_STUDIES.c.study_name, _STUDIES.c.study_id))
    ids = {row.study_name: row.study_id for row in rows.all()}
    for name in wanted:
        if name not in ids:
            raise StoreError(unknown("study", name, ids, listing="nas status"))
    finalists = [name for name, search in searches.items() if search in wanted]
    chosen = {*wanted, *finalists} if wanted else ids
    return {name: ids[name] for name in sorted(chosen, key=ids.__getitem__)}


def _refuse_taken(target: Store, names: list[str]) -> None:
    with target.read() as connection:
        present = set(connection.execute(sa.select(_STUDIES.c.study_name)).scalars())
    taken = next((name for name in names if name in present or names.count(name) > 1), None)
    if taken is not None:
        raise StoreError(
            f"{engines.masked(target.url)} has a study named {taken!r} already: give the copied "
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
        source: sa.URL,
    ) -> None:
        self.target, self.old, self.new, self.watch = target, old, new, watch
        self.source = source
        self.ids, self.names = studies
        self.rows: dict[str, int] = {}
        self.known = self.improved = 0
        stored = old.execute(sa.select(_NAS_STUDIES.c.id, _NAS_STUDIES.c.name))
        # searches, and not a study whose id has passed to another
        self.ours = [row.id for row in stored if self.ids.get(row.name) == row.id]

    def run(self, *, whole: bool) -> Copied:
        """Copy table by table, each after those it refers to."""
        evaluations = sa.true() if whole else self._of_studies()
        by = self._reserve(_STUDIES, self._belongs(_STUDIES))  # all before the first is written
        self.studies = {old: old + by for old in self.ids.values()}
        self.trials_by = self._reserve(_TRIALS, self._belongs(_TRIALS))
        evaluations_by = self._reserve(_EVALUATIONS, evaluations)
        for name in ("studies", *_OF_STUDIES):
            self._table(_OPTUNA[name], self._belongs(_OPTUNA[name]), self._moved)
        self._table(_NAS_STUDIES, _NAS_STUDIES.c.id.in_(self.ours), self._our_study)
        self._shared(evaluations, whole=whole)
        self.evaluations = self._evaluations(evaluations, evaluations_by)
        self._table(_TRIALS, self._belongs(_TRIALS), self._moved)
        children = sa.select(_TRIALS.c.trial_id).where(self._belongs(_TRIALS))
        for name in _OF_TRIALS:
            self._table(_OPTUNA[name], _OPTUNA[name].c.trial_id.in_(children), self._moved)
        same = (_TRIALS.c.trial_id == _LINKS.c.trial_id) & (_TRIALS.c.study_id == _LINKS.c.study_id)
        self._table(_LINKS, self._belongs(_LINKS) & sa.exists().where(same), self._moved)
        for table in (schema.TEST_LOOKS, schema.ARTIFACTS):
            self._table(table, self._belongs(table), self._moved)
        jobs = sa.true() if whole else schema.JOBS.c.id.in_(self._jobs())
        self._table(schema.JOBS, jobs, dict, unless_known=True)
        for table in _OF_SERVICE if whole else ():
            self._table(table, sa.true(), dict, unless_known=table is not schema.AUDIT)
        return Copied(tuple(self.names.values()), self.rows, self.known, self.improved)

    def _of_studies(self) -> sa.ColumnElement[bool]:
        """Choose the evaluations that the studies have trained or reused."""
        linked = sa.select(_LINKS.c.evaluation_id).where(self._belongs(_LINKS))
        return _EVALUATIONS.c.id.in_(linked) | self._belongs(_EVALUATIONS)

    def _belongs(self, table: sa.Table) -> sa.ColumnElement[bool]:
        ours = table.name.startswith("nas_")
        return table.c.study_id.in_(self.ours if ours else self.ids.values())

    def _reserve(self, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
        """Reserve the target's ids for some rows; return how far they move."""
        (key,) = table.primary_key
        bounds = sa.select(sa.func.min(key), sa.func.max(key)).where(where)
        lowest, highest = self.old.execute(bounds).one()
        if lowest is None:
            return 0
        ids = range(lowest, highest + 1)
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
        config = json.loads(row["config"])
        now = places.located(config, places.home(self.old))
        if any(config[key] != path for key, path in now.items()):
            config = now  # they lie elsewhere from `home` than they did
        if (search := config.get("search")) is not None:
            config["search"] = self.names.get(search, search)
        moved = {"id": self.studies[row["id"]], "name": self.names[row["name"]]}
        return row | moved | {"config": json.dumps(config)}

    def _shared(self, evaluations: sa.ColumnElement[bool], *, whole: bool) -> None:
        """Copy networks and recipes that the target lacks: their ids say what they are."""
        config = sa.select(_NAS_STUDIES.c.config).where(_NAS_STUDIES.c.id.in_(self.ours))
        about_to_use = [each.get("recipe_hash") for each in self.old.execute(config).scalars()]
        recipe, network = schema.RECIPES.c.hash, schema.ARCHITECTURES.c.id
        used = sa.select(_EVALUATIONS.c.recipe_hash).where(evaluations)
        trained = sa.select(_EVALUATIONS.c.architecture_id).where(evaluations)
        for table, wanted in (
            (schema.RECIPES, recipe.in_(used) | recipe.in_([*filter(None, about_to_use)])),
            (schema.ARCHITECTURES, network.in_(trained)),
        ):
            self._table(table, sa.true() if whole else wanted, dict, unless_known=True)

    def _evaluations(self, where: sa.ColumnElement[bool], move: int) -> dict[int, int]:
        """Copy evaluations and their curves; return the target's ids of the source's."""
        self._table(_EVALUATIONS, where, partial(self._arrived, move=move), unless_known=True)
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, *_KEY)
        wanted = self.old.execute(sa.select(*columns).where(where)).all()
        stored = self._stored([row.architecture_id for row in wanted])
        by_id = {
            row.id: stored[(row.architecture_id, row.recipe_hash, row.fidelity)] for row in wanted
        }
        ids = {old: row.id for old, row in by_id.items()}
        present = {old for old, new in ids.items() if new != old + move}
        better = {
            row.id: by_id[row.id]
            for row in wanted
            if row.id in present and _is_better(row.state, by_id[row.id].state)
        }
        improved = self._improve(better, move)
        self.known, self.improved = len(present), len(improved)
        left_out = present - improved

        def point(row: Row) -> Row | None:
            old = row["evaluation_id"]
            return None if old in left_out else row | {"evaluation_id": ids[old]}

        mine = _CURVES.c.evaluation_id.in_(sa.select(_EVALUATIONS.c.id).where(where))
        self._table(_CURVES, mine, point)
        return ids

    def _arrived(self, row: Row, *, move: int) -> Row:
        """Return an evaluation as it begins in the target: nobody holds a lease on it there."""
        study = self.studies[row["study_id"]] if row["study_id"] in self.ours else None
        changed: Row = {"id": row["id"] + move, "study_id": study, "expires_at": None}
        if row["checkpoint"]:
            changed["checkpoint"] = places.found(row["checkpoint"], places.home(self.old))
        if study is None:
            changed |= {"number": None}
        if row["state"] == "running" and study is not None:
            changed |= {"worker": "", "expires_at": 0.0}  # let go: whoever wants it takes it over
        elif row["state"] == "running":
            changed |= {"state": "failed", "reason": LEFT_BEHIND, "finished": schema.utc_now()}
        return row | changed

    def _stored(self, architectures: Iterable[str]) -> dict[tuple[str, str, int], Any]:
        """Return the target's evaluations of these networks by their keys."""
        columns = (_EVALUATIONS.c.id, _EVALUATIONS.c.state, _EVALUATIONS.c.attempt, *_KEY)
        return {
            (row.architecture_id, row.recipe_hash, row.fidelity): row
            for part in _chunks(list(dict.fromkeys(architectures)))
            for row in self.new.execute(sa.select(*columns).where(_KEY[0].in_(part)))
        }

    def _improve(self, better: Mapping[int, Any], move: int) -> set[int]:
        """Give the target's evaluations the source's better ends, unless they have moved on."""
        improved, c = set(), _EVALUATIONS.c
        for part in _chunks(list(better)):
            for row in self.old.execute(sa.select(_EVALUATIONS).where(c.id.in_(part))):
                stored = better[row.id]
                values = self._arrived(dict(row._mapping), move=move)
                values["attempt"] = max(values["attempt"], stored.attempt + 1)  # fences its worker
                del values["id"]
                same = (c.id == stored.id, c.state == stored.state, c.attempt == stored.attempt)
                if self.new.execute(_EVALUATIONS.update().where(*same).values(values)).rowcount:
                    self.new.execute(_CURVES.delete().where(_CURVES.c.evaluation_id == stored.id))
                    improved.add(row.id)
        return improved

    def _jobs(self) -> list[str]:
        """Return the jobs that were submitted for the studies."""
        rows = self.old.execute(sa.select(schema.JOBS.c.id, schema.JOBS.c.words))
        return [row.id for row in rows if set(_studies_in(row.words)) & set(self.ids)]

    def _table(
        self,
        table: sa.Table,
        where: sa.ColumnElement[bool],
        change: Callable[[Row], Row | None],
        *,
        unless_known: bool = False,
    ) -> None:
        """Copy the selected rows of a table; the target gives the ids that nothing refers to."""
        counting = sa.select(sa.func.count()).select_from(table).where(where)
        total, done = self.old.execute(counting).scalar_one(), 0
        rows_of = plain.select(table).where(where).order_by(*table.primary_key)
        surrogate = _surrogate(table)
        with closing(plain.read(self.old, rows_of)) as batches:  # a server's cursor is open
            for batch in batches if total else ():
                with engines.translated(self.source, "read"):  # it may be damaged
                    rows = [row for row in map(change, batch) if row is not None]
                for row in rows if surrogate is not None else ():
                    del row[str(surrogate)]
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
