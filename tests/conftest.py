"""The setting of every test: one thread a process, Hypothesis without clocks, a worker a core."""

import os

import pytest
from hypothesis import HealthCheck, settings

LONGEST_FILES = (
    *("test_ray", "test_docs", "test_executors", "test_tune", "test_dashboard", "test_search"),
    *("test_jobs", "test_nas_sampler", "test_store_secrets", "test_watching", "test_survival"),
    *("test_table_study", "test_fidelity", "test_search_real", "test_family", "test_cli"),
)
MOST_WORKERS = 8  # a worker holds torch and, at times, searches in processes of their own

# Before torch is imported, and for the processes that tests start: tests run beside each other.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be absent
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `--numprocesses auto`.

    One more than the cores this process may use: some tests wait for a server most of the time.
    """
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(MOST_WORKERS, cores + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest files first, so that none of them runs alone at the end."""
    order = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
