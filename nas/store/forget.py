"""Forget studies that Optuna has deleted: its dashboard can, and SQLite gives ids out again.

Evaluations stay, for other studies to reuse; they belong to no study any more.
"""

import sqlalchemy as sa

from nas.store import schema

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
    """Forget the studies and trials that Optuna no longer has, on an open transaction."""
    for statement in _STATEMENTS:
        connection.execute(statement, {"now": schema.utc_now()} if statement.is_update else {})
