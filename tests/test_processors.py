"""The processors that a process was granted: by affinity, by cgroups, by its user."""

import os
from pathlib import Path

import pytest

from nas.executors import Request, local
from nas.executors import _processors as processors

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# The file with a process's cgroups, the files with quotas, and the processors of 64 that are left.
CGROUPS = {
    "v2": ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1),
    "v2 above": ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
    "v2 in a container": ("0::/\n", {"cpu.max": "50000 100000"}, 1),
    "v2 from outside": ("0::/../..\n", {"cpu.max": "200000 100000"}, 2),
    "v2 without a limit": ("0::/a\n", {"a/cpu.max": "max 100000"}, 64),
    "v1": (
        "5:cpuset:/x\n4:cpu,cpuacct:/d\n1:name=systemd:/y\n",
        {"cpu/d/cpu.cfs_quota_us": "400000\n", "cpu/d/cpu.cfs_period_us": "100000\n"}, 4,
    ),
    "v1 in a container": (
        "4:cpu,cpuacct:/docker/0a1b\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2,
    ),
    "v1 without a limit": (
        "4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "-1", "cpu/d/cpu.cfs_period_us": "100000"}, 64,
    ),
    "both": ("2:cpu:/\n0::/a\n", {"unified/a/cpu.max": "500000 100000"}, 5),
    "nonsense": ("0::/a\n", {"a/cpu.max": "soon"}, 64),
    "none": ("", {}, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", CGROUPS)
def test_quotas_of_cgroups_are_heeded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest quota of a process's cgroups and those above, rounded down, but at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    cgroups, files, expected = CGROUPS[name]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroups)
    for path, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert processors.granted(tmp_path) == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2), raising=False)
    assert processors.granted(tmp_path) == min(expected, 2)


def test_without_linux_it_is_the_affinity(tmp_path: Path) -> None:
    """Where there is no /proc, the processors that the system names are those there are."""
    assert processors.granted(tmp_path) == HERE


@pytest.mark.parametrize(
    ("said", "workers", "expected"),
    [
        (None, 1, 8), (None, 3, 2), (None, 20, 1), ("4", 1, 4), ("4", 4, 2), ("99", 1, 8),
        ("3,2", 1, 3), ("0", 1, 8), ("many", 1, 8), ("", 1, 8),
    ],
)  # fmt: skip
def test_omp_num_threads_is_the_most(
    said: str | None, workers: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has its share of the processors, and no more threads than its user has said."""
    monkeypatch.setattr(processors, "granted", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert processors.threads(workers) == expected


@pytest.mark.parametrize(("workers", "expected"), [(1, 1.0), (2, 1.0), (3, 1.5), (8, 4.0)])
def test_more_workers_than_processors_take_longer(
    workers: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training takes as many times as long as workers share a processor, for the estimates."""
    monkeypatch.setattr(processors, "granted", lambda: 2)
    assert local.make(Request(workers)).crowding == expected
