"""Jobs: what was submitted to a cluster, which forgets it when its head dies."""

import sqlalchemy as sa
from alembic import op

from nas.store.types import TEXT, TIME

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_jobs",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("address", sa.String(length=512), nullable=False),
        sa.Column("words", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("message", TEXT, nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("changed", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_jobs"),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("nas_jobs")
