"""Every read of the store, as SELECTs over Optuna's tables and ours.

The module imports neither Optuna nor Alembic nor SQLAlchemy's ORM: `nas status` starts here.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import exc

from nas.architecture import CandidateKey, Value, candidate_key
from nas.cost import Cost, Limits
from nas.errors import UNREADABLE, NotStored, StoreAway, StoreError, unknown
from nas.objective import Objective
from nas.pruners.ladder import RungTrial
from nas.store import dialects, places, schema
from nas.store import engine as engines
from nas.store.dialects import DatabaseSeconds
from nas.store.migrate import refuse_newer
from nas.store.records import (
    CurvePoint,
    Evaluation,
    GuardWarning,
    Metrics,
    StoredArchitecture,
    well_typed,
)

T = TypeVar("T")

_s, _t, _e = schema.STUDIES.c, schema.TRIALS.c, schema.EVALUATIONS.c
_a, _c = schema.ARCHITECTURES.c, schema.CURVE_POINTS.c
_o, _v, _u = schema.OPTUNA_TRIALS.c, schema.OPTUNA_VALUES.c, schema.OPTUNA_USER_ATTRIBUTES.c
_RECIPE_VALUES = schema.OPTUNA_USER_ATTRIBUTES.alias("recipe_values")
_r = _RECIPE_VALUES.c
_STUDY: sa.BindParameter[int] = sa.bindparam("study")
_MINE = _t.study_id == _STUDY
_REUSED = _t.reused_from.is_not(None)
_COST = (_a.macs, _a.params, _a.activations, _a.peak_activation_bytes)
_EVALUATED = schema.TRIALS.join(schema.EVALUATIONS, _e.id == _t.evaluation_id)
_TOLD = _EVALUATED.join(schema.OPTUNA_TRIALS, _o.trial_id == _t.trial_id)
SCORED = _TOLD.outerjoin(schema.OPTUNA_VALUES, (_v.trial_id == _t.trial_id) & (_v.objective == 0))


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """A study's name, its configuration, and when it was created (UTC).

    The properties are the parts of the configuration that are read without torch;
    `nas.config.Config.from_json` reads all of it.
    """

    id: int
    name: str
    config: Mapping[str, Any]
    created: datetime

    def _read(self, part: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            return part(self.config)
        except UNREADABLE as error:
            raise StoreError(
                f"The configuration of study {self.name!r} is damaged ({type(error).__name__}). "
                "nas store check says how."
            ) from error

    @property
    def metric(self) -> str:
        """The name of the objective's metric."""
        return self._read(lambda config: str(config["recipe"]["metric"]))

    @property
    def objective(self) -> Objective:
        """The study's objective."""
        return self._read(lambda config: Objective(**config["objective"]))

    @property
    def search(self) -> str | None:
        """The name of the study whose finalists this one trains; None for a search."""
        return self.config.get("search")

    @property
    def is_given(self) -> bool:
        """Tell whether the study trains in full networks that were given, and searches for none."""
        return self.search is None and bool(self.config.get("finalists"))

    @property
    def limits(self) -> Limits:
        """The hard limits of the study; a space may have more."""
        return self._read(lambda config: Limits(**config.get("limits", {})))

    @property
    def latency(self) -> Mapping[str, Any] | None:
        """The latency table as JSON, where the objective is about latency."""
        return self.config.get("latency")

    @property
    def folder(self) -> str | None:
        """The study's folder on the machine that began it."""
        return self.config.get("folder")

    @property
    def checkpoints(self) -> str | None:
        """The folder, or URL, of the checkpoints of all studies, where it is not the study's."""
        return self.config.get("checkpoints")

    @property
    def trials(self) -> int | None:
        """The number of trials that ends the search, where there is one."""
        return self.config.get("trials")

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, where there is one."""
        return self.config.get("seconds")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many trials of a study are in which state; each trial is counted once.

    promoted: it stopped at a rung, and another trial has gone on from there.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    reused: int = 0
    promoted: int = 0

    @property
    def total(self) -> int:
        """Return the number of all trials."""
        return sum(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class TrialInfo:
    """One trial with its metrics; `score` is Optuna's value, None while the trial runs.

    `latency_ms` is the prediction of the study's table, None in a study without one. `recipe` has
    the values of the recipe that the search space chooses, by their keys. A trial is
    `stopped` if it runs in Optuna's eyes, but its worker died or let go of it.
    """

    number: int
    state: str
    score: float | None
    evaluation_id: int
    architecture_id: str
    notation: str
    cost: Cost
    metrics: Metrics
    reason: str | None
    seconds: float | None
    fidelity: int
    attempt: int
    worker: str
    reused_from: str | None
    stopped: bool
    latency_ms: float | None = None
    recipe_hash: str = ""
    recipe: Mapping[str, Value] = field(default_factory=dict)

    @property
    def candidate_key(self) -> CandidateKey:
        """The key of the architecture with these values of the recipe."""
        return candidate_key(self.architecture_id, self.recipe)

    @property
    def training(self) -> str:
        """What tells the trial's training from others, in every store."""
        return f"{self.architecture_id}-{self.recipe_hash}"

    @property
    def one_class(self) -> bool:
        """Tell whether the model predicts a single class."""
        return self.metrics.get("predicted_classes") == 1

    def to_json(self) -> dict[str, Any]:
        """Return all of the trial as plain data."""
        fields = {name: value for name, value in vars(self).items() if name != "cost"}
        return {**fields, **self.cost._asdict(), "one_class": self.one_class}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "TrialInfo":
        """Read what `to_json` has written; raises LookupError, TypeError."""
        own = [each.name for each in fields(cls) if each.name != "cost"]
        cost = Cost(**{name: plain[name] for name in Cost._fields})
        return cls(cost=cost, **{name: plain[name] for name in own})

    def summary(self) -> dict[str, Any]:
        """Return the trial as plain data for a search's result."""
        return {
            "trial": self.number, "score": self.score, **self.metrics, "macs": self.cost.macs,
            "params": self.cost.params, "latency_ms": self.latency_ms,
            "notation": self.notation.split("\n"), "recipe": dict(self.recipe),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Known(StoredArchitecture):
    """An architecture that was trained, its recipe's hash, and the metrics that it reached."""

    recipe_hash: str
    metrics: Metrics


class Tried(NamedTuple):
    """A trial's network and recipe, and whether its evaluation was reused."""

    number: int
    architecture_id: str
    recipe_hash: str
    is_reused: bool


class ScoredTrial(NamedTuple):
    """A complete trial's id and number in Optuna's tables, and its score."""

    trial_id: int
    number: int
    score: float


@contextmanager
def connect(url: str, *, frozen: bool = False, newer: bool = False) -> Iterator[sa.Connection]:
    """Open a store for reading, with `frozen` at one instant; raise StoreError if there is none.

    The store of a newer nas is refused, unless `newer` is wanted.
    """
    parsed = engines.parse(url)
    engine = engines.readers.get(parsed)
    with engines.translated(parsed, "read"), engine.connect() as connection:
        if frozen:
            dialects.of(parsed).freeze(connection)
        if frozen or newer or not _is_sound(engine, connection):
            if not sa.inspect(connection).has_table("nas_studies"):
                raise StoreError(
                    f"No store at {engines.masked(parsed)}: the database has no nas tables. "
                    "Name another with --store or NAS_STORE, or run a search first."
                )
            if not newer and (revision := refuse_newer(connection, parsed)):
                _sound[engine] = revision
        yield connection


# The revision of the stores that were looked at in full: most reads take less time than the look.
_sound: WeakKeyDictionary[sa.Engine, str] = WeakKeyDictionary()
_REVISION = sa.select(
    sa.table(schema.VERSION_TABLE, sa.column("version_num", sa.String())).c.version_num
)


def _is_sound(engine: sa.Engine, connection: sa.Connection) -> bool:
    """Tell whether a store has the revision that it had when it was looked at in full."""
    if (revision := _sound.get(engine)) is None:
        return False
    try:
        return bool(connection.execute(_REVISION).scalar() == revision)
    except exc.DBAPIError:  # its tables are gone
        connection.rollback()
        return False


def studies(connection: sa.Connection) -> list[StudyInfo]:
    """Return all studies, the oldest first."""
    rows = connection.execute(sa.select(schema.STUDIES).order_by(_s.id))
    return [_info(connection, row) for row in rows]


def _info(connection: sa.Connection, row: Any) -> StudyInfo:
    config = places.located(row.config, places.home(connection))
    return well_typed(StudyInfo(**{**row._mapping, "config": config}))


def study(connection: sa.Connection, name: str) -> StudyInfo:
    """Return one study by its name; raise StoreError with the names there are."""
    row = connection.execute(sa.select(schema.STUDIES).where(_s.name == name)).one_or_none()
    if row is None:
        names = [each.name for each in studies(connection)]
        raise NotStored(unknown("study", name, names, listing="nas status"))
    return _info(connection, row)


def exists(connection: sa.Connection, name: str) -> bool:
    """Tell whether there is a study of a name."""
    return connection.execute(sa.select(_s.id).where(_s.name == name)).first() is not None


@engines.patient
def find_study(url: str, name: str) -> StudyInfo | None:
    """Return a study of the store at `url`; None where there is none, or no store yet.

    A database that is away is waited for; a store that can't be opened says so when it is written.
    """
    try:
        with connect(url) as connection:
            alive = set(connection.execute(sa.text("SELECT study_name FROM studies")).scalars())
            present = {each.name: each for each in studies(connection)}
    except StoreAway:
        raise
    except StoreError:
        return None
    return present.get(name) if name in alive else None  # Optuna may have deleted it


def counts(connection: sa.Connection, study_id: int) -> Counts:
    """Count a study's trials by state; a reused one is counted as reused, whatever its state."""
    by_state = sa.select(_o.state, sa.func.count().label("trials")).group_by(_o.state)
    links = schema.TRIALS.join(schema.OPTUNA_TRIALS, _o.trial_id == _t.trial_id)
    of_reused = by_state.select_from(links).where(_t.study_id == study_id, _REUSED)
    every, reused = (
        Counter({row.state: row.trials for row in connection.execute(statement)})
        for statement in (by_state.where(_o.study_id == study_id), of_reused)
    )
    promoted = promotions(connection, study_id)
    return Counts(
        complete=every["COMPLETE"] - reused["COMPLETE"],
        pruned=every["PRUNED"] - reused["PRUNED"] - promoted,
        failed=every["FAIL"] - reused["FAIL"],
        running=every["RUNNING"] - reused["RUNNING"],
        reused=reused.total(),
        promoted=promoted,
    )


def promotions(connection: sa.Connection, study_id: int) -> int:
    """Count the trials of a study's own that stopped at a rung and went on in another trial."""
    later = schema.TRIALS.alias("later").c
    going_on = sa.select(sa.func.count(_t.promoted_from.distinct())).where(
        _t.study_id == study_id, _t.promoted_from.is_not(None)
    )
    from_reused = sa.select(sa.func.count(later.promoted_from.distinct())).where(
        *(later.study_id == _t.study_id, later.promoted_from == _t.number),
        *(_t.study_id == study_id, _REUSED),
    )
    difference = sa.select(going_on.scalar_subquery() - from_reused.scalar_subquery())
    return int(connection.execute(difference).scalar_one())


def fidelities(connection: sa.Connection, study_id: int) -> dict[int, int]:
    """Count a study's complete evaluations, reused ones too, at each fidelity, the lowest first."""
    complete = sa.select(_e.fidelity).where(_e.state == "complete").group_by(_e.fidelity)
    own = complete.add_columns(sa.func.count().label("evaluations"))
    reused = complete.add_columns(sa.func.count(_e.id.distinct())).select_from(_EVALUATED)
    statement = own.where(_e.study_id == study_id).union_all(
        reused.where(_t.study_id == study_id, _REUSED, _e.study_id.is_distinct_from(study_id))
    )
    totals: Counter[int] = Counter()
    for row in connection.execute(statement):
        totals[row.fidelity] += row.evaluations
    return dict(sorted(totals.items()))


def rung_trials(connection: sa.Connection, study_id: int, first: int = 0) -> list[RungTrial]:
    """Return the networks of a study's trials, from a number on, at their fidelities."""
    return [
        RungTrial(
            architecture_id=row.architecture_id,
            recipe_hash=row.recipe_hash,
            fidelity=row.fidelity,
            ended=row.state != "RUNNING",
            score=None if row.state == "RUNNING" else row.score,
            number=row.number,
            evaluation_id=row.evaluation_id,
        )
        for row in connection.execute(_RUNG_TRIALS, {"study": study_id, "first": first})
    ]


_RUNG_TRIALS = (
    sa.select(_t.number, _t.evaluation_id, _e.architecture_id, _e.recipe_hash, _e.fidelity)
    .add_columns(_o.state)
    .add_columns(_v.value.label("score"))
    .select_from(SCORED)
    .where(_MINE, _t.number >= sa.bindparam("first"))
    .order_by(_t.number)
)


class Climb:
    """The networks of a study at each fidelity; one worker reads ended trials only once."""

    def __init__(self, study_id: int) -> None:
        self.study_id = study_id
        self._ended: dict[int, RungTrial] = {}  # by evaluation
        self._first = 0  # number of the first trial that may still change

    def read(self, connection: sa.Connection) -> list[RungTrial]:
        """Return each network that the study has at each fidelity, in the order of the trials."""
        newer: dict[int, RungTrial] = {}
        for network in rung_trials(connection, self.study_id, self._first):
            if network.evaluation_id in self._ended:  # a reused trial repeats an evaluation
                continue
            if network.ended and not newer:
                self._ended[network.evaluation_id] = network
                self._first = network.number + 1
            else:
                newer.setdefault(network.evaluation_id, network)
        return [*self._ended.values(), *newer.values()]


def epoch_seconds(connection: sa.Connection, study_id: int) -> float:
    """Return the mean seconds of an epoch in a study's longest complete evaluations, 0 of none.

    At most a thousand of them are averaged.
    """
    complete = (_e.study_id == study_id) & (_e.state == "complete")
    longest = sa.select(sa.func.max(_e.fidelity)).where(complete).scalar_subquery()
    some = (
        sa.select(_e.seconds, _e.fidelity)
        .where(complete, _e.seconds.is_not(None), _e.fidelity == longest)
        .limit(1000)
        .subquery()
    )
    mean = sa.select(sa.func.avg(some.c.seconds / some.c.fidelity))
    return float(connection.execute(mean).scalar() or 0.0)


def trained(
    connection: sa.Connection, architecture_id: str, recipe_hash: str
) -> list[tuple[int, str | None]]:
    """Return how far a network's training has come in any study: fidelity and checkpoint folder.

    Complete and pruned evaluations, the longest first; a pruned one has the fidelity 0.
    """
    reached = sa.case((_e.state == "complete", _e.fidelity), else_=0).label("reached")
    statement = (
        sa.select(reached, _e.checkpoint)
        .where(_e.architecture_id == architecture_id, _e.recipe_hash == recipe_hash)
        .where(_e.state.in_(("complete", "pruned")))
        .order_by(reached.desc())
    )
    return [(row.reached, _place(connection, row)) for row in connection.execute(statement)]


def _place(connection: sa.Connection, row: Any) -> str | None:
    """Return where the weights of an evaluation's row are now."""
    return row.checkpoint and places.found(row.checkpoint, places.home(connection))


def total(connection: sa.Connection, study_id: int) -> int:
    """Count a study's trials, whatever their state: Optuna numbers them from 0, without gaps."""
    newest = connection.execute(_NEWEST, {"study": study_id}).scalar()
    return 0 if newest is None else int(newest) + 1


_NEWEST = sa.select(_o.number).where(_o.study_id == _STUDY).order_by(_o.trial_id.desc()).limit(1)
_RUNNING = (_o.state == "RUNNING") & (_e.state == "running")
_TRIALS = sa.select(
    *(_t.number, _o.state, _v.value.label("score"), _t.evaluation_id, _e.architecture_id),
    *(_a.notation, *_COST, _e.metrics, _e.reason, _e.seconds, _e.fidelity, _e.attempt),
    *(_e.worker, _t.reused_from, _u.value_json.label("latency_ms")),
    *(_e.recipe_hash, _r.value_json.label("recipe")),
    sa.and_(_RUNNING, _e.expires_at < DatabaseSeconds()).label("stopped"),
).select_from(
    SCORED.join(schema.ARCHITECTURES, _a.id == _e.architecture_id)
    .outerjoin(
        schema.OPTUNA_USER_ATTRIBUTES, (_u.trial_id == _t.trial_id) & (_u.key == "latency_ms")
    )
    .outerjoin(_RECIPE_VALUES, (_r.trial_id == _t.trial_id) & (_r.key == "recipe"))
)


def best(connection: sa.Connection, study_id: int, n: int = 5) -> list[TrialInfo]:
    """Return the n best complete trials of different architectures, the best first.

    Of equal scores the cheapest comes first.
    """
    complete = sa.exists().where(
        _o.trial_id == _v.trial_id, _o.study_id == study_id, _o.state == "COMPLETE"
    )
    mine = (_v.objective == 0, complete)
    descending = sa.select(_v.value).where(*mine).order_by(_v.value.desc())
    limit = 4 * n  # reused trials repeat an architecture
    while True:
        last = connection.execute(descending.offset(limit - 1).limit(1)).scalar()
        ids = sa.select(_v.trial_id).where(*mine, sa.true() if last is None else _v.value >= last)
        statement = _TRIALS.where(_t.trial_id.in_(ids))
        rows = connection.execute(statement.order_by(_v.value.desc(), _a.macs, _v.trial_id))
        networks: dict[str, TrialInfo] = {}
        for row in rows:
            networks.setdefault(row.architecture_id, _trial_info(row))
        if len(networks) >= n or last is None:
            return list(networks.values())[:n]
        limit *= 8


def trial(connection: sa.Connection, study_id: int, number: int) -> TrialInfo:
    """Return one trial by its number; raise StoreError when there is none."""
    for info in _infos(connection, _t.study_id == study_id, _t.number == number):
        return info
    have = counts(connection, study_id).total
    known = f"it has trials 0 to {have - 1}" if have else "it has none"
    raise NotStored(f"No trial {number} in this study; {known}.")


def trials(
    connection: sa.Connection, study_id: int, *, after: int = -1, limit: int | None = None
) -> list[TrialInfo]:
    """Return the trials of a study, by number: those after a number, so many at most."""
    return _infos(connection, _t.study_id == study_id, _t.number > after, limit=limit)


def running(connection: sa.Connection, study_id: int) -> list[TrialInfo]:
    """Return the trials that run in Optuna's eyes, by number; some may be `stopped`."""
    return _infos(connection, _o.study_id == study_id, _o.state == "RUNNING")


def _infos(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> list[TrialInfo]:
    rows = connection.execute(_TRIALS.where(*conditions).order_by(_t.number).limit(limit))
    return [_trial_info(row) for row in rows]


def endings(connection: sa.Connection, study_id: int) -> list[tuple[int, float]]:
    """Return each ended trial in the order of their ends: its number, its seconds of training.

    A reused trial took none; the epochs of a shorter training of the same network count there.
    """
    trainings, points = schema.EVALUATIONS.alias("shorter"), schema.CURVE_POINTS.alias("done")
    shorter, done = trainings.c, points.c
    done_before = (
        sa.exists()
        .where(done.evaluation_id == shorter.id, done.epoch == _c.epoch)
        .where(shorter.architecture_id == _e.architecture_id)
        .where(shorter.recipe_hash == _e.recipe_hash, shorter.fidelity < _e.fidelity)
        .correlate_except(trainings, points)
    )
    seconds = (
        sa.select(sa.func.sum(_c.seconds))
        .where(_c.evaluation_id == _e.id, ~_REUSED, ~done_before)
        .correlate(schema.TRIALS, schema.EVALUATIONS)
    )
    statement = (
        sa.select(_t.number, seconds.scalar_subquery().label("seconds"))
        .select_from(_TOLD)
        .where(_o.study_id == study_id, _o.datetime_complete.is_not(None))
        .order_by(_o.datetime_complete, _t.number)
    )
    return [(row.number, row.seconds or 0.0) for row in connection.execute(statement)]


def _trial_info(row: Any) -> TrialInfo:
    fields = _measured(row)
    fields["state"] = row.state.lower()
    fields["latency_ms"] = json.loads(row.latency_ms) if row.latency_ms else None
    fields["recipe"] = json.loads(row.recipe) if row.recipe else {}
    fields["stopped"] = bool(row.stopped)
    return well_typed(TrialInfo(**fields))


def _measured(row: Any) -> dict[str, Any]:
    """Return a row's columns as fields, with one for the cost and no metrics as an empty dict."""
    fields = dict(row._mapping)
    fields["cost"] = Cost(**{name: fields.pop(name) for name in Cost._fields})
    fields["metrics"] = fields["metrics"] or {}
    return fields


def evaluation(connection: sa.Connection, evaluation_id: int) -> Evaluation:
    """Return one evaluation with its architecture; raise KeyError when there is none."""
    row = connection.execute(_EVALUATION, {"id": evaluation_id}).one_or_none()
    if row is None:
        raise KeyError(f"No evaluation {evaluation_id}.")
    return well_typed(Evaluation(**_measured(row) | {"checkpoint": _place(connection, row)}))


_EVALUATION = (
    sa.select(
        *(_e.id, _e.state, _e.architecture_id, _a.json.label("architecture_json"), _a.notation),
        *(*_COST, _e.recipe_hash, _e.fidelity, _s.name.label("study"), _e.number),
        *(_e.worker, _e.attempt, _e.deaths, _e.metrics, _e.reason, _e.seconds, _e.checkpoint),
    )
    .select_from(
        schema.EVALUATIONS.join(schema.ARCHITECTURES, _a.id == _e.architecture_id).outerjoin(
            schema.STUDIES, _s.id == _e.study_id
        )
    )
    .where(_e.id == sa.bindparam("id"))
)


def known(
    connection: sa.Connection, recipe_hashes: Collection[str], fidelity: int, study_id: int
) -> list[Known]:
    """Return the complete evaluations under these recipes of which this study has no trial."""
    mine = sa.exists().where(_t.evaluation_id == _e.id, _t.study_id == study_id)
    statement = (
        sa.select(_a.json.label("architecture_json"), *_COST, _e.recipe_hash, _e.metrics)
        .join_from(schema.EVALUATIONS, schema.ARCHITECTURES, _a.id == _e.architecture_id)
        .where(_e.recipe_hash.in_(recipe_hashes), _e.fidelity == fidelity, _e.state == "complete")
        .where(~mine)
        .order_by(_e.id)
    )
    return [Known(**_measured(row)) for row in connection.execute(statement)]


def curve(connection: sa.Connection, evaluation_id: int) -> list[CurvePoint]:
    """Return an evaluation's metrics after each epoch so far."""
    rows = connection.execute(_CURVE, {"evaluation": evaluation_id})
    return [well_typed(CurvePoint(**row._mapping)) for row in rows]


_CURVE = (
    sa.select(_c.epoch, _c.metrics, _c.train_loss, _c.seconds, _c.learning_rate)
    .where(_c.evaluation_id == sa.bindparam("evaluation"))
    .order_by(_c.epoch)
)


def failures(connection: sa.Connection, study_id: int) -> dict[str, int]:
    """Count a study's failed evaluations by reason, the most frequent first."""
    statement = (
        sa.select(_e.reason, sa.func.count().label("trials"))
        .where(_e.study_id == study_id, _e.state == "failed")
        .group_by(_e.reason)
        .order_by(sa.func.count().desc())
    )
    return {row.reason or "unknown": row.trials for row in connection.execute(statement)}


def test_looks(connection: sa.Connection, study_id: int) -> list[tuple[int, Metrics]]:
    """Return each look at the test split: the evaluation and its metrics, in order."""
    looks = schema.TEST_LOOKS.c
    statement = sa.select(looks.evaluation_id, looks.metrics).where(looks.study_id == study_id)
    rows = connection.execute(statement.order_by(looks.id))
    return [(row.evaluation_id, row.metrics) for row in rows]


test_looks.__test__ = False  # type: ignore[attr-defined]  # its name is no invitation to pytest


def test_look_count(connection: sa.Connection, study_id: int) -> int:
    """Count the looks at the test split: the trainings of a network with several seeds are one."""
    looks = schema.TEST_LOOKS
    rows = connection.execute(
        sa.select(_e.id, _e.architecture_id, _e.fidelity, schema.RECIPES.c.json.label("recipe"))
        .join_from(looks, schema.EVALUATIONS, _e.id == looks.c.evaluation_id)
        .join(schema.RECIPES, schema.RECIPES.c.hash == _e.recipe_hash)
        .where(looks.c.study_id == study_id)
    )
    trainings: Counter[tuple[int, str]] = Counter()  # by the training and all but its seed
    for row in rows:
        recipe = {**row.recipe, "seed": None}
        network = json.dumps([row.architecture_id, row.fidelity, recipe], sort_keys=True)
        trainings[row.id, network] += 1
    most: dict[str, int] = {}  # looks at one training of a network
    for (_, network), count in trainings.items():
        most[network] = max(count, most.get(network, 0))
    return sum(most.values())


test_look_count.__test__ = False  # type: ignore[attr-defined]


def attribute(connection: sa.Connection, study_id: int, key: str) -> Any:
    """Return an attribute of a study; None where it has none of this name."""
    attributes = schema.OPTUNA_STUDY_ATTRIBUTES.c
    mine = (attributes.study_id == study_id) & (attributes.key == key)
    return json.loads(
        connection.execute(sa.select(attributes.value_json).where(mine)).scalar() or "null"
    )


def exports(connection: sa.Connection, study_id: int) -> dict[str, list[Mapping[str, Any]]]:
    """Return the verdicts on a study's exports by architecture, ordered by recipe and format."""
    attributes = schema.OPTUNA_STUDY_ATTRIBUTES.c
    mine = attributes.key.startswith(f"{schema.EXPORT}:", autoescape=True)
    rows = sa.select(attributes.key, attributes.value_json).where(attributes.study_id == study_id)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in connection.execute(rows.where(mine).order_by(attributes.key)):
        found.setdefault(row.key.split(":")[1], []).append(json.loads(row.value_json))
    return found


def export_key(architecture_id: str) -> str:
    """Return the beginning of the keys of verdicts on an architecture's exports."""
    return f"{schema.EXPORT}:{architecture_id}:"


def warnings(connection: sa.Connection, study_id: int) -> list[GuardWarning]:
    """Return the warnings of a study's guards."""
    return [GuardWarning(**each) for each in attribute(connection, study_id, schema.WARNINGS) or ()]


def recipe(connection: sa.Connection, recipe_hash: str) -> Mapping[str, Any]:
    """Return a recipe by its hash; raise KeyError when there is none."""
    recipes = schema.RECIPES.c
    stored = connection.execute(sa.select(recipes.json).where(recipes.hash == recipe_hash)).scalar()
    if stored is None:
        raise KeyError(f"No recipe {recipe_hash}.")
    return dict(stored)


def recipes(connection: sa.Connection) -> dict[str, Mapping[str, Any]]:
    """Return all recipes by their hashes."""
    rows = connection.execute(sa.select(schema.RECIPES.c.hash, schema.RECIPES.c.json))
    return {row.hash: dict(row.json) for row in rows}


def spent(connection: sa.Connection, study_id: int) -> int:
    """Count the networks that a study began to train: its budget of trials paid for them.

    The budget paid for a promoted network when it began, and another study's for a reused one.
    """
    return int(connection.execute(_SPENT, {"study": study_id}).scalar_one())


def _count(*conditions: Any) -> Any:
    return sa.select(sa.func.count(_t.trial_id)).where(_MINE, *conditions).scalar_subquery()


_SPENT = sa.select(_count() - _count(_REUSED) - _count(_t.promoted_from.is_not(None), ~_REUSED))


def is_spent(connection: sa.Connection, study_id: int, number: int, budget: int | None) -> bool:
    """Tell whether a study's budget is spent, whose next trial gets this number.

    With fewer trials than the budget it can't be, and nothing is counted.
    """
    return budget is not None and number >= budget and spent(connection, study_id) >= budget


def number_within(connection: sa.Connection, study_id: int, budget: int | None) -> int | None:
    """Return the number that a study's next trial gets; None where its budget is spent."""
    number = total(connection, study_id)
    return None if is_spent(connection, study_id, number, budget) else number


def ended_elsewhere(connection: sa.Connection, study_id: int) -> Sequence[Any]:
    """Return `trial_id`, `number` and `evaluation_id` of trials whose end was not told.

    Optuna sees them run, but another study has finished their evaluation.
    """
    return connection.execute(_ENDED_ELSEWHERE, {"study": study_id}).all()


_ENDED_ELSEWHERE = (
    sa.select(_t.trial_id, _t.number, _t.evaluation_id)
    .select_from(_TOLD)
    .where(_o.study_id == _STUDY, _o.state == "RUNNING", _e.state != "running")
    .order_by(_t.number)
)


def scored(connection: sa.Connection, study_id: int) -> list[ScoredTrial]:
    """Return the complete trials of a study, of each evaluation the first, by number."""
    complete = (_o.study_id == study_id) & (_o.state == "COMPLETE")
    columns = {"trial_id": _t.trial_id, "number": _t.number, "score": _v.value}
    statement = (
        sa.select(*(sa.func.min(column).label(name) for name, column in columns.items()))
        .select_from(SCORED)
        .where(complete, _v.value.is_not(None))
        .group_by(_t.evaluation_id)
        .order_by("number")
    )
    return [ScoredTrial(**row._mapping) for row in connection.execute(statement)]


def owners(connection: sa.Connection) -> dict[str, str]:
    """Return the owners of the service's searches, by the names of their studies."""
    if not sa.inspect(connection).has_table(schema.SEARCHES.name):
        return {}  # a store of before the service
    searches = sa.select(schema.SEARCHES.c.id, schema.SEARCHES.c.owner)
    return {row.id: row.owner for row in connection.execute(searches)}


def tried(connection: sa.Connection, study_id: int, first: int) -> list[Tried]:
    """Return the study's trials from a number on."""
    rows = connection.execute(_TRIED, {"study": study_id, "first": first})
    return [Tried(**row._mapping) for row in rows]


_TRIED = (
    sa.select(_t.number, _e.architecture_id, _e.recipe_hash, _REUSED.label("is_reused"))
    .select_from(_EVALUATED)
    .where(_MINE, _t.number >= sa.bindparam("first"))
    .order_by(_t.number)
)
