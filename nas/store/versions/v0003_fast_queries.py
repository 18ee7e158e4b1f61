"""Indexes that keep questions short at 100,000 trials; which trial another goes on from."""

import sqlalchemy as sa
from alembic import op

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
    op.add_column("nas_trials", sa.Column("promoted_from", sa.Integer(), nullable=True))
    for name, column in (("reused", "trial_id"), ("promoted", "promoted_from")):
        where = sa.text(f"{name}_from IS NOT NULL")
        op.create_index(
            f"ix_nas_trials_{name}",
            "nas_trials",
            ["study_id", column],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_index(
        "ix_nas_evaluations_study_id_state_fidelity",
        "nas_evaluations",
        ["study_id", "state", "fidelity"],
    )
    if sa.inspect(op.get_bind()).has_table("trials"):  # a store without a study may lack it
        op.get_bind().execute(sa.text(_PROMOTED))
