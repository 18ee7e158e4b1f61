"""Make a latency table: measure networks and their blocks, fit, and state the error."""

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr

from nas import blocks, network
from nas.architecture import Architecture
from nas.latency.measure import Case, measure
from nas.latency.setting import Setting
from nas.latency.table import (
    ANY,
    LEAST_MS,
    Error,
    Feature,
    LatencyTable,
    PlacedRow,
    features,
    summed,
)
from nas.objective import Objective
from nas.search_space.preflight import Subject, draw_near

PILOTS = 12  # networks drawn at random, from which it is learnt where the target is
NETWORKS = 60  # every third is held out
FEWEST = 3  # networks that are measured however long it takes: one of them is held out
MOST_PARAMS = 150_000_000  # of networks held in memory at once
MOST_BLOCKS = 600
TRIES = 20  # draws for each network, where a space is so small that they repeat
PILOT_SHARE, NETWORK_SHARE, BLOCK_SHARE = 0.12, 0.5, 0.33  # of the time
WEIGHT = 3.0  # of a network beside a block in the fit, measured: see docs/guides/latency.md
QUIET = 10.0  # seconds between two lines of progress
Say = Callable[[str], None]
Draw = Callable[[], Architecture]


class Timing(NamedTuple):
    """A network, or a part of one: its blocks and its measured milliseconds."""

    blocks: tuple[PlacedRow, ...]
    ms: float


class Fit(NamedTuple):
    """Milliseconds of the measured blocks inside a network, and of operators per unit."""

    blocks: dict[PlacedRow, float]
    operators: dict[Feature, float]


def make(
    subject: Subject,
    how: Setting,
    *,
    goal: Objective | None = None,
    seconds: float = 90.0,
    seed: int = 0,
    networks: int = NETWORKS,
    say: Say = lambda _: None,
) -> LatencyTable:
    """Make a table for a space, for networks near the goal's target where there is one.

    Whole networks are measured, two thirds to learn from; of these the blocks too, the most
    frequent first. What is measured adapts to the time, in seconds, that there is.
    """
    began, rng = time.monotonic(), random.Random(seed)
    about = (subject.space.name, subject.in_channels, subject.classes, how)
    draw_any: Draw = lambda: subject.decode(subject.space.draw(rng))  # noqa: E731 - or draw_near
    draw, pilots = draw_any, []
    if goal is not None and goal.target_latency_ms is not None:
        drawn = _distinct(draw_any, PILOTS)
        pilots = _measured(drawn, how, PILOT_SHARE * seconds, "networks at random", say)
        error = Error(0, None, None, len(pilots), 0)
        subject = replace(subject, latency=LatencyTable(*about, *fit({}, pilots), error, 0.0))
    if goal is not None:
        near, objective = subject, goal
        draw = lambda: near.decode(draw_near(near, objective, rng))  # noqa: E731
    timings = _measured(_distinct(draw, networks), how, NETWORK_SHARE * seconds, "networks", say)
    held_out = timings[2::3]
    hidden = {timing.blocks for timing in held_out}  # in a small space a pilot may be among them
    learnt = [timing for timing in pilots + timings if timing.blocks not in hidden]
    counted = Counter(block for timing in learnt for block in timing.blocks)
    alone = _alone([block for block, _ in counted.most_common(MOST_BLOCKS)], how, seconds, say)
    fitted = fit(alone, learnt)
    table = LatencyTable(
        *about,
        blocks=fitted.blocks,
        operators=fitted.operators,
        error=Error(0, None, None, len(learnt), len(alone)),
        seconds=round(time.monotonic() - began, 1),
    )
    return replace(table, error=_error(table, held_out))


def _distinct(draw: Draw, count: int) -> list[Architecture]:
    """Draw different networks, as many as that and as fit into memory together."""
    networks: dict[str, Architecture] = {}
    params = 0
    for _ in range(TRIES * count):
        architecture = draw()
        if architecture.id in networks:
            continue
        params += network.cost(architecture).params
        if networks and (len(networks) == count or params > MOST_PARAMS):
            break
        networks[architecture.id] = architecture
    return list(networks.values())


def _times(
    cases: Sequence[Case], kind: str, how: Setting, seconds: float, say: Say, fewest: int = 1
) -> list[float]:
    """Measure networks or blocks; return the milliseconds of those that the time was enough for."""
    say(f"latency: measuring {len(cases)} {kind}, for about {seconds:.0f} s")
    printed = time.monotonic()

    def progress(share: float) -> None:
        nonlocal printed
        if time.monotonic() - printed > QUIET:
            printed = time.monotonic()
            say(f"latency: {kind} measured to {share:.0%}")

    times = measure(cases, how, seconds=seconds, fewest=fewest, progress=progress)
    return [each.median_ms for each in times]


def _measured(
    architectures: Sequence[Architecture], how: Setting, seconds: float, kind: str, say: Say
) -> list[Timing]:
    cases = [Case(partial(network.build, a), a.in_channels, a.resolution) for a in architectures]
    times = _times(cases, kind, how, seconds, say, FEWEST)
    return [Timing(tuple(network.walk(a)), ms) for a, ms in zip(architectures, times, strict=False)]


def _alone(
    placed: Sequence[PlacedRow], how: Setting, seconds: float, say: Say
) -> dict[PlacedRow, float]:
    """Measure blocks by themselves."""
    cases = [
        Case(partial(blocks.build, row, channels), channels, size) for row, channels, size in placed
    ]
    times = _times(cases, "blocks", how, BLOCK_SHARE * seconds, say)
    return {block: ms for block, ms in zip(placed, times, strict=False) if ms > 0}


def fit(alone: Mapping[PlacedRow, float], networks: Sequence[Timing]) -> Fit:
    """Learn what blocks and operators take inside a network.

    A block takes longer there than alone, where the caches are its own: scale and overhead are
    fitted to the whole networks. Then each operator's milliseconds per call, multiply-accumulate,
    parameter and element are fitted to blocks and networks together. All fits are non-negative
    least squares of relative errors, so that nothing is ever predicted below zero. Such fits lie
    low where measurements scatter upwards: at last all is scaled to the networks' median.
    """
    inside: dict[PlacedRow, float] = {}
    taken = np.array([timing.ms for timing in networks])
    if alone:
        operators = _operators([Timing((block,), ms) for block, ms in alone.items()], [])
        inner = {
            b: alone.get(b) or summed(b, operators) for timing in networks for b in timing.blocks
        }
        rows = [[sum(inner[b] for b in timing.blocks), len(timing.blocks)] for timing in networks]
        scale, overhead = _non_negative(np.array(rows), taken, np.ones(len(networks)))
        inside = {block: scale * ms + overhead for block, ms in alone.items()}
    operators = _operators([Timing((block,), ms) for block, ms in inside.items()], networks)

    def predicted(block: PlacedRow) -> float:
        return max(LEAST_MS, inside.get(block) or summed(block, operators))

    sums = [sum(map(predicted, timing.blocks)) for timing in networks]
    factor = float(np.median(taken / sums))
    return Fit(
        {block: factor * ms for block, ms in inside.items()},
        {feature: factor * ms for feature, ms in operators.items()},
    )


def _operators(single: Sequence[Timing], networks: Sequence[Timing]) -> dict[Feature, float]:
    """Fit milliseconds per unit to sums of blocks; beside each operator's own, those of any."""
    targets = [*single, *networks]
    ms = np.array([timing.ms for timing in targets])
    weights = np.array([1.0] * len(single) + [WEIGHT] * len(networks))
    own = [_sum(item for b in timing.blocks for item in features(b).items()) for timing in targets]
    pooled = [_sum((counted, number) for (_, counted), number in row.items()) for row in own]
    any_other = {(ANY, counted): value for counted, value in _solved(pooled, ms, weights).items()}
    return _solved(own, ms, weights) | any_other


def _sum(items: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    total: dict[Any, float] = defaultdict(float)
    for name, number in items:
        total[name] += number
    return total


def _solved(
    rows: Sequence[Mapping[Any, float]], ms: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[Any, float]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    return dict(zip(names, _non_negative(matrix, ms, weights).tolist(), strict=True))


def _non_negative(
    matrix: NDArray[np.float64], wanted: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve `matrix x = wanted` for x of at least 0, in the least squares of relative errors."""
    units = np.maximum(matrix.max(axis=0), 1e-12)  # columns differ by nine orders of magnitude
    scaled = matrix / units * (weights / wanted)[:, None]
    solution, _ = nnls(scaled, weights, maxiter=100 * matrix.shape[1])
    return np.asarray(solution / units)


def _error(table: LatencyTable, held_out: Sequence[Timing]) -> Error:
    if not held_out:
        return table.error
    predicted = np.array([table.of(timing.blocks) for timing in held_out])
    taken = np.array([timing.ms for timing in held_out])
    percent = 100 * float(np.median(np.abs(predicted / taken - 1)))
    ranks = None
    if len(set(predicted)) > 1 and len(set(taken)) > 1 and len(taken) > 2:
        correlation = float(spearmanr(predicted, taken).statistic)
        ranks = correlation if math.isfinite(correlation) else None
    return replace(table.error, networks=len(held_out), percent=percent, rank_correlation=ranks)
