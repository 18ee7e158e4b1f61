"""The shared parts of the store's tests: databases, a small study, workers as processes."""

import atexit
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage

from nas.architecture import Architecture, Row
from nas.cost import Cost
from nas.errors import LostLease
from nas.store import queries
from nas.store.records import CurvePoint, Metrics, Proposal
from nas.store.store import Store
from nas.store.trials import Trials

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432"
CONFIG = {
    "space": {"stage3": {"kernels": ["3", "3.5"]}},
    "objective": {"w": -0.07},
    "recipe": {"metric": "accuracy"},
}
KERNELS = ("3", "5", "3.5")
ARCHITECTURE = Architecture(
    in_channels=1,
    resolution=8,
    classes=10,
    stem=(Row("conv", 16),),
    body=(Row("mbconv", 24, 2),),
    head=(Row("classifier", 10),),
)


def has_postgresql() -> bool:
    """Tell whether a PostgreSQL server answers on this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", 5432)) == 0


@contextmanager
def scratch_database(template: str = "template0") -> Iterator[str]:
    """Create a PostgreSQL database as a copy of another and drop it afterwards."""
    name = f"nas_test_{uuid.uuid4().hex[:12]}"
    _administer(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield f"{SERVER}/{name}"
    finally:
        _administer(f"DROP DATABASE {name} WITH (FORCE)")


def _administer(statement: str) -> None:
    admin = sa.create_engine(f"{SERVER}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(statement))
    admin.dispose()


@cache
def _empty_file() -> bytes:
    """Return the file of a store without studies, made once because making tables is slow."""
    with TemporaryDirectory() as folder:
        with opened(file_url(Path(folder))):
            pass
        return (Path(folder) / "nas.db").read_bytes()


@cache
def _empty_database() -> str:
    """Return the name of a PostgreSQL store without studies, dropped when the tests are over."""
    context = scratch_database()
    url = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    with opened(url):
        pass
    return url.rpartition("/")[2]


def ready_file(folder: Path) -> str:
    """Return the URL of a new SQLite store without studies."""
    (folder / "nas.db").write_bytes(_empty_file())
    return file_url(folder)


@contextmanager
def ready(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a new store without studies; skip the test if there is no server."""
    if kind == "sqlite":
        yield ready_file(folder)
        return
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    with scratch_database(_empty_database()) as url:
        yield url


def score(metrics: Metrics, *_: object) -> float:
    """Return the accuracy: the simplest objective."""
    return metrics["accuracy"] or 0.0


def proposal(name: str = "a", *, fidelity: int = 3, kernels: str = "3.5") -> Proposal:
    """Return a proposal of the architecture with this id."""
    return Proposal(
        architecture_id=name,
        architecture=ARCHITECTURE,
        notation="ir_r1_k3.5_s2_e6_c40",
        cost=Cost(2_000_000, 30_000, 400_000, 160_000),
        recipe_hash="r1",
        fidelity=fidelity,
        params={"stage3.kernels": kernels},
        distributions={"stage3.kernels": CategoricalDistribution(KERNELS)},
    )


def point(epoch: int = 1, accuracy: float = 0.5) -> CurvePoint:
    """Return the metrics of one epoch."""
    return CurvePoint(epoch=epoch, metrics={"accuracy": accuracy}, train_loss=1.0, seconds=2.0)


def trials(store: Store, *, worker: str = "w1", study: str = "s", lease: float = 60.0) -> Trials:
    """Return the trials of a study as one worker sees them; create the study if it is missing."""
    store.create_study(study, CONFIG, recipes={"r1": {"epochs": 3}})
    return Trials(store, study, score=score, worker=worker, lease_seconds=lease)


def spent(mine: Trials) -> int:
    """Return the number of trials that a study has used of its budget."""
    with mine.store.read() as connection:
        return queries.spent(connection, mine.info.id)


def write_while_it_is_away(
    store: Store, kill: Callable[[], None], start: Callable[[], None]
) -> None:
    """Store an epoch and a trial's end while the server is down; check that each is stored once."""
    mine = trials(store)
    lease = mine.start(proposal("a")).lease
    assert lease is not None
    for step in (1, 2):
        kill()
        back = threading.Timer(1.5, start)
        back.start()
        if step == 1:
            mine.report(lease, point(1, 0.5))
        else:
            mine.finish(lease, "complete", metrics={"accuracy": 0.5})
        back.join(120)
    (told,) = mine.optuna_study().trials
    assert (told.value, told.intermediate_values) == (0.5, {1: 0.5})


def delete_study(url: str, name: str) -> None:
    """Delete a study as Optuna's dashboard does: in a process that does not know nas's tables."""
    storage = RDBStorage(url)
    optuna.delete_study(study_name=name, storage=storage)
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open a store and close it."""
    store = Store.open(url)
    try:
        yield store
    finally:
        store.close()


def file_url(folder: Path, name: str = "nas.db") -> str:
    """Return the URL of a SQLite store in a folder."""
    return f"sqlite:///{folder / name}"


def train_until_killed(url: str, said: Any) -> None:
    """Run in a process of its own: start a trial, report two epochs, then hang with the lease."""
    with opened(url) as store:
        mine = trials(store, worker=f"pid{os.getpid()}", lease=1.0)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.report(lease, point(1, 0.4))
        mine.report(lease, point(2, 0.6))
        said.put(lease.number)
        time.sleep(60)


def adopt_at(begin: Any, said: Any, url: str, worker: str) -> None:
    """Run in a process of its own: adopt at a signal and return the attempt's number."""
    with opened(url) as store:
        mine = trials(store, worker=worker)
        begin.wait(60)
        started = mine.adopt()
        said.put(None if started is None or started.lease is None else started.lease.attempt)


def start_at(begin: Any, said: Any, url: str, worker: str, names: list[str], budget: int) -> None:
    """Run in a process of its own: start these architectures at a signal; return the results."""
    with opened(url) as store:
        mine = trials(store, worker=worker)
        begin.wait(60)
        outcomes = []
        for name in names:
            started = mine.start(proposal(name), budget=budget)
            outcomes.append(started.outcome)
            if started.lease is not None:
                mine.report(started.lease, point())
                mine.finish(started.lease, "complete", metrics={"accuracy": 0.5})
        said.put(outcomes)


def open_at(begin: Any, said: Any, url: str) -> None:
    """Run in a process of its own: open a store that does not exist yet, at a signal."""
    begin.wait(60)
    try:
        with opened(url) as store:
            trials(store)
        said.put("opened")
    except BaseException as error:
        said.put(repr(error))
        raise


def write_too_late(mine: Trials, lease: Any) -> list[str]:
    """Try every kind of write with a lost lease; return the writes that were not refused."""
    kept = []
    for name, write in {
        "report": lambda: mine.report(lease, point(9, 0.9)),
        "renew": lambda: mine.renew(lease),
        "release": lambda: mine.release(lease),
        "finish": lambda: mine.finish(lease, "complete", metrics={"accuracy": 0.9}),
    }.items():
        try:
            write()
            kept.append(name)
        except LostLease:
            continue
    return kept
