"""The setting of every test: one thread a process, Hypothesis without clocks, a worker a core."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from service_kit import Server

    from nas.store.store import Store
    from tests.ray_kit import Cluster

ON_ONE_HEAD = ("test_executors", "test_tune", "test_ray")  # one process for them, and one Ray head
LONGEST_FILES = (
    *(*ON_ONE_HEAD, "test_docs", "test_jobs", "test_store_secrets", "test_search", "test_training"),
    *("test_watching", "test_dashboard", "test_blocks", "test_survival", "test_finalists"),
    *("test_latency", "test_store_crash", "test_table_study", "test_nas_sampler", "test_cli"),
    *("test_fidelity", "test_search_real", "test_family", "test_service_processes"),
    *("test_service_fuzz", "test_service"),
)
MOST_WORKERS = 8  # a worker holds torch and, at times, searches in processes of their own

# Before torch is imported, and for the processes that tests start: tests run beside each other.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# Ray gives its workers the niceness 15: on busy cores other tests would starve them.
os.environ.setdefault("RAY_worker_niceness", "0")

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be absent
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `--numprocesses auto`.

    Two more than the cores this process may use: some tests wait for a server most of the time.
    """
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(MOST_WORKERS, cores + 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest files first, so that none of them runs alone at the end."""
    order = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run each file in one process under `--dist loadfile`, and files that share a head in one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            shares = any(file.endswith(f"{name}.py") for name in ON_ONE_HEAD)
            return "a Ray head" if shares else file

    return ByFile(config, log)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a store without studies, on each kind of database."""
    from store_kit import ready

    with ready(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(url: str) -> Iterator["Store"]:
    """Open the store of `url`."""
    from store_kit import opened

    with opened(url) as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Serve an empty store, with the tests' data below a data root."""
    from service_kit import serving_data

    with serving_data(tmp_path_factory.mktemp("service")) as served:
        yield served


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator["Cluster"]:
    """Return two machines, or one where they can't be joined, for a head that tests share."""
    from tests import ray_kit

    with ray_kit.cluster(machines=2 if ray_kit.has_cables() else 1) as made:
        yield made


@pytest.fixture
def head(ray_cluster: "Cluster") -> Iterator["Cluster"]:
    """Return a cluster whose head runs; end the nodes that a test has added."""
    if ray_cluster.head is None:
        ray_cluster.start_head(cpus=ray_cluster.cpus)
    yield ray_cluster
    for node in ray_cluster.nodes:
        if node is not ray_cluster.head:
            node.kill()
    ray_cluster.nodes = [ray_cluster.head] if ray_cluster.head else []
