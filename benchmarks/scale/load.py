"""A bulk loader: a synthetic study as a search would have left it, in minutes.

It writes Optuna's tables and ours, past both storages, with the rows that `nas.store.trials`
writes: a Hyperband study of 20 choices, its networks at four rungs, promoted, pruned, failed and
reused ones among them, the last few running. `as_a_real_trial` holds it to a trial made by the
store itself.
"""

import json
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, distribution_to_json

from benchmarks.overhead import space
from nas import network
from nas.architecture import Architecture
from nas.blocks.notation import notation
from nas.config import Config
from nas.cost import Cost, Limits
from nas.objective import Objective
from nas.pruners.ladder import ladder
from nas.store.records import CurvePoint, Proposal, StoredArchitecture
from nas.store.schema import utc_now
from nas.store.store import Store
from nas.store.trials import Trials
from nas.training.recipe import Recipe

SPACE = space()
EPOCHS = 45  # rungs at 2, 5, 15 and 45: about 10 curve points a trial
RUNNING = 8  # trials that run, with live leases
CHUNK = 2_000  # networks that are written at once
TARGET = 20_000_000
SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432"
DISTRIBUTIONS = {p.name: CategoricalDistribution(p.choices) for p in SPACE.parameters()}
TEXTS = {name: distribution_to_json(one) for name, one in DISTRIBUTIONS.items()}
CODES = {name: {c: i for i, c in enumerate(one.choices)} for name, one in DISTRIBUTIONS.items()}
REASONS = (
    "TrialError: the loss is not a number",
    "OutOfMemoryError: no memory for a batch of 128",
    "given up: 5 workers died without finishing an epoch",
    "the score is not a number",
)
METRICS = ("accuracy", "balanced_accuracy", "loss", "predicted_classes")
COLUMNS = {
    "nas_architectures": (
        "id", "json", "notation", "macs", "params", "activations", "peak_activation_bytes",
        "created",
    ),
    "nas_evaluations": (
        "id", "architecture_id", "recipe_hash", "fidelity", "state", "study_id", "number", "worker",
        "attempt", "deaths", "expires_at", "metrics", "reason", "seconds", "checkpoint", "created",
        "finished",
    ),
    "nas_curve_points": (
        "evaluation_id", "epoch", "metrics", "train_loss", "seconds", "learning_rate", "created",
    ),
    "trials": (
        "trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete",
    ),
    "nas_trials": (
        "trial_id", "study_id", "number", "evaluation_id", "reused_from", "promoted_from",
    ),
    "trial_params": ("trial_id", "param_name", "param_value", "distribution_json"),
    "trial_user_attributes": ("trial_id", "key", "value_json"),
    "trial_values": ("trial_id", "objective", "value", "value_type"),
    "trial_intermediate_values": (
        "trial_id", "step", "intermediate_value", "intermediate_value_type",
    ),
}  # fmt: skip


@contextmanager
def database(kind: str, server: str) -> Iterator[str]:
    """Yield the URL of a fresh database, and remove it afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/nas.db"
        return
    name = f"nas_scale_{uuid.uuid4().hex[:8]}"
    admin = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield f"{server}/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def config(folder: str) -> Config:
    """Return the configuration of the synthetic study."""
    rungs = ladder(EPOCHS)
    return Config(
        space=SPACE,
        data="digits",
        classes=10,
        in_channels=1,
        recipe=Recipe(
            data="digits",
            fingerprint="0" * 64,
            epochs=EPOCHS,
            ladder=tuple(rung for rung in rungs if not rung.is_whole),
        ),
        objective=Objective(TARGET),
        limits=Limits(),
        sampler="nas",
        pruner="hyperband",
        seed=0,
        folder=folder,
    )


@dataclass(frozen=True)
class Network:
    """A drawn network, with the accuracy that it would reach."""

    values: dict[str, Any]
    id: str
    json: str
    notation: str
    cost: Cost
    accuracy: float


def networks(rng: random.Random) -> Iterator[Network]:
    """Draw networks, each once."""
    seen: set[str] = set()
    while True:
        values = SPACE.draw(rng)
        architecture = SPACE.decode(values, in_channels=1, classes=10)
        if architecture.id in seen:
            continue
        seen.add(architecture.id)
        cost = network.cost(architecture)
        wide = sum(CODES[name][value] for name, value in values.items() if "width" in name)
        accuracy = min(0.99, 0.7 + 0.02 * wide + rng.gauss(0, 0.02))
        text, lines = json.dumps(architecture.to_json()), "\n".join(notation(architecture))
        yield Network(values, architecture.id, text, lines, cost, accuracy)


@dataclass
class Rows:
    """Rows by table, and the numbers that the next ones get."""

    config: Config
    study_id: int
    study: str
    trial_id: int
    evaluation_id: int
    rng: random.Random
    number: int = 0
    points: int = 0
    tables: dict[str, list[tuple[Any, ...]]] = field(
        default_factory=lambda: {table: [] for table in COLUMNS}
    )
    began: datetime = field(default_factory=lambda: utc_now() - timedelta(days=30))

    def search(self, one: Network, base: int, *, running: bool = False) -> None:
        """Add all trials of a network that begins at a rung: it may fail, or be promoted."""
        rungs = self.config.schedule.rungs
        now = self.began + timedelta(seconds=20 * self.number)
        self.tables["nas_architectures"].append(
            (one.id, one.json, one.notation, *one.cost, _at(now))
        )
        luck = self.rng.random()
        source = None
        for rung in rungs[rungs.index(base) :]:
            state = "running" if running else "complete"
            if luck < 0.01:
                state = "failed"
            elif luck < 0.02:
                state = "pruned"
            number = self.number
            self._trial(one, rung, state, source)
            if running or luck < 0.02 or self.rng.random() > 1 / self.config.reduction:
                return
            source = number

    def _trial(self, one: Network, rung: int, state: str, source: int | None) -> None:
        """Add an evaluation, its curve and its trial; rarely a second trial that reuses it."""
        self.evaluation_id += 1
        now = self.began + timedelta(seconds=20 * self.number)
        done = rung if state == "complete" else self.rng.randrange(1, rung) if rung > 1 else 0
        curve = [self._metrics(one, epoch) for epoch in range(1, done + 1)]
        metrics = curve[-1] if curve and state in ("complete", "pruned") else {}
        reason = self.rng.choice(REASONS) if state == "failed" else None
        is_running = state == "running"
        self.tables["nas_evaluations"].append((
            self.evaluation_id, one.id, self.config.recipe.hash, rung, state, self.study_id,
            self.number, f"host:{self.number % 64}:1", 1, 0, time.time() + 86_400 if is_running
            else None, None if is_running else json.dumps(metrics), reason, None if is_running
            else 3.0 * done, f"checkpoints/{one.id}" if metrics else None, _at(now),
            None if is_running else _at(now + timedelta(seconds=3 * done)),
        ))  # fmt: skip
        self.tables["nas_curve_points"] += [
            (self.evaluation_id, epoch, json.dumps(each), each["loss"], 3.0, 0.01, _at(now))
            for epoch, each in enumerate(curve, 1)
        ]
        self.points += done
        self._told(one, rung, state, curve, metrics, reason, {"promoted_from": source})
        if state != "running" and self.rng.random() < 0.02:
            origin = f"{self.study}/{self.number - 1}"
            self._told(one, rung, state, curve, metrics, reason, {"reused_from": origin})

    def _told(
        self,
        one: Network,
        rung: int,
        state: str,
        curve: Sequence[dict[str, float]],
        metrics: dict[str, float],
        reason: str | None,
        extra: dict[str, Any],
    ) -> None:
        """Add a trial as Optuna has it, and its link."""
        self.trial_id += 1
        trial, tables = self.trial_id, self.tables
        now = self.began + timedelta(seconds=20 * self.number)
        shown = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}.get(state, "RUNNING")
        if state == "complete" and rung < self.config.recipe.epochs:
            shown = "PRUNED"
        ended = None if state == "running" else _at(now + timedelta(seconds=3 * len(curve)))
        tables["trials"].append((trial, self.number, self.study_id, shown, _at(now), ended))
        link = trial, self.study_id, self.number, self.evaluation_id
        tables["nas_trials"].append((*link, extra.get("reused_from"), extra.get("promoted_from")))
        tables["trial_params"] += [
            (trial, name, float(CODES[name][value]), TEXTS[name])
            for name, value in one.values.items()
        ]
        attributes = {
            "evaluation": self.evaluation_id,
            "architecture_id": one.id,
            "notation": one.notation,
            **one.cost._asdict(),
            "fidelity": rung,
            "predicted_mean": 0.8,
            "predicted_spread": 0.05,
            "metrics": metrics or None,
            "reason": reason,
            **extra,
        }
        tables["trial_user_attributes"] += [
            (trial, key, json.dumps(value))
            for key, value in attributes.items()
            if value is not None
        ]
        if metrics:
            tables["trial_values"].append((trial, 0, self._score(one, metrics), "FINITE"))
        tables["trial_intermediate_values"] += [
            (trial, epoch, self._score(one, each), "FINITE") for epoch, each in enumerate(curve, 1)
        ]
        self.number += 1

    def _metrics(self, one: Network, epoch: int) -> dict[str, float]:
        value = round(one.accuracy * (1 - 0.5 * 0.8**epoch) + self.rng.gauss(0, 0.003), 5)
        return dict(zip(METRICS, (value, value - 0.01, round(1.5 - value, 5), 10), strict=True))

    def _score(self, one: Network, metrics: dict[str, float]) -> float:
        of = StoredArchitecture(cost=one.cost, architecture_json={})
        return self.config.score(metrics, of)


def load(store: Store, study: str, trials: int, folder: str) -> dict[str, Any]:
    """Make a study of at least this many trials; return its counts and the seconds it took."""
    began = time.perf_counter()
    wanted = config(folder)
    recipes = {wanted.recipe.hash: wanted.recipe.to_json()}
    info = store.create_study(study, wanted.to_json(), recipes=recipes)
    real = as_a_real_trial(store, study, wanted)
    rows = Rows(wanted, info.id, study, *_newest(store), random.Random(study))
    rows.number = 1  # the real one's is 0
    source = networks(random.Random(f"networks of {study}"))
    bases = _bases(wanted)
    while rows.number < trials - RUNNING:
        for _ in range(CHUNK):
            if rows.number >= trials - RUNNING:
                break
            rows.search(next(source), rows.rng.choice(bases))
        _flush(store, rows)
    for _ in range(RUNNING):
        rows.search(next(source), bases[0], running=True)
    made = {key for _, key, _ in rows.tables["trial_user_attributes"]}
    _flush(store, rows)
    if real - made - {"metrics"}:
        raise SystemExit(f"The loader leaves out what a real trial has: {real - made}")
    _settle(store)
    seconds = round(time.perf_counter() - began, 1)
    return {"trials": rows.number, "curve_points": rows.points, "loading_seconds": seconds}


def _bases(wanted: Config) -> list[int]:
    """Return the rungs at which networks begin, each as often as Hyperband begins there."""
    schedule = wanted.schedule
    pairs = zip(schedule.rungs, schedule.shares, strict=True)
    return [rung for rung, share in pairs for _ in range(share)]


def as_a_real_trial(store: Store, study: str, wanted: Config) -> set[str]:
    """Make one trial through the store; return the names of the attributes that it gets."""
    one = next(networks(random.Random("real")))
    trials = Trials(store, study, score=wanted.score, worker="loader", full=EPOCHS)
    started = trials.start(proposal(one, wanted, EPOCHS))
    if started.lease is None:
        raise SystemExit(f"There are trials in {study!r} already: load a fresh store.")
    metrics = {"accuracy": 0.5, "balanced_accuracy": 0.5, "loss": 1.0, "predicted_classes": 10}
    for epoch in range(1, EPOCHS + 1):
        trials.report(started.lease, CurvePoint(epoch=epoch, metrics=metrics, seconds=3.0))
    trials.finish(started.lease, "complete", metrics=metrics, seconds=3.0 * EPOCHS)
    found = store.storage.get_trial(started.lease.trial_id)
    return set(found.user_attrs)


def proposal(one: Network, wanted: Config, fidelity: int) -> Proposal:
    """Return a network as a worker proposes it."""
    return Proposal(
        architecture_id=one.id,
        architecture=Architecture.from_json(json.loads(one.json)),
        notation=one.notation,
        cost=one.cost,
        recipe_hash=wanted.recipe.hash,
        fidelity=fidelity,
        params=one.values,
        distributions={name: DISTRIBUTIONS[name] for name in one.values},
        prediction={"predicted_mean": 0.8, "predicted_spread": 0.05},
    )


def _newest(store: Store) -> tuple[int, int]:
    """Return the largest ids of a trial and of an evaluation."""
    with store.read() as connection:
        trial = connection.execute(sa.text("SELECT max(trial_id) FROM trials")).scalar()
        evaluation = connection.execute(sa.text("SELECT max(id) FROM nas_evaluations")).scalar()
    return trial or 0, evaluation or 0


def _flush(store: Store, rows: Rows) -> None:
    """Write what has come together, table by table, in one transaction."""
    with store.write() as connection:
        for table, columns in COLUMNS.items():
            _bulk(connection, table, columns, rows.tables[table])
            rows.tables[table].clear()


def _bulk(
    connection: sa.Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    names = ", ".join(columns)
    cursor = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(columns))
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)
    else:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    cursor.close()


def _settle(store: Store) -> None:
    """Leave the database as weeks of writing would: PostgreSQL's autovacuum has been at it."""
    if store.engine.dialect.name == "sqlite":
        return
    with store.write() as connection:
        for table, key in (("trials", "trial_id"), ("nas_evaluations", "id")):
            connection.execute(
                sa.text(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'),"
                    f" (SELECT max({key}) FROM {table}))"
                )
            )
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def _at(when: datetime) -> str:
    """Return a time as both databases read it."""
    return when.isoformat(sep=" ", timespec="microseconds")
