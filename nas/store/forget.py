"""Forget what Optuna has deleted: its dashboard deletes studies, and SQLite gives ids out again.

What was measured stays, for other studies to reuse; it belongs to no study any more.
"""

import sqlalchemy as sa

from nas.store import mariadb
from nas.store.models import utc_now

DELETED = "its study was deleted"
_GONE = (
    "SELECT n.id FROM nas_studies n WHERE NOT EXISTS"
    " (SELECT 1 FROM studies o WHERE o.study_id = n.id AND o.study_name = n.name)"
)
_GONE_TRIALS = (
    f"nas_trials WHERE study_id IN ({_GONE}) OR NOT EXISTS"
    " (SELECT 1 FROM trials o WHERE o.trial_id = nas_trials.trial_id"
    " AND o.study_id = nas_trials.study_id AND o.number = nas_trials.number)"
)
_OF_THEM = (  # of a trial that is gone, or about to be
    f" WHERE study_id IN ({_GONE}) OR (number IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM nas_trials t WHERE t.study_id = nas_evaluations.study_id"
    " AND t.number = nas_evaluations.number AND t.evaluation_id = nas_evaluations.id))"
)
_ANYTHING = [
    sa.text(f"SELECT 1 FROM {rows} LIMIT 1")
    for rows in (f"({_GONE}) gone", _GONE_TRIALS, f"nas_evaluations{_OF_THEM}")
]
_TRIALS = sa.text(f"DELETE FROM {_GONE_TRIALS}")
_EVALUATIONS = sa.text(
    "UPDATE nas_evaluations SET study_id = NULL, number = NULL, expires_at = NULL,"
    " reason = CASE state WHEN 'running' THEN :reason ELSE reason END,"
    " finished = CASE state WHEN 'running' THEN :now ELSE finished END,"
    " state = CASE state WHEN 'running' THEN 'failed' ELSE state END"
    f"{_OF_THEM}"
).bindparams(sa.bindparam("now", type_=sa.DateTime()))
_REST = [
    sa.text(f"DELETE FROM {table} WHERE {key} IN ({_GONE})")
    for table, key in (
        ("nas_artifacts", "study_id"),
        ("nas_test_looks", "study_id"),
        ("nas_studies", "id"),
    )
]


def forget_deleted(connection: sa.Connection) -> None:
    """Forget the studies and trials that Optuna no longer has, on an open transaction.

    MariaDB locks every row that a DELETE looks at, so it is asked first: mostly there is nothing.
    """
    if connection.dialect.name == mariadb.NAME and not _is_anything_gone(connection):
        return
    connection.execute(_TRIALS)
    connection.execute(_EVALUATIONS, {"reason": DELETED, "now": utc_now()})
    for statement in _REST:
        connection.execute(statement)


def _is_anything_gone(connection: sa.Connection) -> bool:
    return any(connection.execute(statement).first() is not None for statement in _ANYTHING)
