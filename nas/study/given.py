"""A study of one network that is given: it is trained in full, with several seeds.

It is a study of finalists whose only finalist was not found by a search. So it runs on every
executor, survives kills, and is stored and concluded as all studies are.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nas import blocks, network, quantities
from nas.architecture import Architecture
from nas.config import Config
from nas.cost import Limits
from nas.data import DataSet
from nas.data.inspection import describe
from nas.executors import Executor
from nas.objective import objective
from nas.search_space.coefficients import space_of
from nas.store.engine import resolve
from nas.study.aids import given_aids
from nas.study.options import SearchOptions, check_study, declared
from nas.study.preparation import (
    Prepared,
    Say,
    begun_with,
    data_of,
    from_anywhere,
    source_from_anywhere,
    sources_of,
    study_folder,
)
from nas.training.estimate import training_seconds
from nas.training.methods import Aids
from nas.training.recipe import Recipe
from nas.training.recipes import compose
from nas.training.transfer import transfer

RECIPE = "whole"
STRIDE = 32  # of most published networks: the least size at which no layer sees mere borders
ENLARGED = 2  # times that size: a published network may be a bit larger than the images


def executor_for(asked: SearchOptions, seeds: int) -> Executor:
    """Make the executor that was asked for, with no more workers than there are trainings."""
    if asked.executor == "ray":
        most = min(seeds, asked.max_concurrent or seeds)
        return replace(asked, max_concurrent=most).new_executor()
    executor = asked.new_executor()
    return executor if executor.workers <= seeds else replace(asked, workers=seeds).new_executor()


def prepare_given(
    source: Architecture,
    name: str,
    asked: SearchOptions,
    seeds: int,
    executor: Executor,
    *,
    published: bool = False,
    suffix: str = "",
    say: Say,
) -> Prepared:
    """Check everything that can be checked before the study of a network exists.

    The network gets the channels and classes of the data, a `published` one a size that suits small
    images; `name` is its name for people, `suffix` the end of the study's.
    """
    options = replace(asked, sampler="random", pruner="none").complete()
    data = data_of(options, say)
    size = options.resolution
    if size is None and published:
        size = _size(source.resolution, data.native_resolution, say)
    adapted = _adapted(source, data, size)
    given = {one.name: getattr(options, one.name) for one in declared().values() if one.recipe}
    aids, starts = given_aids(options, data, say), sources_of(options)
    recipe = compose(
        data, options.recipe or RECIPE, given=given, words=options.set, digests=aids.digests
    )
    aids.check(recipe)
    recipe = begun_with(recipe, starts)
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("_.-") or "network"
    study = check_study((options.study or f"{plain}-{data.name}") + suffix)
    fields: dict[str, Any] = {
        "space": space_of(plain, adapted),
        "data": source_from_anywhere(options.data),
        "classes": adapted.classes,
        "in_channels": adapted.in_channels,
        "recipe": recipe,
        "objective": objective(network.cost(adapted).macs),
        "limits": Limits(),
        "folder": study_folder(options.out, study, resolve(options.store)),
        "latency": None,
        "finalists": ({},),  # the space's only assignment
        "seeds": seeds,
    }
    if options.checkpoints is not None:
        fields["checkpoints"] = from_anywhere(options.checkpoints)
    config = Config.of(options, **fields)
    seconds = _seconds(adapted, recipe, data, executor, aids.of(data))
    _ = executor.workers  # a cluster that is not there is found out before anything is written
    return Prepared(
        study, resolve(options.store), config, seeds, None, executor, seconds, None, (), data=data,
        sources=(*starts, *aids.sources),
    )  # fmt: skip


def _seconds(
    network: Architecture, recipe: Recipe, data: DataSet, executor: Executor, aids: Aids
) -> float:
    """Return the seconds of a training, about; 0 where the network does not fit into memory."""
    train, validation = (len(data.splits[name]) for name in ("train", "validation"))
    updates = recipe.all_updates(train, validation)
    try:
        alone = training_seconds(network, recipe, train, updates, executor.threads, aids)
    except (MemoryError, RuntimeError):  # the training itself will say so
        return 0.0
    return alone * executor.crowding


def _size(own: int, images: int, say: Say) -> int:
    """Return the resolution of a published network that is trained on images of this size.

    Enlarged images have nothing more to show and cost the square of their side.
    """
    size = STRIDE * math.ceil(images / STRIDE)
    if own <= ENLARGED * size:
        return own
    say(
        f"the network is for {own} px, the images have {images}: it is trained at {size} px; "
        f"--resolution {own} enlarges them"
    )
    return size


def _adapted(source: Architecture, data: DataSet, resolution: int | None) -> Architecture:
    """Return the network for the data's images and classes."""
    classes = len(data.classes)
    return blocks.canonical(
        source.at(resolution=resolution, in_channels=data.in_channels, classes=classes)
    )


def announce_given(prepared: Prepared) -> Iterator[str]:
    """Say which network is trained, how, and how long it will take."""
    config, seeds = prepared.config, prepared.config.seeds
    trained = config.subject.decode({})
    cost = network.cost(trained)
    yield f"study {prepared.name} in {quantities.from_here(config.folder)}"
    if prepared.data is not None:
        yield describe(prepared.data)
    yield (
        f"network {config.space.name} ({trained.id}): {trained.in_channels} x {trained.resolution} "
        f"x {trained.resolution} images, {trained.classes} classes, "
        f"{quantities.short(cost.macs)} FLOPs, {quantities.short(cost.params)} parameters"
    )
    yield f"recipe: {config.recipe.describe()}"
    if (start := prepared.start) is not None:
        taken = transfer(network.build(trained), trained, start)
        yield f"weights: those of {start.name} ({start.architecture.id}) are {taken}"
    if prepared.estimate and prepared.expected is not None:
        whole = quantities.duration(prepared.expected)
        yield f"time: {seeds} training{'s' if seeds > 1 else ''} in about {whole} or less"
