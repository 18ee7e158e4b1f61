"""The `nas_` tables; a trial's state and value are not here, they are Optuna's."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from nas.store.types import TEXT, TIME

PREFIX = "nas_"
VERSION_TABLE = "nas_alembic_version"


def utc_now() -> datetime:
    """Return the time as it is stored: naive UTC, as in Optuna's tables."""
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """What all tables of ours share: names of constraints that migrations can refer to."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads it from the class)
        dict[str, Any]: sa.JSON(none_as_null=True),
        float: sa.Double(),
        datetime: TIME,
    }


class StudyRow(Base):
    """What a study searches and how; `id` is the id of Optuna's study of the same name."""

    __tablename__ = "nas_studies"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(512), unique=True)
    config: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class ArchitectureRow(Base):
    """One architecture with its cost; the same network has one row in all studies."""

    __tablename__ = "nas_architectures"
    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    json: Mapped[dict[str, Any]]
    notation: Mapped[str] = mapped_column(TEXT)
    macs: Mapped[int] = mapped_column(sa.BigInteger)
    params: Mapped[int] = mapped_column(sa.BigInteger)
    activations: Mapped[int] = mapped_column(sa.BigInteger)
    peak_activation_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    created: Mapped[datetime] = mapped_column(default=utc_now)


class RecipeRow(Base):
    """One recipe under the hash of its content."""

    __tablename__ = "nas_recipes"
    hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    json: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class EvaluationRow(Base):
    """One architecture under one recipe at one fidelity, and while it runs the lease on it.

    `study_id` and `number` say which trial trains or trained it. `attempt` fences: a write with an
    older number than the row's is refused. `deaths` counts the workers that died over it since it
    last came further; `worker` is '' after a release. `expires_at` is in the database's Unix
    seconds. A deleted study leaves its evaluations to the others, without `study_id` and `number`.
    """

    __tablename__ = "nas_evaluations"
    __table_args__ = (
        sa.UniqueConstraint("architecture_id", "recipe_hash", "fidelity"),
        sa.Index(None, "study_id", "state", "fidelity"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    architecture_id: Mapped[str] = mapped_column(sa.ForeignKey("nas_architectures.id"))
    recipe_hash: Mapped[str] = mapped_column(sa.ForeignKey("nas_recipes.hash"))
    fidelity: Mapped[int]
    state: Mapped[str] = mapped_column(sa.String(16))
    study_id: Mapped[int | None] = mapped_column(sa.ForeignKey("nas_studies.id"), index=True)
    number: Mapped[int | None]
    worker: Mapped[str] = mapped_column(sa.String(255))
    attempt: Mapped[int]
    deaths: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[float | None]
    metrics: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(TEXT)
    seconds: Mapped[float | None]
    checkpoint: Mapped[str | None] = mapped_column(TEXT)
    created: Mapped[datetime] = mapped_column(default=utc_now)
    finished: Mapped[datetime | None]


class CurvePointRow(Base):
    """The validation metrics after one epoch of an evaluation."""

    __tablename__ = "nas_curve_points"
    evaluation_id: Mapped[int] = mapped_column(
        sa.ForeignKey("nas_evaluations.id"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    metrics: Mapped[dict[str, Any]]
    train_loss: Mapped[float | None]
    seconds: Mapped[float]
    learning_rate: Mapped[float | None]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class TrialRow(Base):
    """Which evaluation stands behind a trial; `trial_id` is Optuna's.

    `promoted_from` is the number of the trial, at a lower fidelity, that goes on here.
    """

    __tablename__ = "nas_trials"
    __table_args__ = (
        sa.UniqueConstraint("study_id", "number"),
        sa.Index(
            "ix_nas_trials_reused",
            "study_id",
            "trial_id",
            sqlite_where=sa.text("reused_from IS NOT NULL"),
            postgresql_where=sa.text("reused_from IS NOT NULL"),
        ),
        sa.Index(
            "ix_nas_trials_promoted",
            "study_id",
            "promoted_from",
            sqlite_where=sa.text("promoted_from IS NOT NULL"),
            postgresql_where=sa.text("promoted_from IS NOT NULL"),
        ),
    )
    trial_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    study_id: Mapped[int] = mapped_column(sa.ForeignKey("nas_studies.id"))
    number: Mapped[int]
    evaluation_id: Mapped[int] = mapped_column(sa.ForeignKey("nas_evaluations.id"), index=True)
    reused_from: Mapped[str | None] = mapped_column(TEXT)
    promoted_from: Mapped[int | None]


class TestLookRow(Base):
    """One look at the test split."""

    __test__ = False  # its name is no invitation to pytest
    __tablename__ = "nas_test_looks"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(sa.ForeignKey("nas_studies.id"), index=True)
    evaluation_id: Mapped[int] = mapped_column(sa.ForeignKey("nas_evaluations.id"))
    metrics: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class ArtifactRow(Base):
    """A file that a study made, such as the winner's code or its weights."""

    __tablename__ = "nas_artifacts"
    __table_args__ = (sa.UniqueConstraint("study_id", "kind", "path"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(sa.ForeignKey("nas_studies.id"))
    kind: Mapped[str] = mapped_column(sa.String(64))
    path: Mapped[str] = mapped_column(sa.String(1024))
    created: Mapped[datetime] = mapped_column(default=utc_now)


class JobRow(Base):
    """A search submitted to a cluster: a cluster's head forgets its jobs when it dies.

    `id` is the submission id, `address` the head's without credentials, `words` the search's
    command line without the store's password, `state` the cluster's last word on it.
    """

    __tablename__ = "nas_jobs"
    id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    address: Mapped[str] = mapped_column(sa.String(512))
    words: Mapped[list[str]] = mapped_column(sa.JSON(none_as_null=True))
    state: Mapped[str] = mapped_column(sa.String(16))
    message: Mapped[str | None] = mapped_column(TEXT)
    created: Mapped[datetime] = mapped_column(default=utc_now)
    changed: Mapped[datetime] = mapped_column(default=utc_now)
