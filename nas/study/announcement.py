"""What a person is told of a search before it begins: what is searched, how, how long."""

import math
from collections.abc import Iterator

import numpy as np

from nas import pruners, quantities
from nas.config import Config
from nas.data import DataSet
from nas.data.inspection import describe
from nas.store import queries
from nas.store.store import Store
from nas.study.chance import standard_error
from nas.study.guards import ASSUMED, Evidence, takes_long, warnings
from nas.study.lessons import announced
from nas.study.preparation import Prepared
from nas.study.proposer import PREFILTERED, RANKED
from nas.training.recipes import ENOUGH


def announce(prepared: Prepared) -> list[str]:
    """Say what will be searched and how long it will take."""
    flight, config, data = prepared.preflight, prepared.config, prepared.data
    if flight is None or data is None:
        return []
    times = flight.latency_ms
    latency = "" if times is None else f", {times[0]:.3g} to {times[1]:.3g} ms"
    lines = [
        f"study {prepared.name} in {quantities.from_here(config.folder)}",
        describe(data),
        f"space {flight.space}: {flight.size:.3g} assignments of {flight.parameters} parameters, "
        f"{quantities.short(flight.macs[0])} to {quantities.short(flight.macs[1])} FLOPs, "
        f"{quantities.short(flight.params[0])} to {quantities.short(flight.params[1])} parameters"
        f"{latency}; {flight.near_target:.1%} within 10 % of the target, "
        f"{flight.within_limits:.0%} within the limits",
    ]
    if flight.fitted:
        lines.append(flight.fitted_line)
    if prepared.left_out:
        sizes = ", ".join(map(str, prepared.left_out))
        lines.append(f"resolutions left out, too large or too small for these images: {sizes}")
    lines.append(f"objective: {config.objective.describe(config.recipe.metric)}")
    chosen = f" The search chooses {', '.join(config.space.recipe)}." if config.space.recipe else ""
    lines.append(f"recipe: {config.recipe.describe()}{chosen}")
    if (start := prepared.start) is not None:
        lines.append(
            f"weights: every training, of finalists too, starts from those of {start.name} "
            f"({start.architecture.id}), so far as they fit"
        )
    lines += announced(config.lessons, config)
    lines += _folds_lines(config, data)
    if config.finals is not None:
        networks, seeds = config.finals.networks, config.finals.seeds
        lines.append(
            f"finalists: the {networks} best are trained in full, {config.finals.recipe.epochs} "
            f"epochs with each of {seeds} seeds; the best of them wins"
        )
    lines += _proxy_lines(prepared)
    if pruners.get(config.pruner).LADDER:
        lines.append(f"{config.pruner}: {config.schedule.describe()}")
    lines.append(_time_line(prepared))
    return lines


def first_warnings(prepared: Prepared, store: Store) -> Iterator[str]:
    """Yield the warnings of the guards that know the data alone, which are stored as well.

    A study that ended before keeps its warnings until it ends again.
    """
    config = prepared.config
    with store.read() as connection:
        info = queries.study(connection, prepared.name)
        warned = queries.warnings(connection, info.id)
    data = prepared.data
    if not warned and data is not None:
        if takes_long(data):
            yield "looking for images that are in two splits"
        warned = warnings(Evidence(config=config, data=data))
        store.set_warnings(info.id, warned)
    yield from map(str, warned)


def _folds_lines(config: Config, data: DataSet) -> Iterator[str]:
    count, validation = config.recipe.folds, len(data.splits["validation"])
    if count == 1:
        return
    whole, few = len(data.splits["train"]) + validation, ""
    if validation < ENOUGH:
        points = 100 * standard_error("accuracy", ASSUMED, np.array([validation]))
        few = (
            f"{validation} validation images can't tell networks apart (at an accuracy of 0.9 the "
            f"standard error is {points:.1f} points); "
        )
    networks = count + (config.finals is None)
    finals = f", {config.finals.recipe.folds} for finalists" if config.finals else ""
    yield (
        f"folds: {few}scores are of {count} folds of all {whole} train and validation images"
        f"{finals}, so a trial trains {networks} networks; --folds 1 keeps to the validation split"
    )


def _proxy_lines(prepared: Prepared) -> Iterator[str]:
    config, seconds = prepared.config, prepared.proxy_seconds
    if config.prefilter is not None:
        whole = quantities.duration(max(1.0, RANKED * seconds[config.prefilter]))
        yield (
            f"pre-filter: the first {PREFILTERED} trials are the best of {RANKED} draws near the"
            f" target by {config.prefilter}; each worker ranks them once, in about {whole}"
        )
    if config.features:
        each = sum(seconds[name] for name in config.features)
        yield f"features: {', '.join(config.features)}, about {each:.2g} s a network"


def _time_line(prepared: Prepared) -> str:
    each, parts = quantities.duration(prepared.estimate), []
    workers = prepared.executor.workers
    if not prepared.estimate:
        return "time: a trial could not be measured, the example does not fit into memory"
    if prepared.expected is not None:
        in_all = quantities.duration(prepared.expected)
        parts.append(f"{prepared.trials} trials in about {in_all} or less")
    finals = prepared.config.finals
    if finals is not None:
        trainings = math.ceil(finals.networks * finals.seeds / workers)
        whole = trainings * prepared.final_estimate
        parts.append(f"the finalists about {quantities.duration(whole)}")
    if prepared.seconds is not None:
        kept = f", {quantities.duration(prepared.reserved)} of it for the finalists"
        parts.append(f"at most {quantities.duration(prepared.seconds)}{kept if finals else ''}")
    return (
        f"time: about {each} a trial on {workers} worker{'s' if workers > 1 else ''}; "
        f"{', '.join(parts)}"
    )
