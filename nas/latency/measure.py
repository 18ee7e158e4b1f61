"""Milliseconds of one inference, measured so that a busy machine biases all networks alike.

All are warmed up, then run in turns, round after round; a network's latency is the median of its
runs. One thread on a CPU is timed by its processor time: what the clock shows when nobody else
wants the core. Everything else is timed by the clock.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nas.latency import _session, backends, remote
from nas.latency.backends._onnx import onnx_bytes
from nas.latency.setting import Setting

MOST_ROUNDS = 50
FEWEST_ROUNDS = 8  # for which there has to be time after the first, in which modules are built
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
RUNS = 2  # that count, of one network in each later round, after one that doesn't


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


TimedRun = Callable[[], float]  # runs a module once; the milliseconds


def measure(
    cases: Sequence[Case],
    how: Setting,
    *,
    seconds: float = math.inf,
    rounds: int = MOST_ROUNDS,
    fewest: int = 1,
    every: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> list[RunTimes]:
    """Measure modules in turns; return the latency of each that was reached.

    In the first round they are built one after the other as long as the time, in seconds, is enough
    for `FEWEST_ROUNDS` more of those that are there; the rest is left out. The `fewest` first are
    measured, whatever it takes. Where `every` one is wanted, the time begins after the first round.
    After each round `progress` is told the share of the work that is done.
    """
    began = time.monotonic()
    runs: list[TimedRun] = []
    times: list[list[float]] = []
    with _preparing(how) as prepare:
        longest = round_seconds = 0.0
        for case in cases:
            ready = time.monotonic()
            needed = longest + FEWEST_ROUNDS * round_seconds
            if len(runs) >= fewest and not every and ready + needed > began + seconds:
                break
            run = prepare(case)
            for _ in range(how.warm_up):
                run()
            warm = time.monotonic()
            runs.append(run)
            times.append([run()])
            longest = max(longest, warm - ready)
            round_seconds += (1 + RUNS) * (time.monotonic() - warm)
            progress(min(1.0, (time.monotonic() - began) / seconds))
        began = time.monotonic() if every else began
        for done in range(1, rounds):
            progress(max(done / rounds, min(1.0, (time.monotonic() - began) / seconds)))
            for run, own in zip(runs, times, strict=True):
                if time.monotonic() - began > seconds:
                    break
                run()  # what the caches hold is its own again
                own += [run() for _ in range(RUNS)]
    return [RunTimes.of(own) for own in times]


@contextmanager
def _preparing(how: Setting) -> Iterator[Callable[[Case], TimedRun]]:
    """Yield what builds a module and returns its timed run, here or on the setting's host."""
    with ExitStack() as stack:
        if how.host:
            machine = stack.enter_context(remote.connect(how.host))
            yield partial(_remote_run, machine, how)
            return
        before = torch.get_num_threads()
        stack.callback(torch.set_num_threads, before)
        torch.set_num_threads(how.threads)
        stack.enter_context(torch.inference_mode())
        yield partial(_local_run, how)


def _inputs(case: Case, how: Setting) -> tuple[nn.Module, Tensor]:
    """Build a module, and random images for it."""
    layout = LAYOUTS[how.memory_format]
    module = case.build().eval().to(device=how.device, memory_format=layout)  # type: ignore[call-overload]
    shape = (how.batch_size, case.channels, case.size, case.size)
    return module, torch.rand(shape, device=how.device).contiguous(memory_format=layout)


def _local_run(how: Setting, case: Case) -> TimedRun:
    run = backends.get(how.backend).prepare(*_inputs(case, how), how.threads)
    if how.device == "cpu":
        return partial(_session.milliseconds, run, _session.clock(how.threads))

    def waited() -> None:
        run()
        torch.cuda.synchronize()

    return partial(_session.milliseconds, waited, time.perf_counter)


def _remote_run(machine: remote.Machine, how: Setting, case: Case) -> TimedRun:
    module, images = _inputs(case, how)
    return machine.load(onnx_bytes(module, images), images.shape, how.threads)
