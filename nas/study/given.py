"""A study of one network that is given: it is trained in full, with several seeds.

It is a study of finalists whose only finalist was not found by a search. So it runs on every
executor, survives kills, and is stored and concluded as all studies are.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas import blocks, network, quantities
from nas.architecture import Architecture
from nas.config import CACHE, Config
from nas.cost import Limits
from nas.data import DataSet
from nas.data import load as load_data
from nas.data import names as data_names
from nas.executors import Executor
from nas.objective import objective
from nas.search_space.coefficients import space_of
from nas.store.engine import resolve
from nas.study.options import SearchOptions, declared
from nas.study.preparation import Prepared, Say, from_anywhere
from nas.training.estimate import training_seconds
from nas.training.recipes import compose

RECIPE = "whole"
ENLARGED = 2  # times the images' own size: beyond it there is nothing more to see


def executor_for(asked: SearchOptions, seeds: int) -> Executor:
    """Make the executor that was asked for, with no more workers than there are trainings."""
    if asked.executor == "ray":
        most = min(seeds, asked.max_concurrent or seeds)
        return replace(asked, max_concurrent=most).new_executor()
    executor = asked.new_executor()
    return executor if executor.workers <= seeds else replace(asked, workers=seeds).new_executor()


def prepare_given(
    source: Architecture, name: str, asked: SearchOptions, seeds: int, executor: Executor, say: Say
) -> Prepared:
    """Check everything that can be checked before the study of a network exists.

    The network gets the channels and classes of the data; `name` is its name for people.
    """
    options = replace(asked, sampler="random", pruner="none").complete()
    data = load_data(
        options.data, cache_dir=Path(options.out, CACHE), groups=options.groups, say=say
    )
    adapted = _adapted(source, data, options, say)
    given = {one.name: getattr(options, one.name) for one in declared().values() if one.recipe}
    recipe = compose(data, options.recipe or RECIPE, given=given, words=options.set)
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("_.-") or "network"
    study = options.study or f"{plain}-{data.name}"
    fields: dict[str, Any] = {
        "space": space_of(plain, adapted),
        "data": options.data if options.data in data_names() else from_anywhere(options.data),
        "classes": adapted.classes,
        "in_channels": adapted.in_channels,
        "recipe": recipe,
        "objective": objective(network.cost(adapted).macs),
        "limits": Limits(),
        "folder": str(Path(options.out, study).absolute()),
        "latency": None,
        "finalists": ({},),  # the space's only assignment
        "seeds": seeds,
    }
    if options.checkpoints is not None:
        fields["checkpoints"] = from_anywhere(options.checkpoints)
    config = Config.of(options, **fields)
    try:
        train, validation = (len(data.splits[name]) for name in ("train", "validation"))
        updates = recipe.all_updates(train, validation)
        seconds = training_seconds(adapted, recipe, train, updates, executor.threads)
    except (MemoryError, RuntimeError):  # the training itself will say so
        seconds = 0.0
    _ = executor.workers  # a cluster that is not there is found out before anything is written
    return Prepared(study, resolve(options.store), config, seeds, None, executor, seconds, None, ())


def _adapted(source: Architecture, data: DataSet, options: SearchOptions, say: Say) -> Architecture:
    """Return the network for the data's images and classes."""
    classes = len(data.classes)
    size = {"resolution": options.resolution, "in_channels": data.in_channels, "classes": classes}
    adapted, own = blocks.canonical(source.at(**size)), data.native_resolution
    if adapted.resolution > ENLARGED * own and options.resolution is None:
        say(
            f"images of {own} px are enlarged to {adapted.resolution} px, the network's own size; "
            f"--resolution {ENLARGED * own} is quicker"
        )
    return adapted


def announce_given(prepared: Prepared) -> Iterator[str]:
    """Say which network is trained, how, and how long it will take."""
    config, seeds = prepared.config, prepared.config.seeds
    trained = config.subject.decode({})
    cost = network.cost(trained)
    yield f"study {prepared.name} in {quantities.from_here(config.folder)}"
    yield (
        f"network {config.space.name} ({trained.id}): {trained.in_channels} x {trained.resolution} "
        f"x {trained.resolution} images, {trained.classes} classes, "
        f"{quantities.short(cost.macs)} FLOPs, {quantities.short(cost.params)} parameters"
    )
    yield f"recipe: {config.recipe.describe()}"
    if prepared.estimate:
        turns = math.ceil(seeds / prepared.executor.workers)
        whole = quantities.duration(prepared.estimate * turns)
        yield f"time: {seeds} training{'s' if seeds > 1 else ''} in about {whole} or less"
