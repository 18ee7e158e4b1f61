"""Is a store whole? Its versions, its tables, and whether its rows agree with each other.

Everything is read at one instant, so workers may write meanwhile.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas.cost import Cost
from nas.store import dialects, history, migrate, plain, queries, schema
from nas.store import engine as engines
from nas.store.dialects import DatabaseSeconds
from nas.store.records import Score, StoredArchitecture

EXAMPLES = 3
_TABLES = [*history.TABLES, *schema.METADATA.tables]


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
_s, _e, _t, _c = schema.STUDIES.c, schema.EVALUATIONS.c, schema.TRIALS.c, schema.CURVE_POINTS.c
_o, _p, _i = schema.OPTUNA_TRIALS.c, schema.OPTUNA_STUDIES.c, history.STEPS.c
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
# The epoch of a point of the curve is shown to Optuna; the step of an intermediate value is stored.
_SHOWN = sa.exists().where(_i.trial_id == _t.trial_id, _i.step == _c.epoch)
_STORED = sa.exists().where(_c.evaluation_id == _e.id, _c.epoch == _i.step)
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
        "running evaluations without a lease", "a person: no worker may take them over",
        _evaluations.where(_e.state == "running", _e.expires_at.is_(None)),
    ),
    _Rule(
        "trials that were told another end than their evaluation has", _PERSON,
        _owned.where(_o.state != "RUNNING", ~sa.or_(
            (_e.state == "complete") & _o.state.in_(("COMPLETE", "PRUNED")),
            (_e.state == "pruned") & (_o.state == "PRUNED"),
            (_e.state == "failed") & (_o.state == "FAIL"))),
    ),
    _Rule(
        "complete trials without a value", _PERSON,
        _optunas.where(_o.state == "COMPLETE", ~sa.exists().where(
            schema.OPTUNA_VALUES.c.trial_id == _o.trial_id)),
    ),
    _Rule(
        "trials whose intermediate values lack epochs of their curve", _PERSON,
        _owned.where(sa.exists().where(
            _c.evaluation_id == _e.id, ~_SHOWN.correlate_except(history.STEPS))),
    ),
    _Rule(
        "trials with intermediate values that their curve lacks", _PERSON,
        _owned.where(sa.exists().where(
            _i.trial_id == _t.trial_id, ~_STORED.correlate_except(schema.CURVE_POINTS))),
    ),
    _Rule(
        "trials with another number in our tables than in Optuna's", _REPAIR,
        _ours.select_from(_OF_TRIALS)
        .where((_o.number != _t.number) | (_o.study_id != _t.study_id)),
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


def check(url: str, score_of: Callable[[Mapping[str, Any]], Score | None]) -> Health:
    """Look a store over; raise StoreError where it can't be reached or is none.

    `score_of` makes a study's objective of its configuration, None where that can't be read.
    """
    with queries.connect(url, frozen=True) as connection:
        database = dialects.of(connection)
        optuna = (migrate.revision(connection, "alembic_version"), _optuna_head())
        revision = (migrate.revision(connection), migrate.head())
        missing = [name for name in _TABLES if not sa.inspect(connection).has_table(name)]
        findings = list(_versions(optuna, revision, missing))
        if not missing and revision[0] == revision[1]:
            findings += _broken(connection, _RULES)
            findings += _misshown(connection, score_of)
        findings += _of_the_file(connection)
        return Health(
            store=engines.masked(url),
            server=f"{database.name} {connection.exec_driver_sql(database.version).scalar_one()}",
            journal=database.journal(connection),
            optuna=optuna,
            revision=revision,
            rows={
                name: _count(connection, sa.table(name)) for name in _TABLES if name not in missing
            },
            findings=tuple(findings),
        )


def _count(connection: sa.Connection, of: sa.FromClause) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(of)).scalar_one())


@cache
def _optuna_head() -> str:
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory(str(history.MIGRATIONS)).get_current_head())


def _versions(
    optuna: tuple[str | None, str], revision: tuple[str | None, str], missing: list[str]
) -> Iterator[Finding]:
    for whose, (stored, expected) in {"Optuna's": optuna, "nas's": revision}.items():
        if stored != expected:
            what = f"{whose} tables have revision {stored}, not {expected}"
            yield Finding(what, 1, (), "nas store upgrade, or a newer nas")
    if missing:
        yield Finding("tables are missing", len(missing), tuple(missing), "nas store init")


def _broken(connection: sa.Connection, rules: Iterable[_Rule]) -> Iterator[Finding]:
    """Yield a finding for every rule that rows break."""
    for rule in rules:
        broken = rule.select.subquery("broken")
        if count := _count(connection, broken):
            some = sa.select(broken).order_by(*broken.c).limit(EXAMPLES)
            names = tuple(_named(row.study, row.number) for row in connection.execute(some))
            yield Finding(rule.what, count, names, rule.cure, rule.wrong)


def _misshown(
    connection: sa.Connection, score_of: Callable[[Mapping[str, Any]], Score | None]
) -> Iterator[Finding]:
    """Yield a finding where Optuna shows other values than the curves' metrics give."""
    wrong, unread = [], []
    for info in queries.studies(connection):
        score = score_of(info.config)
        if score is None:
            unread.append(info.name)
            continue
        numbers = sorted(set(_differing(connection, info, score)))
        wrong += [_named(info.name, number) for number in numbers]
    if unread:
        what = "studies whose configuration this nas can't read: their values are not compared"
        yield Finding(what, len(unread), tuple(unread[:EXAMPLES]), "a newer nas", False)
    if wrong:
        what = "trials whose intermediate values are not what their metrics give"
        yield Finding(what, len(wrong), tuple(wrong[:EXAMPLES]), _PERSON)


def _differing(connection: sa.Connection, info: queries.StudyInfo, score: Score) -> Iterator[int]:
    """Yield the number of a trial for each intermediate value that is not its metrics' score."""
    a = schema.ARCHITECTURES.c
    statement = (
        sa.select(_t.number, _c.metrics, _i.intermediate_value, _i.intermediate_value_type)
        .add_columns(*(a[name] for name in Cost._fields))
        .add_columns((a.json if info.latency else sa.null()).label("architecture"))
        .select_from(
            _OWNED.join(schema.ARCHITECTURES, a.id == _e.architecture_id)
            .join(schema.CURVE_POINTS, _c.evaluation_id == _e.id)
            .join(history.STEPS, (_i.trial_id == _t.trial_id) & (_i.step == _c.epoch))
        )
        .where(_t.study_id == info.id)
    )
    for row in connection.execute(statement.execution_options(yield_per=plain.BATCH)):
        cost = Cost(*(row._mapping[name] for name in Cost._fields))
        of = StoredArchitecture(cost=cost, architecture_json=row.architecture or {})
        wanted = score(row.metrics, of)
        shown = history.step_of(row.intermediate_value, row.intermediate_value_type)
        both_missing = math.isnan(shown) and math.isnan(wanted)
        if not both_missing and not math.isclose(shown, wanted, rel_tol=1e-9, abs_tol=1e-12):
            yield row.number


def _of_the_file(connection: sa.Connection) -> Iterator[Finding]:
    database = dialects.of(connection)
    if damage := database.damage(connection):
        cure = "a backup: the file is damaged"
        yield Finding("SQLite finds damage", len(damage), tuple(damage), cure)
    if orphans := database.orphans(connection):
        some = tuple(dict.fromkeys(orphans))[:EXAMPLES]
        yield Finding("rows that refer to rows that are gone", len(orphans), some, _PERSON)
    if database.journal(connection) not in ("wal", None):
        cure = "the next search switches it on"
        yield Finding("SQLite does not write ahead (WAL)", 1, (), cure, False)


def _named(study: str | None, number: int | None) -> str:
    name = study or "a deleted study"
    return name if number is None else f"{name}/{number}"
