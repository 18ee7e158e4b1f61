"""The `nas_` tables, and of Optuna's tables the columns that we read.

A trial's state and value are Optuna's and not repeated in ours.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

# Keys of user attributes of a study in Optuna's table: its guards' warnings, its data's facts, and,
# as a prefix, the verdicts on what was exported.
WARNINGS, DATA, EXPORT = "warnings", "data", "export"
VERSION_TABLE = "nas_alembic_version"
METADATA = sa.MetaData(  # the names of constraints, so that migrations can refer to them
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_JSON = sa.JSON(none_as_null=True)


def utc_now() -> datetime:
    """Return the time as it is stored: naive UTC, as in Optuna's tables."""
    return datetime.now(UTC).replace(tzinfo=None)


def is_id(text: str) -> bool:
    """Tell whether a text from outside can be the id of a row of the service.

    A database refuses some texts, such as one with a NUL.
    """
    return text.isascii() and text.isalnum() and len(text) <= 32


def _given(name: str, *type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, *type_, nullable=False, **options)


def _time(name: str = "created") -> sa.Column[datetime]:
    return _given(name, sa.DateTime(), default=utc_now)


def _key(name: str, type_: Any) -> sa.Column[Any]:
    return sa.Column(name, type_, primary_key=True, autoincrement=False)


def _partial(name: str, column: str, condition: str) -> sa.Index:
    """Return an index over a study's rows that fulfil a condition."""
    where = sa.text(condition)
    return sa.Index(name, "study_id", column, sqlite_where=where, postgresql_where=where)


# `config` is the meaning of a study; `id` is the id of Optuna's study of the same name.
STUDIES = sa.Table(
    "nas_studies",
    METADATA,
    _key("id", sa.Integer()),
    _given("name", sa.String(512), unique=True),
    _given("config", _JSON),
    _time(),
)

# The same network has one row in all studies.
ARCHITECTURES = sa.Table(
    "nas_architectures",
    METADATA,
    _key("id", sa.String(64)),
    _given("json", _JSON),
    _given("notation", sa.Text()),
    _given("macs", sa.BigInteger()),
    _given("params", sa.BigInteger()),
    _given("activations", sa.BigInteger()),
    _given("peak_activation_bytes", sa.BigInteger()),
    _time(),
)

# A recipe's key is the hash of its content.
RECIPES = sa.Table(
    "nas_recipes", METADATA, _key("hash", sa.String(64)), _given("json", _JSON), _time()
)

# One architecture under one recipe at one fidelity, and while it is trained the lease on it.
# `study_id` and `number` name the trial that trains or trained it. `attempt` fences: a write with
# an older number than the row's is refused. `deaths` counts the workers that died over it since its
# last epoch; `worker` is '' after a release. `expires_at` is in the database's Unix seconds. When a
# study is deleted, its evaluations stay for the others, without `study_id` and `number`.
EVALUATIONS = sa.Table(
    "nas_evaluations",
    METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    _given("architecture_id", sa.ForeignKey("nas_architectures.id")),
    _given("recipe_hash", sa.ForeignKey("nas_recipes.hash")),
    _given("fidelity", sa.Integer()),
    _given("state", sa.String(16)),
    sa.Column("study_id", sa.ForeignKey("nas_studies.id"), index=True),
    sa.Column("number", sa.Integer()),
    _given("worker", sa.String(255)),
    _given("attempt", sa.Integer()),
    _given("deaths", sa.Integer(), default=0),
    sa.Column("expires_at", sa.Double()),
    sa.Column("metrics", _JSON),
    sa.Column("reason", sa.Text()),
    sa.Column("seconds", sa.Double()),
    sa.Column("checkpoint", sa.Text()),
    _time(),
    sa.Column("finished", sa.DateTime()),
    sa.UniqueConstraint("architecture_id", "recipe_hash", "fidelity"),
    sa.Index(None, "study_id", "state", "fidelity"),
)

# The validation metrics after one epoch of an evaluation.
CURVE_POINTS = sa.Table(
    "nas_curve_points",
    METADATA,
    sa.Column("evaluation_id", sa.ForeignKey("nas_evaluations.id"), primary_key=True),
    _key("epoch", sa.Integer()),
    _given("metrics", _JSON),
    sa.Column("train_loss", sa.Double()),
    _given("seconds", sa.Double()),
    sa.Column("learning_rate", sa.Double()),
    _time(),
)

# The evaluation behind a trial; `trial_id` is Optuna's. `promoted_from` is the number of the trial,
# at a lower fidelity, that this trial continues.
TRIALS = sa.Table(
    "nas_trials",
    METADATA,
    _key("trial_id", sa.Integer()),
    _given("study_id", sa.ForeignKey("nas_studies.id")),
    _given("number", sa.Integer()),
    _given("evaluation_id", sa.ForeignKey("nas_evaluations.id"), index=True),
    sa.Column("reused_from", sa.Text()),
    sa.Column("promoted_from", sa.Integer()),
    sa.UniqueConstraint("study_id", "number"),
    _partial("ix_nas_trials_reused", "trial_id", "reused_from IS NOT NULL"),
    _partial("ix_nas_trials_promoted", "promoted_from", "promoted_from IS NOT NULL"),
)

TEST_LOOKS = sa.Table(
    "nas_test_looks",
    METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    _given("study_id", sa.ForeignKey("nas_studies.id"), index=True),
    _given("evaluation_id", sa.ForeignKey("nas_evaluations.id")),
    _given("metrics", _JSON),
    _time(),
)

# The files that a study made, such as the winner's code or its weights.
ARTIFACTS = sa.Table(
    "nas_artifacts",
    METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    _given("study_id", sa.ForeignKey("nas_studies.id")),
    _given("kind", sa.String(64)),
    _given("path", sa.String(1024)),
    _time(),
    sa.UniqueConstraint("study_id", "kind", "path"),
)

# Searches submitted to a cluster, whose head forgets its jobs when it dies. `id` is the submission
# id, `address` the head's without credentials, `words` the search's command line without the
# store's password, `state` the last that the cluster said of it.
JOBS = sa.Table(
    "nas_jobs",
    METADATA,
    _key("id", sa.String(128)),
    _given("address", sa.String(512)),
    _given("words", _JSON),
    _given("state", sa.String(16)),
    sa.Column("message", sa.Text()),
    _time(),
    _time("changed"),
)

# Who may use the service. `digest` is the SHA-256 of a random secret of 256 bits that is nowhere
# stored; tokens with the same `owner` see the same searches. The last three are quotas.
TOKENS = sa.Table(
    "nas_tokens",
    METADATA,
    _key("id", sa.String(32)),
    _given("name", sa.String(64)),
    _given("owner", sa.String(64)),
    _given("digest", sa.String(64)),
    _given("scopes", _JSON),
    _given("running", sa.Integer()),
    _given("queued", sa.Integer()),
    _given("upload_bytes", sa.BigInteger()),
    _time(),
    sa.Column("expires", sa.DateTime()),
    sa.Column("revoked", sa.DateTime()),
)

# The queue of searches. `id` is the name of the search's study, `asked` the options as its owner
# gave them, `options` those that a worker runs. `attempt`, `worker`, `expires_at` and `deaths` are
# a lease as evaluations have it; `seconds` is how long workers have run it in all.
SEARCHES = sa.Table(
    "nas_searches",
    METADATA,
    _key("id", sa.String(32)),
    _given("token_id", sa.ForeignKey("nas_tokens.id"), index=True),
    _given("owner", sa.String(64)),
    _given("title", sa.String(255)),
    _given("asked", _JSON),
    _given("options", _JSON),
    sa.Column("client_key", sa.String(128)),
    _given("priority", sa.Integer()),
    _given("state", sa.String(16), index=True),
    sa.Column("message", sa.Text()),
    _given("worker", sa.String(255), default=""),
    _given("attempt", sa.Integer(), default=0),
    _given("deaths", sa.Integer(), default=0),
    sa.Column("expires_at", sa.Double()),
    _given("seconds", sa.Double(), default=0.0),
    _time(),
    sa.Column("started", sa.DateTime()),
    sa.Column("finished", sa.DateTime()),
    _time("changed"),
    sa.UniqueConstraint("owner", "client_key"),
)

# Data that was sent to the service; the file's name on its disk is `digest`, the content's SHA-256.
UPLOADS = sa.Table(
    "nas_uploads",
    METADATA,
    _key("id", sa.String(32)),
    _given("token_id", sa.ForeignKey("nas_tokens.id"), index=True),
    _given("owner", sa.String(64)),
    _given("name", sa.String(255)),
    _given("digest", sa.String(64)),
    _given("size", sa.BigInteger()),
    _given("facts", _JSON),
    _time(),
    _given("expires", sa.DateTime()),
    sa.UniqueConstraint("owner", "digest"),
)

# Who did something, and how it ended; `who` is a token's id, or the command line.
AUDIT = sa.Table(
    "nas_audit",
    METADATA,
    sa.Column("id", sa.Integer(), primary_key=True),
    _given("who", sa.String(64), index=True),
    _given("action", sa.String(64)),
    _given("subject", sa.String(255)),
    _given("outcome", sa.String(64)),
    _time(),
)

# Optuna's tables, declared here because importing Optuna's own declarations takes a second.
OPTUNA_STUDIES = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
OPTUNA_STUDY_ATTRIBUTES = sa.table(
    "study_user_attributes", *map(sa.column, ("study_id", "key", "value_json"))
)
OPTUNA_TRIALS = sa.table(
    "trials",
    *(sa.column(name) for name in ("trial_id", "study_id", "number")),
    sa.column(
        "state", sa.Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate")
    ),
    sa.column("datetime_complete", sa.DateTime()),
)
OPTUNA_VALUES = sa.table(
    "trial_values", sa.column("trial_id"), sa.column("objective"), sa.column("value", sa.Double())
)
OPTUNA_USER_ATTRIBUTES = sa.table(
    "trial_user_attributes", *map(sa.column, ("trial_id", "key", "value_json"))
)
