"""How many processors this process was granted, which may be fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def granted(root: Path = Path("/")) -> int:
    """Return how many processors this process may use: by its affinity and its cgroups' quotas.

    `root` is where /proc and /sys lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def threads(workers: int = 1) -> int:
    """Return the threads of each of so many workers: its share, at most OMP_NUM_THREADS."""
    share = max(1, granted() // workers)
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(share, int(said)) if said.isdecimal() and int(said) else share


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of this process's cgroups and of those around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)  # 0::/path in version 2, 4:cpu,cpuacct:/path in 1
        if kinds and "cpu" not in kinds.split(","):
            continue
        for mount in ("cpu", kinds) if kinds else (".", "unified"):
            base = root / "sys/fs/cgroup" / mount
            folder = base / path.strip("/")
            for each in (folder, *folder.parents):
                with suppress(OSError, ValueError):
                    yield _quota(each)
                if each == base:
                    break


def _quota(folder: Path) -> float:
    """Return a cgroup's quota; raises OSError or ValueError where it has none."""
    if (folder / "cpu.max").exists():
        quota, period = map(float, (folder / "cpu.max").read_text().split())
    else:
        quota, period = (
            float((folder / f"cpu.cfs_{n}_us").read_text()) for n in ("quota", "period")
        )
    if quota <= 0 or period <= 0:
        raise ValueError("no quota")
    return quota / period
