"""Milliseconds of one inference, measured so that a busy machine biases all networks alike.

All are warmed up, then run in turns, round after round; a network's latency is the median of its
runs. One thread on a CPU is timed by its processor time: what the clock shows when nobody else
wants the core. Everything else is timed by the clock.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.errors import UserError
from nas.quantities import check_positive

WARM_UP = 1  # runs before the first that counts: memory is taken, kernels are chosen
MOST_ROUNDS = 50
FIRST_ROUND = 0.3  # of the time, in which networks are built; then more rounds fit in
RUNS = 2  # that count, of one network in each later round, after one that doesn't
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Setting:
    """How latency is measured: without it a number of milliseconds means nothing.

    `clock` is "processor" (time of the one thread) or "wall"; evaluation mode and inference mode
    always, weights and images as `memory_format` says, batch norms not folded.
    """

    batch_size: int
    threads: int
    device: str
    device_name: str
    torch: str
    clock: str
    dtype: str = "float32"
    memory_format: str = "channels_last"
    warm_up: int = WARM_UP

    def describe(self) -> str:
        """Say it in one line."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"median at batch {self.batch_size}, {threads}, {self.dtype}, {self.memory_format}, "
            f"{self.clock} time, {self.device_name}, torch {self.torch}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the setting as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Setting":
        """Read a setting back; raises KeyError or TypeError where it is not one."""
        values = {field.name: data[field.name] for field in fields(cls)}
        for field in fields(cls):
            wanted = int if field.type in (int, "int") else str
            if not isinstance(values[field.name], wanted):
                raise TypeError(f"{field.name} is {values[field.name]!r}")
        return cls(**values)


def setting(batch_size: int = 1, threads: int = 1, device: str = "cpu") -> Setting:
    """Return a setting on this machine; raises UserError for one that it can't offer."""
    check_positive(batch_size=batch_size, threads=threads)
    if device not in DEVICES:
        raise UserError(f"--device is {' or '.join(DEVICES)}, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda needs a GPU that PyTorch can use; there is none.")
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    clock = "processor" if device == "cpu" and threads == 1 else "wall"
    return Setting(batch_size, threads, device, name, torch.__version__, clock)


def _processor() -> str:
    """Return the processor's name, so far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(names, "") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


@dataclass(frozen=True)
class RunTimes:
    """The times of one network's runs, in milliseconds: median, quartiles, and how many."""

    median_ms: float
    q1_ms: float
    q3_ms: float
    runs: int

    @classmethod
    def of(cls, times: Sequence[float]) -> "RunTimes":
        """Sum up runs, of which there is at least one."""
        median, first, third = np.quantile(times, (0.5, 0.25, 0.75)).tolist()
        return cls(median, first, third, len(times))


@dataclass(frozen=True)
class Case:
    """A module to measure on images of (channels, size, size), built when it is needed."""

    build: Callable[[], nn.Module]
    channels: int
    size: int


def measure(
    cases: Sequence[Case],
    how: Setting,
    *,
    seconds: float = math.inf,
    rounds: int = MOST_ROUNDS,
    every: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> list[RunTimes]:
    """Measure modules in turns; return the latency of each that was reached.

    In the first round they are built one after the other until a share of the time, in seconds, is
    spent, so that there is time for more rounds; the rest is left out, unless `every` one is
    wanted. One is measured at least, whatever it takes. After each round `progress` is told the
    share of the work that is done.
    """
    began, runs, times = time.monotonic(), [], []
    with _as_set(how):
        for number, case in enumerate(cases):
            late = time.monotonic() - began > FIRST_ROUND * seconds
            if number and late and not every:
                break
            run = _prepare(case, how)
            for _ in range(how.warm_up):
                _time(run, how)
            runs.append(run)
            times.append([_time(run, how)])
        for done in range(1, rounds):
            progress(max(done / rounds, min(1.0, (time.monotonic() - began) / seconds)))
            for run, own in zip(runs, times, strict=True):
                if time.monotonic() - began > seconds:
                    break
                _time(run, how)  # what the caches hold is its own again
                own += [_time(run, how) for _ in range(RUNS)]
    return [RunTimes.of(own) for own in times]


@contextmanager
def _as_set(how: Setting) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(how.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def _prepare(case: Case, how: Setting) -> Callable[[], Tensor]:
    """Return what runs a module once, on random images."""
    module = case.build().eval()
    module = module.to(device=how.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    shape = (how.batch_size, case.channels, case.size, case.size)
    images = torch.rand(shape, device=how.device).contiguous(memory_format=torch.channels_last)
    return lambda: module(images)


def _time(run: Callable[[], Tensor], how: Setting) -> float:
    """Return the milliseconds of one run."""
    clock = time.thread_time if how.clock == "processor" else time.perf_counter
    began = clock()
    run()
    if how.device == "cuda":
        torch.cuda.synchronize()
    return 1000 * (clock() - began)
