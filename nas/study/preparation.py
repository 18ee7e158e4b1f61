"""What is checked, chosen and said before a search begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from nas import executors, proxies, pruners, quantities, samplers
from nas.architecture import Architecture
from nas.config import Config
from nas.cost import Limits
from nas.credentials import is_url
from nas.data import DataSet
from nas.data import load as load_data
from nas.data import names as data_names
from nas.errors import UserError
from nas.executors import Executor
from nas.files import check_folder
from nas.latency.table import LatencyTable
from nas.objective import Objective, latency_objective, objective
from nas.proxies._features import Features
from nas.pruners import ladder as fidelity
from nas.search_space import SearchSpace
from nas.search_space import load as load_space
from nas.search_space.preflight import Preflight, Subject, survey
from nas.store.engine import resolve
from nas.store.store import Store
from nas.study import latency_table as timing
from nas.study.progress import Watch
from nas.study.proposer import PREFILTERED, RANKED
from nas.training import checkpoint
from nas.training.estimate import training_seconds
from nas.training.recipe import Recipe, default_recipe

DEFAULT_TRIALS = 24
DEFAULT_TIME = "30m"
OVER_TARGET = 1.5  # times the target: the hard limit on its cost where none is given
CACHE = ".cache"  # folder of resized images, beside the studies


class SearchOptions(executors.Options, total=False):
    """What may be said of a search besides its space, data and target.

    `objective` is soft, hard or pareto, with weight `w`; `max_flops` and `max_params` are hard
    limits, the former 1.5 times the target unless said otherwise: beyond it trainings are long and
    rarely win. With `target_latency` ("5ms") the objective is about latency, predicted from
    `latency_table`, a file, or from a table made first within `latency_seconds`, at batch
    `latency_batch`; the limit of 1.5 times the target is then on latency.
    `trials` and `time` (seconds, or "30m") end the search; 24 trials or 30 minutes without either.
    With `warm_start` a sampler that learns begins, unless trainings climb a ladder, with what other
    studies of the store know: the networks of this space that were trained under this very recipe.
    `prefilter` names the proxy that ranks the opening's draws, `features` those ("naswot,synflow")
    that the nas sampler may look at. `fidelity` and `reduction` say what the lower rungs of
    successive halving and Hyperband save. `workers` are processes, by default one per core, and one
    where there is a GPU; `executor` says where they run, the rest of its options what Ray gives
    them. `checkpoints` is a folder or URL that all machines see, by default the study's own folder.
    With `showcase` trials carry notes and diagrams for Optuna's dashboard.
    `say` receives the pre-flight's lines, `watch` a snapshot every second.
    """

    objective: str
    w: float | None
    target_latency: str | float | None
    latency_table: str | None
    latency_batch: int | None
    latency_seconds: float | None
    max_flops: str | float | None
    max_params: str | float | None
    trials: int | None
    time: str | float | None
    epochs: int | None
    sampler: str
    pruner: str
    warm_start: bool
    prefilter: str | None
    features: str | Sequence[str] | None
    fidelity: str | None
    reduction: int | None
    metric: str
    seed: int
    resolution: int | None
    showcase: bool
    study: str | None
    store: str | None
    out: str
    checkpoints: str | None
    say: Callable[[str], None]
    watch: Watch


@dataclass(frozen=True)
class Prepared:
    """A search that was checked and can begin."""

    name: str
    store: str = field(repr=False)  # it may have a password
    config: Config
    trials: int | None
    seconds: float | None
    executor: Executor
    estimate: float  # seconds of one trial
    preflight: Preflight | None
    left_out: tuple[int, ...]
    proxy_seconds: Mapping[str, float] = field(default_factory=dict)  # of one network, by proxy


def prepare(
    space: str | SearchSpace,
    data_name: str,
    target_flops: str | float | None,
    options: SearchOptions,
    executor: Executor | None = None,
) -> Prepared:
    """Check everything that can be checked before a study exists.

    The executor is the one asked for, where it is not made yet.
    """
    executor = executor or executors.get(options)
    goal = read_objective(target_flops, options)
    max_flops = options.get("max_flops")
    if max_flops is None and target_flops is not None:
        max_flops = OVER_TARGET * quantities.count(target_flops, "--target-flops")
    limits = read_limits(max_flops, options.get("max_params"))
    how = read_how(options)
    quantities.check_positive(epochs=options.get("epochs"), resolution=options.get("resolution"))
    budget = read_budget(options.get("trials"), options.get("time"))
    if (checkpoints := options.get("checkpoints")) is not None:
        checkpoint.check(checkpoints)
    space = space if isinstance(space, SearchSpace) else load_space(space)
    out = options.get("out", "studies")
    check_folder(Path(out))
    data = load_data(data_name, cache_dir=Path(out, CACHE), say=options.get("say", lambda _: None))
    recipe = _recipe(data, how, options)
    space, left_out = _for_data(space, data, options.get("resolution"))
    subject = Subject(space, data.in_channels, len(data.classes))
    name = options.get("study") or f"{space.name}-{data.name}-{goal.short()}"
    _check_name(name)
    url = resolve(options.get("store"))
    table = None
    if goal.target_latency_ms is not None:
        table = _table(url, name, subject, goal, options)
        goal, subject = replace(goal, table=table.hash), replace(subject, latency=table)
        limits = limits._replace(latency_ms=OVER_TARGET * goal.target)
    preflight = survey(subject, objective=goal, limits=limits, seed=how["seed"])
    config = Config(
        space=space,
        data=data_name if data_name in data_names() else _from_anywhere(data_name),
        classes=len(data.classes),
        in_channels=data.in_channels,
        recipe=recipe,
        objective=goal,
        limits=limits,
        folder=str(Path(out, name).absolute()),
        latency=table,
        checkpoints=None if checkpoints is None else _from_anywhere(checkpoints),
        showcase=options.get("showcase", True),
        **how,
    )
    estimate = _estimate(preflight, config, data, executor.threads)
    own = _proxy_seconds(preflight, config, data)
    _ = executor.workers  # a cluster that is not there is found out before anything is written
    return Prepared(name, url, config, *budget, executor, estimate, preflight, left_out, own)


class How(TypedDict):
    """How a study proposes, and what it gives up: fields of its configuration."""

    sampler: str
    pruner: str
    seed: int
    prefilter: str | None
    features: tuple[str, ...]
    warm_start: bool
    fidelity: str
    reduction: int


def read_how(options: SearchOptions) -> How:
    """Read the sampler, the pruner and what belongs to them."""
    sampler = options.get("sampler", samplers.DEFAULT)
    pruner = options.get("pruner", pruners.DEFAULT)
    seed = options.get("seed", 0)
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is a whole number from 0 to 4294967295, not {seed}.")
    samplers.check(sampler)
    pruners.check(pruner)
    prefilter, features = read_proxies(options, sampler)
    saved, reduction = read_ladder(pruner, options.get("fidelity"), options.get("reduction"))
    learns = samplers.learns(sampler) and not pruners.get(pruner).LADDER
    warm_start = learns and options.get("warm_start", True)
    return How(
        sampler=sampler, pruner=pruner, seed=seed, prefilter=prefilter, features=features,
        warm_start=warm_start, fidelity=saved, reduction=reduction,
    )  # fmt: skip


def _recipe(data: DataSet, how: How, options: SearchOptions) -> Recipe:
    """Return the data's recipe, with the rungs that see less than all of it."""
    recipe = default_recipe(
        data,
        metric=options.get("metric", "accuracy"),
        epochs=options.get("epochs"),
        seed=how["seed"],
    )
    rungs = fidelity.ladder(recipe.epochs, how["fidelity"], how["reduction"])
    return replace(recipe, ladder=tuple(rung for rung in rungs if not rung.is_whole))


def read_proxies(options: SearchOptions, sampler: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the pre-filter and the features that are asked for; refuse those without effect."""
    prefilter, features = options.get("prefilter"), proxies.read(options.get("features"))
    if prefilter is not None:
        proxies.check(prefilter)
    if features and sampler != "nas":
        raise UserError(
            f"--features are for --sampler nas, which is told of them; {sampler} looks at none."
        )
    return prefilter, features


def _proxy_seconds(preflight: Preflight, config: Config, data: DataSet) -> dict[str, float]:
    """Return the seconds that each proxy takes to measure the pre-flight's example."""
    wanted = [name for name in (config.prefilter, *config.features) if name]
    features = Features(wanted, lambda: data, config.seed)
    return features.seconds(Architecture.from_json(preflight.example)) if wanted else {}


def read_objective(target_flops: str | float | None, options: SearchOptions) -> Objective:
    """Read what a search is after; one on latency lacks its table."""
    kind, w = options.get("objective", "soft"), options.get("w")
    target = options.get("target_latency")
    if target is not None:
        return latency_objective(quantities.milliseconds(target, "--target-latency"), None, kind, w)
    for name in ("latency_table", "latency_batch", "latency_seconds"):
        if options.get(name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for a search with --target-latency.")
    if target_flops is None:
        raise UserError(
            "A search needs a FLOPs target, such as --target-flops 300M, or a latency target, such"
            " as --target-latency 5ms."
        )
    return objective(quantities.count(target_flops, "--target-flops"), kind, w)


def _table(
    url: str, name: str, subject: Subject, goal: Objective, options: SearchOptions
) -> LatencyTable:
    """Return the table that a study scores by: the given one, the study's own, or a new one."""
    path, say = options.get("latency_table"), options.get("say", lambda _: None)
    batch, seconds = options.get("latency_batch"), options.get("latency_seconds")
    if path is not None:
        return timing.given_table(path, say, batch, seconds)
    stored = timing.stored_table(url, name)
    if stored is not None:
        if batch not in (None, stored.setting.batch_size):
            raise UserError(
                f"Study {name!r} has a latency table for batches of {stored.setting.batch_size}, "
                f"not of {batch}: leave --latency-batch out, or give another --study name."
            )
        return stored
    return timing.new_table(subject, goal, batch, seconds, options.get("seed", 0), say)


def table_subject(
    space_name: str,
    data_name: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
) -> Subject:
    """Return a space for a data set's images, or for those that the numbers describe."""
    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    space = load_space(space_name)
    if data_name is None:
        space = space if resolution is None else space.at_resolution(resolution)
        return Subject(space, in_channels or space.in_channels, classes or space.classes)
    if classes is not None or in_channels is not None:
        raise UserError("--data says how many classes and channels there are; give no others.")
    data = load_data(data_name, cache_dir=Path("studies", CACHE))
    space, _ = _for_data(space, data, resolution)
    return Subject(space, data.in_channels, len(data.classes))


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


def _from_anywhere(place: str) -> str:
    """Return a URL as it is, a path as one that holds in any folder."""
    return place if is_url(place) else str(Path(place).expanduser().absolute())


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


def read_ladder(pruner: str, saved: str | None, reduction: int | None) -> tuple[str, int]:
    """Return what the lower rungs save and the reduction factor, of pruners that have rungs."""
    given = [n for n, v in (("fidelity", saved), ("reduction", reduction)) if v is not None]
    if given and not pruners.get(pruner).LADDER:
        raise UserError(
            f"--{given[0]} is for --pruner {' or '.join(pruners.ladders())}, not for {pruner!r}."
        )
    chosen = fidelity.DEFAULT if saved is None else saved
    factor = fidelity.REDUCTION if reduction is None else reduction
    fidelity.check(chosen, factor)
    return chosen, factor


def _estimate(preflight: Preflight, config: Config, data: DataSet, threads: int) -> float:
    """Return the seconds of one trial of the pre-flight's example, on one worker's threads."""
    example, images = Architecture.from_json(preflight.example), len(data.splits["train"])
    try:
        return training_seconds(example, config.recipe, images, threads)
    except (MemoryError, RuntimeError):  # it does not fit; trials will say so themselves
        return 0.0


def announce(prepared: Prepared) -> list[str]:
    """Say what will be searched and how long it will take."""
    flight, config = prepared.preflight, prepared.config
    if flight is None:
        return []
    times = flight.latency_ms
    latency = "" if times is None else f", {times[0]:.3g} to {times[1]:.3g} ms"
    lines = [
        f"study {prepared.name} in {quantities.from_here(config.folder)}",
        f"space {flight.space}: {flight.size:.3g} assignments of {flight.parameters} parameters, "
        f"{quantities.short(flight.macs[0])} to {quantities.short(flight.macs[1])} FLOPs, "
        f"{quantities.short(flight.params[0])} to {quantities.short(flight.params[1])} parameters"
        f"{latency}; {flight.near_target:.1%} within 10 % of the target, "
        f"{flight.within_limits:.0%} within the limits",
    ]
    if prepared.left_out:
        sizes = ", ".join(map(str, prepared.left_out))
        lines.append(f"resolutions left out, too large or too small for these images: {sizes}")
    lines.append(f"objective: {config.objective.describe(config.recipe.metric)}")
    lines.append(f"recipe: {config.recipe.describe()}")
    lines += _proxy_lines(prepared)
    if pruners.get(config.pruner).LADDER:
        lines.append(f"{config.pruner}: {config.schedule.describe()}")
    lines.append(_time_line(prepared))
    return lines


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
    if prepared.trials is not None:
        whole = prepared.estimate * prepared.trials / workers
        parts.append(f"{prepared.trials} trials in about {quantities.duration(whole)} or less")
    if prepared.seconds is not None:
        parts.append(f"at most {quantities.duration(prepared.seconds)}")
    return (
        f"time: about {each} a trial on {workers} worker{'s' if workers > 1 else ''}; "
        f"{', '.join(parts)}"
    )


def open_study(prepared: Prepared) -> Store:
    """Open the store and create the study, or find it with the same meaning."""
    config = prepared.config
    store = Store.open(prepared.store)
    try:
        stored = config.to_json() | {"trials": prepared.trials, "seconds": prepared.seconds}
        recipes = {config.recipe.hash: config.recipe.to_json()}
        store.create_study(prepared.name, stored, recipes=recipes)
        if config.latency is not None:
            config.latency.write(Path(config.folder, timing.TABLE))
    except BaseException:
        store.close()
        raise
    return store


def read_limits(max_flops: str | float | None, max_params: str | float | None) -> Limits:
    """Read hard limits as people write them."""
    return Limits(
        macs=None if max_flops is None else quantities.count(max_flops, "--max-flops"),
        params=None if max_params is None else quantities.count(max_params, "--max-params"),
    )
