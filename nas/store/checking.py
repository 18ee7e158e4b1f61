"""Is a store whole? Its versions, its tables, and whether its rows agree with each other.

Everything is read at one instant, so workers may write meanwhile.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas.errors import UNREADABLE
from nas.store import dialects, history, jobs, migrate, queries, schema, searches, shape
from nas.store import engine as engines
from nas.store.dialects import DatabaseSeconds
from nas.store.shape import Broken

EXAMPLES = 3
DAMAGED = "SQLite finds damage"
_REVISION = re.compile(r'^(down_)?revision = "(.+)"$', re.MULTILINE)
Compare = Callable[[sa.Connection], Iterator[Broken]]
"""Yields each row whose content is not what it says it is."""


@dataclass(frozen=True)
class Finding:
    """A fault: how often it occurs, examples of where, and what helps.

    `wrong` is False for a trace of ordinary work that the next search removes.
    """

    what: str
    count: int
    examples: tuple[str, ...]
    cure: str
    wrong: bool = True


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of a store; `optuna` and `revision` are (stored, expected)."""

    store: str
    server: str
    journal: str | None
    optuna: tuple[str | None, str]
    revision: tuple[str | None, str]
    rows: Mapping[str, int]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def is_well(self) -> bool:
        """Tell whether nothing is wrong."""
        return not any(finding.wrong for finding in self.findings)


class _Rule(NamedTuple):
    """A SELECT of `study` and `number` (of a trial) whose rows break a rule."""

    what: str
    cure: str
    select: sa.Select[Any]
    wrong: bool = True


_REPAIR = "nas store check --repair"
_PERSON = "a person"
_s, _e, _t = schema.STUDIES.c, schema.EVALUATIONS.c, schema.TRIALS.c
_o, _p = schema.OPTUNA_TRIALS.c, schema.OPTUNA_STUDIES.c
_d = history.TABLES["study_directions"].c
_NO_NUMBER = sa.null().label("number")
_SAME_STUDY = (_p.study_id == _s.id) & (_p.study_name == _s.name)
_OF_TRIALS = schema.TRIALS.join(schema.STUDIES, _s.id == _t.study_id).join(
    schema.OPTUNA_TRIALS, _o.trial_id == _t.trial_id
)
_OWNED = _OF_TRIALS.join(  # a trial and the evaluation that it trains or trained itself
    schema.EVALUATIONS,
    (_e.id == _t.evaluation_id) & (_e.study_id == _t.study_id) & (_e.number == _t.number),
)
_evaluations = sa.select(_s.name.label("study"), _e.number).select_from(
    schema.EVALUATIONS.outerjoin(schema.STUDIES, _s.id == _e.study_id)
)
_optunas = sa.select(_s.name.label("study"), _o.number).select_from(
    schema.OPTUNA_TRIALS.join(schema.STUDIES, _s.id == _o.study_id)
)
_ours = sa.select(_s.name.label("study"), _t.number)
_owned = _ours.select_from(_OWNED)
_in_optuna = sa.select(_p.study_name.label("study"))
_of_optuna = schema.OPTUNA_TRIALS.join(schema.OPTUNA_STUDIES, _p.study_id == _o.study_id)
_RULES = (
    _Rule(
        "trials without evaluation", _PERSON,
        _optunas.join(schema.OPTUNA_STUDIES, _SAME_STUDY)
        .where(_o.state != "WAITING", ~sa.exists().where(_t.trial_id == _o.trial_id)),
    ),
    _Rule(
        "evaluations without trial", _REPAIR,
        _evaluations.where(_e.number.is_not(None), ~sa.exists().where(
            _t.evaluation_id == _e.id, _t.study_id == _e.study_id, _t.number == _e.number)),
    ),
    _Rule(
        "evaluations that lack the number of their trial", _PERSON,
        _evaluations.where(_e.number.is_(None), sa.exists().where(
            _t.evaluation_id == _e.id, _t.study_id == _e.study_id)),
    ),
    _Rule(
        "evaluations that were claimed and never begun", "the next search that wants them",
        _evaluations.where(
            _e.state == "running", _e.number.is_(None), _e.expires_at < DatabaseSeconds()),
        False,
    ),
    _Rule(
        "trials that have ended and were not told so", _REPAIR,
        _ours.select_from(_OF_TRIALS.join(schema.EVALUATIONS, _e.id == _t.evaluation_id))
        .where(_o.state == "RUNNING", _e.state != "running"),
    ),
    _Rule(
        "running trials whose worker is gone", "nas resume",
        _owned.where(
            _o.state == "RUNNING", _e.state == "running", _e.expires_at < DatabaseSeconds()),
        False,
    ),
    _Rule(
        "trials that were told another end than their evaluation has", _PERSON,
        _owned.where(_o.state != "RUNNING", ~sa.or_(
            (_e.state == "complete") & _o.state.in_(("COMPLETE", "PRUNED")),
            (_e.state == "pruned") & (_o.state == "PRUNED"),
            (_e.state == "failed") & (_o.state == "FAIL"))),
    ),
    _Rule(
        "trials with another number in our tables than in Optuna's", _REPAIR,
        _ours.select_from(_OF_TRIALS)
        .where((_o.number != _t.number) | (_o.study_id != _t.study_id)),
    ),
    _Rule(
        "studies that do not maximise one value", _PERSON,
        sa.select(_s.name.label("study"), _NO_NUMBER).where(sa.exists().where(_SAME_STUDY))
        .where(~sa.exists().where(
            _d.study_id == _s.id, _d.objective == 0, _d.direction == "MAXIMIZE")),
    ),
    _Rule(
        "studies with another name in our tables than in Optuna's", _PERSON,
        sa.select(_s.name.label("study"), _NO_NUMBER).where(
            _p.study_id == _s.id, _p.study_name != _s.name,
            sa.exists().where(_t.study_id == _s.id, _o.trial_id == _t.trial_id,
                              _o.study_id == _s.id, _o.number == _t.number)),
    ),
    _Rule(
        "looks at the test split of networks that are not complete", _PERSON,
        sa.select(_s.name.label("study"), _NO_NUMBER).join_from(schema.TEST_LOOKS, schema.STUDIES)
        .join(schema.EVALUATIONS, _e.id == schema.TEST_LOOKS.c.evaluation_id)
        .where(_e.state != "complete"),
    ),
    _Rule(
        "trials that share a number", _PERSON,
        _in_optuna.add_columns(_o.number).select_from(_of_optuna)
        .group_by(_p.study_name, _o.number).having(sa.func.count() > 1),
    ),
    _Rule(
        "studies whose trials' numbers have gaps", _PERSON,
        _in_optuna.add_columns(_NO_NUMBER).select_from(_of_optuna).group_by(_p.study_name)
        .having(sa.func.count(_o.number.distinct()) != sa.func.max(_o.number) + 1),
    ),
    _Rule(
        "studies that were deleted in Optuna", f"the next search, or {_REPAIR}",
        sa.select(_s.name.label("study"), _NO_NUMBER).where(~sa.exists().where(_SAME_STUDY)),
        False,
    ),
    _Rule(
        "rows of trials that are gone", _REPAIR,
        _ours.join_from(schema.TRIALS, schema.STUDIES, _s.id == _t.study_id)
        .join(schema.OPTUNA_STUDIES, _SAME_STUDY)
        .where(~sa.exists().where(_o.trial_id == _t.trial_id)),
    ),
)  # fmt: skip


# Conditions that every row of a table fulfils, in the SQL of both databases.
_CONDITIONS = {
    "nas_studies": ("name <> ''",),
    "nas_architectures": ("macs >= 0", "params >= 0", "activations > 0"),
    "nas_evaluations": (
        "fidelity > 0",
        "deaths >= 0 AND deaths < attempt",
        "state IN ('running', 'complete', 'pruned', 'failed')",
        "(state = 'running') = (finished IS NULL)",
        "(state = 'running') = (expires_at IS NOT NULL)",
        "state = 'running' OR (study_id IS NULL) = (number IS NULL)",
        "state <> 'complete' OR metrics IS NOT NULL",
        "state <> 'failed' OR checkpoint IS NULL",
        "checkpoint <> ''",
        "seconds >= 0",
        "expires_at >= 0",
        "number >= 0",
        "worker <> '' OR state = 'running'",
    ),
    "nas_curve_points": ("epoch > 0", "seconds >= 0", "learning_rate >= 0"),
    "nas_trials": ("number >= 0", "promoted_from < number", "reused_from <> ''"),
    "nas_artifacts": ("kind <> ''", "path <> ''"),
    "nas_jobs": ("id <> ''", "address <> ''", f"state IN {jobs.STATES}"),
    "nas_tokens": ("owner <> ''", "length(digest) = 64", "running > 0", "queued >= 0"),
    "nas_searches": (
        "attempt >= 0", "deaths >= 0", "deaths <= attempt", "seconds >= 0",
        f"state IN {searches.STATES}",
        f"(state IN {searches.HELD}) = (expires_at IS NOT NULL)",
        f"(state IN {searches.HELD}) = (worker <> '')",
        f"state = 'deleting' OR (state IN {searches.ENDED}) = (finished IS NOT NULL)",
    ),
    "nas_uploads": ("length(digest) = 64", "size >= 0"),
    "nas_audit": ("who <> ''", "action <> ''"),
    "trials": (
        "number >= 0",
        "state = 'WAITING' OR datetime_start IS NOT NULL",
        "(state IN ('RUNNING', 'WAITING')) = (datetime_complete IS NULL)",
    ),
    **dict.fromkeys(
        ("study_user_attributes", "study_system_attributes", "trial_system_attributes"),
        ("key <> ''",),
    ),
    "trial_values": ("objective = 0", "(value_type = 'FINITE') = (value IS NOT NULL)"),
    "trial_intermediate_values": (
        "step > 0", "(intermediate_value_type = 'FINITE') = (intermediate_value IS NOT NULL)",
    ),
    "version_info": ("version_info_id = 1", f"schema_version = {history.SCHEMA_VERSION}"),
}  # fmt: skip


def check(url: str, compare: Compare) -> Health:
    """Look a store over; raise StoreError where it can't be reached or is none.

    `compare` yields the rows whose content is not what it says it is.
    """
    with queries.connect(url, frozen=True, newer=True) as connection:
        database, findings = dialects.of(connection), tuple(look_over(connection, compare))
        tables = (
            [] if any(finding.what == DAMAGED for finding in findings) else _present(connection)
        )
        return Health(
            store=engines.masked(url),
            server=f"{database.name} {connection.exec_driver_sql(database.version).scalar_one()}",
            journal=database.journal(connection),
            optuna=_optuna(connection),
            revision=_revision(connection),
            rows={name: _count(connection, sa.table(name)) for name in tables},
            findings=findings,
        )


def look_over(connection: sa.Connection, compare: Compare) -> Iterator[Finding]:
    """Yield all that is found in a store; the steps after one that finds a fault rest on it."""
    for step in (
        _of_the_file(connection),
        _of_versions(connection),
        _gathered(shape.differences(connection)),
        _gathered(shape.unreadable(connection)),
        chain(_of_rows(connection), _gathered(_guarded(compare(connection)))),
    ):
        findings = list(step)
        yield from findings
        if any(finding.wrong for finding in findings):
            return


def _optuna(connection: sa.Connection) -> tuple[str | None, str]:
    return migrate.revision(connection, "alembic_version"), optuna_head()


def _revision(connection: sa.Connection) -> tuple[str | None, str]:
    return migrate.revision(connection), migrate.head()


def _present(connection: sa.Connection) -> list[str]:
    missing = shape.missing(connection)
    return [name for name in shape.tables() if name not in (*missing, *shape.OF_VERSIONS)]


def _count(connection: sa.Connection, of: sa.FromClause) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(of)).scalar_one())


@cache
def optuna_head() -> str:
    """Return Optuna's newest revision, which none follows, from its files.

    Importing alembic, which knows too, takes longer than checking a small store.
    """
    texts = (
        path.read_text(encoding="utf-8") for path in (history.MIGRATIONS / "versions").glob("*.py")
    )
    stated = [each for text in texts for each in _REVISION.findall(text)]
    followed = {name for down, name in stated if down}
    (newest,) = {name for _, name in stated} - followed
    return str(newest)


def _of_the_file(connection: sa.Connection) -> Iterator[Finding]:
    database = dialects.of(connection)
    if damage := database.damage(connection):
        yield Finding(DAMAGED, len(damage), tuple(damage), "a backup: the file is damaged")
    elif database.journal(connection) not in ("wal", None):
        cure = "the next search switches it on"
        yield Finding("SQLite does not write ahead (WAL)", 1, (), cure, False)


def _of_versions(connection: sa.Connection) -> Iterator[Finding]:
    for whose, of in {"Optuna's": _optuna(connection), "nas's": _revision(connection)}.items():
        if of[0] != of[1]:
            what = f"{whose} tables have revision {of[0]}, not {of[1]}"
            yield Finding(what, 1, (), "nas store upgrade, or a newer nas")
    missing = shape.missing(connection)
    if missing:
        yield Finding("tables are missing", len(missing), tuple(missing), "nas store init")
    for name in {*shape.OF_VERSIONS, "version_info"} - {*missing}:
        if (count := _count(connection, sa.table(name))) != 1:
            yield Finding(f"rows in {name} instead of one", count, (), _PERSON)


def _of_rows(connection: sa.Connection) -> Iterator[Finding]:
    """Yield a finding for every rule that rows break."""
    if foreign := shape.foreign(connection):
        what = "tables that are neither Optuna's nor nas's"
        yield Finding(what, len(foreign), tuple(foreign[:EXAMPLES]), "nothing, if known", False)
    yield from _gathered(chain(shape.orphans(connection), _unfulfilled(connection)))
    for rule in _RULES:
        broken = rule.select.subquery("broken")
        if count := _count(connection, broken):
            some = sa.select(broken).order_by(*broken.c).limit(EXAMPLES)
            names = tuple(named(row.study, row.number) for row in connection.execute(some))
            yield Finding(rule.what, count, names, rule.cure, rule.wrong)


def _unfulfilled(connection: sa.Connection) -> Iterator[Broken]:
    """Yield the rows that do not fulfil a condition of their table."""
    for name, conditions in _CONDITIONS.items():
        table = shape.tables()[name]
        ours: sa.ColumnElement[bool] = sa.true()  # a study of another program may be otherwise
        if name in history.TABLES and "trial_id" in table.c:
            ours = table.c.trial_id.in_(sa.select(_t.trial_id))
        for condition in conditions:
            broken = sa.select(*table.primary_key).where(ours, sa.text(f"NOT ({condition})"))
            for key in connection.execute(broken):
                yield f"rows of {name} without {condition}", "/".join(map(str, key))


def _guarded(broken: Iterator[Broken]) -> Iterator[Broken]:
    """Yield the rules that rows break, the last one that some can't be read."""
    try:
        yield from broken
    except UNREADABLE as error:
        yield "rows that can't be read", f"{type(error).__name__}: {error}"


def _gathered(broken: Iterable[Broken]) -> Iterator[Finding]:
    """Yield a finding for each rule, with examples."""
    places: dict[str, list[str]] = {}
    for what, where in broken:
        places.setdefault(what, []).append(where)
    for what, all_places in places.items():
        some = tuple(islice(dict.fromkeys(all_places), EXAMPLES))
        yield Finding(what, len(all_places), some, _PERSON)


def named(study: str | None, number: int | None = None) -> str:
    """Return STUDY/NUMBER of a trial, or the study's name."""
    name = study or "a deleted study"
    return name if number is None else f"{name}/{number}"
