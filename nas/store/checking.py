"""Is a store whole? Its versions, its tables, and whether its rows agree with each other.

Everything is read at one instant, so workers may write meanwhile.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from nas.cost import Cost
from nas.store import engine as engines
from nas.store import mariadb, migrate, plain, queries
from nas.store.models import Base
from nas.store.records import Score, StoredArchitecture
from nas.store.snapshot import snapshot

EXAMPLES = 3
_OPTUNAS = (
    "studies", "study_directions", "study_user_attributes", "study_system_attributes", "trials",
    "trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes",
    "trial_system_attributes", "trial_heartbeats", "version_info",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What a check found: how often, where for example, and what helps.

    `wrong` is False for what ordinary work leaves behind and the next search takes care of.
    """

    what: str
    count: int
    examples: tuple[str, ...]
    cure: str
    wrong: bool = True


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known of a store; `optuna` and `revision` are (found, expected)."""

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
    select: str
    wrong: bool = True


_REPAIR = "nas store check --repair"
_OWNED = (  # a trial and the evaluation that it trains or trained itself
    " FROM nas_trials t JOIN trials o ON o.trial_id = t.trial_id"
    " JOIN nas_evaluations e ON e.id = t.evaluation_id AND e.study_id = t.study_id"
    " AND e.number = t.number JOIN nas_studies s ON s.id = t.study_id"
)
_DELETED = (
    "SELECT n.name AS study, CAST(NULL AS INTEGER) AS number FROM nas_studies n WHERE NOT EXISTS"
    " (SELECT 1 FROM studies o WHERE o.study_id = n.id AND o.study_name = n.name)"
)
_RULES = (
    _Rule(
        "trials without evaluation", "a person",
        "SELECT s.name AS study, o.number FROM trials o JOIN nas_studies s ON s.id = o.study_id"
        " JOIN studies p ON p.study_id = s.id AND p.study_name = s.name"
        " WHERE o.state <> 'WAITING'"
        " AND NOT EXISTS (SELECT 1 FROM nas_trials t WHERE t.trial_id = o.trial_id)",
    ),
    _Rule(
        "evaluations without trial", _REPAIR,
        "SELECT s.name AS study, e.number FROM nas_evaluations e"
        " LEFT JOIN nas_studies s ON s.id = e.study_id WHERE e.number IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM nas_trials t WHERE t.evaluation_id = e.id AND t.study_id = e.study_id"
        " AND t.number = e.number)",
    ),
    _Rule(
        "evaluations that were claimed and never begun", "the next search that wants them",
        "SELECT s.name AS study, e.number FROM nas_evaluations e"
        " LEFT JOIN nas_studies s ON s.id = e.study_id WHERE e.state = 'running'"
        " AND e.number IS NULL AND e.expires_at < {now}",
        False,
    ),
    _Rule(
        "trials that have ended and were not told so", _REPAIR,
        "SELECT s.name AS study, t.number FROM nas_trials t"
        " JOIN trials o ON o.trial_id = t.trial_id JOIN nas_evaluations e"
        " ON e.id = t.evaluation_id JOIN nas_studies s ON s.id = t.study_id"
        " WHERE o.state = 'RUNNING' AND e.state <> 'running'",
    ),
    _Rule(
        "running trials whose worker is gone", "nas resume",
        f"SELECT s.name AS study, t.number{_OWNED} WHERE o.state = 'RUNNING'"
        " AND e.state = 'running' AND e.expires_at < {now}",
        False,
    ),
    _Rule(
        "running evaluations without a lease", "a person: no worker may take them over",
        "SELECT s.name AS study, e.number FROM nas_evaluations e"
        " LEFT JOIN nas_studies s ON s.id = e.study_id"
        " WHERE e.state = 'running' AND e.expires_at IS NULL",
    ),
    _Rule(
        "trials that were told another end than their evaluation has", "a person",
        f"SELECT s.name AS study, t.number{_OWNED} WHERE o.state <> 'RUNNING' AND NOT ("
        "e.state = 'complete' AND o.state IN ('COMPLETE', 'PRUNED')"
        " OR e.state = 'pruned' AND o.state = 'PRUNED' OR e.state = 'failed' AND o.state = 'FAIL')",
    ),
    _Rule(
        "complete trials without a value", "a person",
        "SELECT s.name AS study, o.number FROM trials o JOIN nas_studies s ON s.id = o.study_id"
        " WHERE o.state = 'COMPLETE' AND NOT EXISTS"
        " (SELECT 1 FROM trial_values v WHERE v.trial_id = o.trial_id)",
    ),
    _Rule(
        "trials whose intermediate values lack epochs of their curve", "a person",
        f"SELECT s.name AS study, t.number{_OWNED} WHERE EXISTS (SELECT 1 FROM nas_curve_points c"
        " WHERE c.evaluation_id = e.id AND NOT EXISTS (SELECT 1 FROM trial_intermediate_values i"
        " WHERE i.trial_id = t.trial_id AND i.step = c.epoch))",
    ),
    _Rule(
        "trials with intermediate values that their curve lacks", "a person",
        f"SELECT s.name AS study, t.number{_OWNED} WHERE EXISTS (SELECT 1 FROM"
        " trial_intermediate_values i WHERE i.trial_id = t.trial_id AND NOT EXISTS (SELECT 1"
        " FROM nas_curve_points c WHERE c.evaluation_id = e.id AND c.epoch = i.step))",
    ),
    _Rule(
        "trials with another number in our tables than in Optuna's", _REPAIR,
        "SELECT s.name AS study, t.number FROM nas_trials t JOIN nas_studies s"
        " ON s.id = t.study_id JOIN trials o ON o.trial_id = t.trial_id"
        " WHERE o.number <> t.number OR o.study_id <> t.study_id",
    ),
    _Rule(
        "trials that share a number", "a person",
        "SELECT p.study_name AS study, o.number FROM trials o JOIN studies p"
        " ON p.study_id = o.study_id GROUP BY p.study_name, o.number HAVING count(*) > 1",
    ),
    _Rule(
        "studies whose trials' numbers have gaps", "a person",
        "SELECT p.study_name AS study, CAST(NULL AS INTEGER) AS number FROM trials o"
        " JOIN studies p ON p.study_id = o.study_id GROUP BY p.study_name"
        " HAVING count(DISTINCT o.number) <> max(o.number) + 1",
    ),
    _Rule("studies that were deleted in Optuna", f"the next search, or {_REPAIR}", _DELETED, False),
    _Rule(
        "rows of trials that are gone", _REPAIR,
        "SELECT s.name AS study, t.number FROM nas_trials t JOIN nas_studies s"
        " ON s.id = t.study_id JOIN studies p ON p.study_id = s.id AND p.study_name = s.name"
        " WHERE NOT EXISTS (SELECT 1 FROM trials o WHERE o.trial_id = t.trial_id)",
    ),
)  # fmt: skip


def check(url: str, score_of: Callable[[Mapping[str, Any]], Score | None]) -> Health:
    """Look a store over; raise StoreError where it can't be reached or is none.

    `score_of` makes a study's objective of its configuration, None where that can't be read.
    """
    parsed = engines.parse(url)
    with snapshot(url) as connection:
        optuna = (_optuna_revision(connection), _optuna_head())
        revision = (migrate.revision(connection), migrate.head())
        missing = [name for name in _tables() if not sa.inspect(connection).has_table(name)]
        findings = list(_versions(optuna, revision, missing))
        if not missing and revision[0] == revision[1]:
            findings += _broken(connection, _RULES)
            findings += _misshown(connection, score_of)
        if engines.sqlite_file(parsed) is not None:
            findings += _of_the_file(connection)
        return Health(
            store=engines.masked(parsed),
            server=_server(connection),
            journal=_journal(connection),
            optuna=optuna,
            revision=revision,
            rows={name: _count(connection, name) for name in _tables() if name not in missing},
            findings=tuple(findings),
        )


def _tables() -> list[str]:
    return [*_OPTUNAS, *Base.metadata.tables]


def _count(connection: sa.Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def _server(connection: sa.Connection) -> str:
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar_one()}"
    if connection.dialect.name == mariadb.NAME:
        version = connection.exec_driver_sql("SELECT version()").scalar_one()
        return f"MariaDB {str(version).partition('-')[0]}"
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    return f"PostgreSQL {version}"


def _journal(connection: sa.Connection) -> str | None:
    if connection.dialect.name != "sqlite":
        return None
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def _optuna_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


@cache
def _optuna_head() -> str:
    from alembic.script import ScriptDirectory
    from optuna.storages import _rdb

    folder = Path(str(_rdb.__file__)).parent / "alembic"
    return str(ScriptDirectory(str(folder)).get_current_head())


def _versions(
    optuna: tuple[str | None, str], revision: tuple[str | None, str], missing: list[str]
) -> Iterator[Finding]:
    for what, (found, expected) in {"Optuna's": optuna, "nas's": revision}.items():
        if found != expected:
            said = f"{what} tables have revision {found}, not {expected}"
            yield Finding(said, 1, (), "nas store upgrade, or a newer nas")
    if missing:
        yield Finding("tables are missing", len(missing), tuple(missing), "nas store init")


def _broken(connection: sa.Connection, rules: Iterable[_Rule]) -> Iterator[Finding]:
    """Yield a finding for every rule that rows break."""
    now = engines.database_seconds(connection)
    for rule in rules:
        select = rule.select.replace("{now}", str(now))
        count = connection.exec_driver_sql(f"SELECT count(*) FROM ({select}) found").scalar_one()
        if count:
            some = f"{select} ORDER BY 1, 2 LIMIT {EXAMPLES}"
            rows = connection.exec_driver_sql(some).all()
            names = tuple(_named(row.study, row.number) for row in rows)
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
        numbers = {number for number, *_ in _differing(connection, info, score)}
        wrong += [_named(info.name, number) for number in sorted(numbers)]
    if unread:
        what = "studies whose configuration this nas can't read: their values are not compared"
        yield Finding(what, len(unread), tuple(unread[:EXAMPLES]), "a newer nas", False)
    if wrong:
        what = "trials whose intermediate values are not what their metrics give"
        yield Finding(what, len(wrong), tuple(wrong[:EXAMPLES]), "a person")


def _differing(
    connection: sa.Connection, info: queries.StudyInfo, score: Score
) -> Iterator[tuple[int, int]]:
    """Yield the number and the epoch of each value that is not its metrics' score."""
    architecture = "a.json" if info.config.get("latency") else "'{}'"  # else it has no say
    statement = sa.text(
        "SELECT t.number, c.epoch, c.metrics, i.intermediate_value,"
        " i.intermediate_value_type AS kind, a.macs, a.params, a.activations,"
        f" a.peak_activation_bytes, {architecture} AS architecture{_OWNED}"
        " JOIN nas_architectures a ON a.id = e.architecture_id"
        " JOIN nas_curve_points c ON c.evaluation_id = e.id"
        " JOIN trial_intermediate_values i ON i.trial_id = t.trial_id AND i.step = c.epoch"
        " WHERE t.study_id = :study"
    )
    streamed = statement.execution_options(yield_per=plain.BATCH)
    for row in connection.execute(streamed, {"study": info.id}):
        cost = Cost(row.macs, row.params, row.activations, row.peak_activation_bytes)
        of = StoredArchitecture(cost=cost, architecture_json=_loaded(row.architecture))
        value = score(_loaded(row.metrics), of)
        if not _is_same(row.kind, row.intermediate_value, value):
            yield row.number, row.epoch


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _is_same(kind: str, stored: float | None, value: float) -> bool:
    if kind == "FINITE":
        return stored is not None and math.isclose(stored, value, rel_tol=1e-9, abs_tol=1e-12)
    infinite = {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind)
    return math.isnan(value) if infinite is None else value == infinite


def _of_the_file(connection: sa.Connection) -> Iterator[Finding]:
    damage = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all()
    if damage != ["ok"]:
        cure = "a backup: the file is damaged"
        yield Finding("SQLite finds damage", len(damage), tuple(map(str, damage)), cure)
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if orphans:
        names = [f"{child} refers to {parent}" for child, _, parent, _ in orphans]
        some = tuple(dict.fromkeys(names))[:EXAMPLES]
        yield Finding("rows that refer to rows that are gone", len(orphans), some, "a person")
    if _journal(connection) != "wal":
        cure = "the next search switches it on"
        yield Finding("SQLite does not write ahead (WAL)", 1, (), cure, False)


def _named(study: str | None, number: int | None) -> str:
    name = study or "a deleted study"
    return name if number is None else f"{name}/{number}"
