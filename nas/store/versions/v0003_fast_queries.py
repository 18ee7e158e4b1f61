"""Indexes that keep questions short at 100,000 trials; which trial another goes on from."""

import sqlalchemy as sa
from alembic import op

from nas.store.indexes import drop_on_optunas, make_on_optunas

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PROMOTED = (
    "UPDATE nas_trials SET promoted_from = (SELECT CAST(u.value_json AS INTEGER)"
    " FROM trial_user_attributes u WHERE u.trial_id = nas_trials.trial_id"
    " AND u.key = 'promoted_from') WHERE EXISTS (SELECT 1 FROM trial_user_attributes u"
    " WHERE u.trial_id = nas_trials.trial_id AND u.key = 'promoted_from')"
)


def upgrade() -> None:
    connection = op.get_bind()
    there = {column["name"] for column in sa.inspect(connection).get_columns("nas_trials")}
    if "promoted_from" not in there:
        op.add_column("nas_trials", sa.Column("promoted_from", sa.Integer(), nullable=True))
    for name, column in (("reused", "trial_id"), ("promoted", "promoted_from")):
        kept = sa.text(f"{name}_from IS NOT NULL")
        op.create_index(
            f"ix_nas_trials_{name}",
            "nas_trials",
            ["study_id", column],
            sqlite_where=kept,
            postgresql_where=kept,
            if_not_exists=True,
        )
    op.create_index(
        "ix_nas_evaluations_study_id_state_fidelity",
        "nas_evaluations",
        ["study_id", "state", "fidelity"],
        if_not_exists=True,
    )
    if sa.inspect(connection).has_table("trials"):  # Optuna makes its tables after ours
        connection.execute(sa.text(_PROMOTED))
        make_on_optunas(connection)


def downgrade() -> None:
    drop_on_optunas(op.get_bind())
    op.drop_index("ix_nas_evaluations_study_id_state_fidelity", table_name="nas_evaluations")
    for name in ("promoted", "reused"):
        op.drop_index(f"ix_nas_trials_{name}", table_name="nas_trials")
    op.drop_column("nas_trials", "promoted_from")
