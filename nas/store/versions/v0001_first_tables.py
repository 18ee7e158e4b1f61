"""The first tables: studies, architectures, recipes, evaluations, curves, trials, test looks."""

import sqlalchemy as sa
from alembic import op

from nas.store.types import TEXT, TIME

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_architectures",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("json", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("notation", TEXT, nullable=False),
        sa.Column("macs", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("activations", sa.BigInteger(), nullable=False),
        sa.Column("peak_activation_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_architectures"),
        if_not_exists=True,
    )
    op.create_table(
        "nas_recipes",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("json", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_nas_recipes"),
        if_not_exists=True,
    )
    op.create_table(
        "nas_studies",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("config", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_studies"),
        sa.UniqueConstraint("name", name="uq_nas_studies_name"),
        if_not_exists=True,
    )
    op.create_table(
        "nas_artifacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["nas_studies.id"], name="fk_nas_artifacts_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_nas_artifacts"),
        sa.UniqueConstraint("study_id", "kind", "path", name="uq_nas_artifacts_study_id_kind_path"),
        if_not_exists=True,
    )
    op.create_table(
        "nas_evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("recipe_hash", sa.String(length=64), nullable=False),
        sa.Column("fidelity", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("checkpoint", TEXT, nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("finished", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["architecture_id"], ["nas_architectures.id"], name="fk_nas_evaluations_architecture_id"
        ),
        sa.ForeignKeyConstraint(
            ["recipe_hash"], ["nas_recipes.hash"], name="fk_nas_evaluations_recipe_hash"
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["nas_studies.id"], name="fk_nas_evaluations_study_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_nas_evaluations"),
        sa.UniqueConstraint(
            "architecture_id",
            "recipe_hash",
            "fidelity",
            name="uq_nas_evaluations_architecture_id_recipe_hash_fidelity",
        ),
        if_not_exists=True,
    )
    op.create_index(
        "ix_nas_evaluations_study_id", "nas_evaluations", ["study_id"], if_not_exists=True
    )
    op.create_table(
        "nas_curve_points",
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["nas_evaluations.id"], name="fk_nas_curve_points_evaluation_id"
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "epoch", name="pk_nas_curve_points"),
        if_not_exists=True,
    )
    op.create_table(
        "nas_test_looks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["nas_evaluations.id"], name="fk_nas_test_looks_evaluation_id"
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["nas_studies.id"], name="fk_nas_test_looks_study_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_nas_test_looks"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_nas_test_looks_study_id", "nas_test_looks", ["study_id"], if_not_exists=True
    )
    op.create_table(
        "nas_trials",
        sa.Column("trial_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("reused_from", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["nas_evaluations.id"], name="fk_nas_trials_evaluation_id"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["nas_studies.id"], name="fk_nas_trials_study_id"),
        sa.PrimaryKeyConstraint("trial_id", name="pk_nas_trials"),
        sa.UniqueConstraint("study_id", "number", name="uq_nas_trials_study_id_number"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_nas_trials_evaluation_id", "nas_trials", ["evaluation_id"], if_not_exists=True
    )


def downgrade() -> None:
    op.drop_table("nas_trials")
    op.drop_table("nas_test_looks")
    op.drop_table("nas_curve_points")
    op.drop_table("nas_evaluations")
    op.drop_table("nas_artifacts")
    op.drop_table("nas_studies")
    op.drop_table("nas_recipes")
    op.drop_table("nas_architectures")
