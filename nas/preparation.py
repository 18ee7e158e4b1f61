"""What is checked, chosen and said before a search begins."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch

from nas import pruners, quantities, samplers
from nas.architecture import Architecture
from nas.cost import Limits
from nas.data import DataSet
from nas.data import load as load_data
from nas.data import names as data_names
from nas.driver import Watch
from nas.errors import UserError
from nas.objective import objective
from nas.preflight import Preflight, Subject, survey
from nas.search_space import SearchSpace
from nas.search_space import load as load_space
from nas.store.engine import resolve
from nas.store.store import Store
from nas.study import Config
from nas.training.estimate import training_seconds
from nas.training.recipe import default_recipe

DEFAULT_TRIALS = 24
DEFAULT_TIME = "30m"
MAX_DEFAULT_WORKERS = 8
OVER_TARGET = 1.5  # times the target: the hard limit on FLOPs where none is given
CACHE = ".cache"  # folder of resized images, beside the studies


class SearchOptions(TypedDict, total=False):
    """What may be said of a search besides its space, data and target.

    `objective` is soft or hard, with weight `w`; `max_flops` and `max_params` are hard limits, the
    former 1.5 times the target unless said otherwise: beyond it trainings are long and rarely win.
    `trials` and `time` (seconds, or "30m") end the search; 24 trials or 30 minutes without either.
    `workers` are processes, by default one per core, and one where there is a GPU. `say` receives
    the pre-flight's lines, `watch` a snapshot every second.
    """

    objective: str
    w: float | None
    max_flops: str | float | None
    max_params: str | float | None
    trials: int | None
    time: str | float | None
    epochs: int | None
    workers: int | None
    sampler: str
    pruner: str
    metric: str
    seed: int
    resolution: int | None
    study: str | None
    store: str | None
    out: str
    say: Callable[[str], None]
    watch: Watch


@dataclass(frozen=True)
class Prepared:
    """A search that was checked and can begin."""

    name: str
    store: str
    config: Config
    trials: int | None
    seconds: float | None
    workers: int
    estimate: float  # seconds of one trial
    preflight: Preflight | None
    left_out: tuple[int, ...]


def prepare(
    space: str | SearchSpace,
    data_name: str,
    target_flops: str | float | None,
    options: SearchOptions,
) -> Prepared:
    """Check everything that can be checked before a study exists."""
    if target_flops is None:
        raise UserError("A search needs a FLOPs target, such as --target-flops 300M.")
    target = quantities.count(target_flops, "--target-flops")
    goal = objective(target, options.get("objective", "soft"), options.get("w"))
    max_flops = options.get("max_flops")
    limits = read_limits(
        OVER_TARGET * target if max_flops is None else max_flops, options.get("max_params")
    )
    sampler = options.get("sampler", samplers.DEFAULT)
    pruner = options.get("pruner", pruners.DEFAULT)
    seed = options.get("seed", 0)
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is a whole number from 0 to 4294967295, not {seed}.")
    quantities.check_positive(epochs=options.get("epochs"), resolution=options.get("resolution"))
    samplers.check(sampler)
    pruners.check(pruner)
    budget = read_budget(options.get("trials"), options.get("time"))
    workers = count_workers(options.get("workers"))
    space = space if isinstance(space, SearchSpace) else load_space(space)
    out = options.get("out", "studies")
    check_folder(Path(out))
    data = load_data(data_name, cache_dir=Path(out, CACHE))
    metric = options.get("metric", "accuracy")
    recipe = default_recipe(data, metric=metric, epochs=options.get("epochs"), seed=seed)
    space, left_out = _for_data(space, data, options.get("resolution"))
    subject = Subject(space, data.in_channels, len(data.classes))
    preflight = survey(subject, target=target, limits=limits, seed=seed)
    name = options.get("study") or f"{space.name}-{data.name}-{quantities.short(target)}"
    _check_name(name)
    config = Config(
        space=space,
        data=_from_anywhere(data_name),
        classes=len(data.classes),
        in_channels=data.in_channels,
        recipe=recipe,
        objective=goal,
        limits=limits,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        folder=str(Path(out, name).absolute()),
    )
    estimate = _estimate(preflight, config, data, workers)
    url = resolve(options.get("store"))
    return Prepared(name, url, config, *budget, workers, estimate, preflight, left_out)


@contextmanager
def taken_back(cache: Path) -> Iterator[None]:
    """After a user's mistake, remove what loading the data left: nothing is written.

    That is a folder's manifest and its lock; images that another search is resizing stay.
    """
    missing = [folder for folder in (cache, *cache.parents) if not folder.exists()]
    before = {*cache.glob("*.json"), *cache.glob("*.lock")}
    try:
        yield
    except UserError:
        for path in {*cache.glob("*.json"), *cache.glob("*.lock")} - before:
            path.unlink(missing_ok=True)
        for folder in missing:
            with suppress(OSError):  # another search has begun to use it
                folder.rmdir()
        raise


def _from_anywhere(data_name: str) -> str:
    """Return a data set's name as it is, a path as one that holds in any folder."""
    return data_name if data_name in data_names() else str(Path(data_name).expanduser().absolute())


def _for_data(
    space: SearchSpace, data: DataSet, resolution: int | None
) -> tuple[SearchSpace, tuple[int, ...]]:
    """Fix the resolution if one was asked for; else leave out those far above the data's own."""
    if resolution is not None:
        return space.at_resolution(resolution), ()
    return space.for_images(data.native_resolution)


def _check_name(name: str) -> None:
    if not name or name.startswith(".") or any(c in name for c in "/\\\0\n"):
        raise UserError(f"A study's name is the name of a folder, not {name!r}.")


def read_budget(trials: int | None, time: str | float | None) -> tuple[int | None, float | None]:
    """Return the number of trials and the seconds that end a search; the default without either."""
    if trials is not None and trials < 1:
        raise UserError(f"--trials is a whole number of at least 1, not {trials}.")
    if trials is None and time is None:
        return DEFAULT_TRIALS, float(quantities.seconds(DEFAULT_TIME, "--time"))
    return trials, None if time is None else float(quantities.seconds(time, "--time"))


def count_workers(asked: int | None) -> int:
    """Return the number of workers: as asked, one where there is a GPU, else one per core.

    0 is one worker in this very process, for debuggers.
    """
    if asked is not None:
        if asked < 0:
            raise UserError(f"--workers is a whole number of at least 0, not {asked}.")
        return asked
    return 1 if torch.cuda.is_available() else min(_cores(), MAX_DEFAULT_WORKERS)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(workers: int) -> int:
    """Return how many threads each worker gets of this machine's cores."""
    return max(1, _cores() // max(1, workers))


def _estimate(preflight: Preflight, config: Config, data: DataSet, workers: int) -> float:
    """Return the seconds of one trial of the pre-flight's example, on one worker's threads."""
    example, images = Architecture.from_json(preflight.example), len(data.splits["train"])
    try:
        return training_seconds(example, config.recipe, images, threads_of(workers))
    except (MemoryError, RuntimeError):  # it does not fit; trials will say so themselves
        return 0.0


def announce(prepared: Prepared) -> list[str]:
    """Say what will be searched and how long it will take."""
    flight, config = prepared.preflight, prepared.config
    if flight is None:
        return []
    lines = [
        f"study {prepared.name} in {quantities.from_here(config.folder)}",
        f"space {flight.space}: {flight.size:.3g} assignments of {flight.parameters} parameters, "
        f"{quantities.short(flight.macs[0])} to {quantities.short(flight.macs[1])} FLOPs, "
        f"{quantities.short(flight.params[0])} to {quantities.short(flight.params[1])} parameters; "
        f"{flight.near_target:.1%} within 10 % of the target, "
        f"{flight.within_limits:.0%} within the limits",
    ]
    if prepared.left_out:
        sizes = ", ".join(map(str, prepared.left_out))
        lines.append(f"resolutions left out, too large or too small for these images: {sizes}")
    lines.append(f"objective: {config.objective.describe(config.recipe.metric)}")
    lines.append(f"recipe: {config.recipe.describe()}")
    lines.append(_time_line(prepared))
    return lines


def _time_line(prepared: Prepared) -> str:
    each, parts = quantities.duration(prepared.estimate), []
    if not prepared.estimate:
        return "time: a trial could not be measured, the example does not fit into memory"
    if prepared.trials is not None:
        whole = prepared.estimate * prepared.trials / max(1, prepared.workers)
        parts.append(f"{prepared.trials} trials in about {quantities.duration(whole)} or less")
    if prepared.seconds is not None:
        parts.append(f"at most {quantities.duration(prepared.seconds)}")
    workers = f"{max(1, prepared.workers)} worker{'s' if prepared.workers > 1 else ''}"
    return f"time: about {each} a trial on {workers}; {', '.join(parts)}"


def open_study(prepared: Prepared) -> Store:
    """Open the store and create the study, or find it with the same meaning."""
    config = prepared.config
    store = Store.open(prepared.store)
    try:
        stored = config.to_json() | {"trials": prepared.trials, "seconds": prepared.seconds}
        recipes = {config.recipe.hash: config.recipe.to_json()}
        store.create_study(prepared.name, stored, recipes=recipes)
    except BaseException:
        store.close()
        raise
    return store


def check_folder(path: Path) -> None:
    """Refuse a folder for --out that can't be made or written."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"--out is a folder to write to, not {str(path)!r}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a folder to write to; {nearest} can't be written.")


def read_limits(max_flops: str | float | None, max_params: str | float | None) -> Limits:
    """Read hard limits as people write them."""
    return Limits(
        macs=None if max_flops is None else quantities.count(max_flops, "--max-flops"),
        params=None if max_params is None else quantities.count(max_params, "--max-params"),
    )
