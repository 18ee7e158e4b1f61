"""The verbs as plain functions; the command line and the Python API are thin skins over them.

Importing this module imports no torch: `status` and `top` never do.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from nas import quantities
from nas.cost import Limits
from nas.errors import NasError, SpaceError, StoreError, UserError
from nas.objective import objective as make_objective
from nas.store import queries
from nas.store.engine import DEFAULT_URL
from nas.store.records import CurvePoint

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.data import DataSet
    from nas.driver import Watch
    from nas.preflight import Preflight
    from nas.search_space import SearchSpace
    from nas.store.store import Store
    from nas.study import Config
    from nas.winner import Best

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
    watch: "Watch"


@dataclass(frozen=True)
class Study:
    """A study that was searched: its counts of trials, and the best if one was completed."""

    name: str
    store: str
    counts: queries.Counts
    winner: "Best | None"
    completed: bool

    @property
    def best(self) -> "Best":
        """The winner; raises NasError where no trial was completed."""
        if self.winner is None:
            raise NasError(f"Study {self.name!r} has no complete trial.")
        return self.winner

    def top(self, n: int = 5) -> list[queries.TrialInfo]:
        """Return the n best trials of different architectures."""
        return top(self.name, store=self.store, n=n)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        best = self.winner.to_json() if self.winner else None
        return {"study": self.name, "best": best, "trials": vars(self.counts)}


def search(
    space: str = "mixconv",
    data: str = "digits",
    target_flops: str | float | None = None,
    **options: Unpack[SearchOptions],
) -> Study:
    """Search a space on a data set for the best network near a FLOPs target.

    The same call goes on with a study that was interrupted. Raises UserError, before anything is
    written, for what can't be searched.
    """
    say = options.get("say", _silent)
    with _taken_back(Path(options.get("out", "studies"), CACHE)):
        prepared = _prepare(space, data, target_flops, options)
        store = _open(prepared)
    for line in _announce(prepared):
        say(line)
    return _run(prepared, store, options.get("watch", lambda _: None))


def resume(
    study: str,
    *,
    store: str | None = None,
    trials: int | None = None,
    time: str | float | None = None,
    workers: int | None = None,
    watch: "Watch | None" = None,
) -> Study:
    """Go on with a study as it was configured, up to its number of trials or a new one."""
    from nas.study import Config

    url = store_url(store)
    with queries.connect(url) as connection:
        info = queries.study(connection, study)
    config = Config.from_json(info.config)
    budget = _budget(trials if trials is not None else info.config.get("trials"), time)
    prepared = _Prepared(study, url, config, *budget, _workers(workers), 0.0, None, ())
    return _run(prepared, _open(prepared), watch or (lambda _: None))


@dataclass(frozen=True)
class Status:
    """How far a study is: counts, those running with their epochs, the best so far."""

    study: str
    counts: queries.Counts
    running: tuple[tuple[queries.TrialInfo, int], ...]
    best: queries.TrialInfo | None
    failures: Mapping[str, int]
    config: Mapping[str, Any]


def status(study: str | None = None, *, store: str | None = None) -> list[Status]:
    """Return how far one study is, or all of them."""
    with queries.connect(store_url(store)) as connection:
        infos = [queries.study(connection, study)] if study else queries.studies(connection)
        return [_status(connection, info) for info in infos]


def _status(connection: Any, info: queries.StudyInfo) -> Status:
    best = queries.best(connection, info.id, 1)
    running = tuple(
        (trial, len(queries.curve(connection, trial.evaluation_id)))
        for trial in queries.running(connection, info.id)
    )
    return Status(
        study=info.name,
        counts=queries.counts(connection, info.id),
        running=running,
        best=best[0] if best else None,
        failures=queries.failures(connection, info.id),
        config=info.config,
    )


def top(
    study: str | None = None, *, store: str | None = None, n: int = 5
) -> list[queries.TrialInfo]:
    """Return the n best trials of different architectures of a study, by default the newest."""
    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    with queries.connect(store_url(store)) as connection:
        return queries.best(connection, _study(connection, study).id, n)


@dataclass(frozen=True)
class TrialView:
    """One trial with its architecture and its learning curve."""

    trial: queries.TrialInfo
    architecture: Mapping[str, Any]
    curve: list[CurvePoint]
    metric: str


def show(
    study: str | None = None, number: int | None = None, *, store: str | None = None
) -> TrialView:
    """Return one trial of a study, by default the best of the newest."""
    with queries.connect(store_url(store)) as connection:
        info = _study(connection, study)
        trial = _trial(connection, info, number)
        evaluation = queries.evaluation(connection, trial.evaluation_id)
        curve = queries.curve(connection, trial.evaluation_id)
    return TrialView(trial, evaluation.architecture, curve, info.config["recipe"]["metric"])


def newest(store: str | None = None) -> str:
    """Return the name of the newest study."""
    with queries.connect(store_url(store)) as connection:
        return _study(connection, None).name


def _study(connection: Any, name: str | None) -> queries.StudyInfo:
    if name is not None:
        return queries.study(connection, name)
    studies = queries.studies(connection)
    if not studies:
        raise StoreError("The store has no study yet; nas search makes one.")
    return studies[-1]


def _trial(connection: Any, info: queries.StudyInfo, number: int | None) -> queries.TrialInfo:
    if number is not None:
        return queries.trial(connection, info.id, number)
    best = queries.best(connection, info.id, 1)
    if not best:
        raise StoreError(f"Study {info.name!r} has no complete trial yet; give a trial's number.")
    return best[0]


def export_model(
    study: str | None = None,
    *,
    out: str,
    format: str = "python",  # noqa: A002 - the option's name
    trial: int | None = None,
    store: str | None = None,
) -> Path:
    """Write a trial's network, the best's by default, as files in `out`; return the main one."""
    from nas import export as exporters

    exporter = exporters.get(format)
    _check_folder(Path(out))
    url = store_url(store)
    with queries.connect(url) as connection:
        info = _study(connection, study)
        chosen = _trial(connection, info, trial)
        if chosen.state != "complete":
            raise UserError(
                f"Trial {chosen.number} is {chosen.state}; only complete ones have weights."
            )
        evaluation = queries.evaluation(connection, chosen.evaluation_id)
        looks = dict(queries.test_looks(connection, info.id))
    from nas.architecture import Architecture
    from nas.data import load
    from nas.store.store import Store
    from nas.study import Config, cache_dir
    from nas.winner import facts_of, trained_weights

    config = Config.from_json(info.config)
    architecture = Architecture.from_json(evaluation.architecture)
    data = load(config.data, cache_dir=cache_dir(config.folder))
    writable = Store.open(url)
    try:
        state = trained_weights(writable, evaluation, config, data)
    finally:
        writable.close()
    test = looks.get(evaluation.id, {})
    facts = facts_of(chosen, data, architecture, test)
    return exporter.export(architecture, state, Path(out), facts)


def cost_of(
    name: str,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
) -> "tuple[Architecture, dict[str, Any]]":
    """Count a family member or an architecture's JSON file: totals, and block by block."""
    from nas import network

    _positive(resolution=resolution, classes=classes, in_channels=in_channels)
    architecture = _architecture(name).at(
        resolution=resolution, classes=classes, in_channels=in_channels
    )
    total = network.cost(architecture)
    parts = [part for part, rows in architecture.parts() for _ in rows]
    per_block = [
        {"part": part, "in_channels": channels, "size": size, **row.to_json(), **counted._asdict()}
        for part, (row, channels, size, counted) in zip(
            parts, network.block_costs(architecture), strict=True
        )
    ]
    numbers = {
        "name": name,
        "architecture_id": architecture.id,
        "resolution": architecture.resolution,
        "in_channels": architecture.in_channels,
        "classes": architecture.classes,
        **total._asdict(),
        "blocks": per_block,
    }
    return architecture, numbers


def _positive(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} is a whole number of at least 1, not {number}.")


def _check_folder(path: Path) -> None:
    """Refuse a folder for --out that can't be made or written."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"--out is a folder to write to, not {str(path)!r}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a folder to write to; {nearest} can't be written.")


def _architecture(name: str) -> "Architecture":
    from nas import blocks, search_space
    from nas.architecture import Architecture

    path = Path(name)
    if path.suffix == ".json":
        try:
            data = json.loads(path.read_text())
        except OSError as error:
            raise SpaceError(f"Can't read {path}: {error.strerror}.") from None
        except ValueError as error:
            raise SpaceError(f"{path} is not JSON: {error}.") from None
        if isinstance(data, dict) and "stages" in data and "rows" not in data:
            try:
                return blocks.canonical(Architecture.from_json(data))
            except SpaceError as error:
                raise SpaceError(f"{path}: {error}") from None
    space = search_space.load(name)
    if space.size() > 1:
        raise SpaceError(
            f"{name} is a space of {space.size():,} architectures; cost counts one. Members: "
            f"{', '.join(search_space.members())}; or sample one with nas space sample {name}."
        )
    return space.decode({})


def spaces() -> list[dict[str, Any]]:
    """Return the shipped spaces and members by name."""
    from nas import search_space

    shipped = [("space", name, one) for name, one in search_space.spaces().items()]
    shipped += [("member", name, one) for name, one in search_space.members().items()]
    return [
        {"name": name, "kind": kind, "size": one.size(), "parameters": len(one.parameters())}
        for kind, name, one in shipped
    ]


def space_preflight(
    name: str,
    *,
    target_flops: str | float | None = None,
    max_flops: str | float | None = None,
    max_params: str | float | None = None,
    resolution: int | None = None,
    in_channels: int | None = None,
    classes: int | None = None,
) -> "tuple[SearchSpace, Preflight]":
    """Return a space and its pre-flight."""
    from nas.preflight import Subject, survey
    from nas.search_space import load

    _positive(resolution=resolution, in_channels=in_channels, classes=classes)
    space = load(name)
    if resolution is not None:
        space = space.at_resolution(resolution)
    subject = Subject(space, in_channels or space.in_channels, classes or space.classes)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    return space, survey(subject, target=target, limits=_limits(max_flops, max_params))


def space_sample(name: str, *, n: int = 1, seed: int = 0) -> "list[Architecture]":
    """Return n random architectures of a space, within its limits."""
    import random

    from nas.search_space import load

    if n < 1:
        raise UserError(f"--n is a whole number of at least 1, not {n}.")
    space, rng = load(name), random.Random(seed)
    return [space.decode(space.sample(rng)) for _ in range(n)]


def space_validate(name: str) -> "SearchSpace":
    """Read a space and check it whole; raises SpaceError with the place of the first mistake."""
    from nas.search_space import load

    return load(name)


def store_url(store: str | None) -> str:
    """Return the store's URL: the one given, else NAS_STORE, else the default."""
    return store or os.environ.get("NAS_STORE") or DEFAULT_URL


def _silent(_: str) -> None:
    return


def _limits(max_flops: str | float | None, max_params: str | float | None) -> Limits:
    return Limits(
        macs=None if max_flops is None else quantities.count(max_flops, "--max-flops"),
        params=None if max_params is None else quantities.count(max_params, "--max-params"),
    )


@dataclass(frozen=True)
class _Prepared:
    """A search that was checked and can begin."""

    name: str
    store: str
    config: "Config"
    trials: int | None
    seconds: float | None
    workers: int
    estimate: float  # seconds of one trial
    preflight: "Preflight | None"
    left_out: tuple[int, ...]


def _prepare(
    space_name: str, data_name: str, target_flops: str | float | None, options: SearchOptions
) -> _Prepared:
    """Check everything that can be checked before a study exists."""
    from nas import pruners, samplers
    from nas.data import load as load_data
    from nas.preflight import Subject, survey
    from nas.study import Config
    from nas.training.recipe import default_recipe

    if target_flops is None:
        raise UserError("A search needs a FLOPs target, such as --target-flops 300M.")
    target = quantities.count(target_flops, "--target-flops")
    goal = make_objective(target, options.get("objective", "soft"), options.get("w"))
    max_flops = options.get("max_flops")
    limits = _limits(
        OVER_TARGET * target if max_flops is None else max_flops, options.get("max_params")
    )
    sampler = options.get("sampler", samplers.DEFAULT)
    pruner = options.get("pruner", pruners.DEFAULT)
    seed = options.get("seed", 0)
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed is a whole number from 0 to 4294967295, not {seed}.")
    _positive(epochs=options.get("epochs"), resolution=options.get("resolution"))
    samplers.check(sampler)
    pruners.check(pruner)
    budget = _budget(options.get("trials"), options.get("time"))
    workers = _workers(options.get("workers"))
    space = _space(space_name)
    out = options.get("out", "studies")
    _check_folder(Path(out))
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
        data=str(Path(data_name)),  # images/ is images
        classes=len(data.classes),
        in_channels=data.in_channels,
        recipe=recipe,
        objective=goal,
        limits=limits,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        folder=str(Path(out, name)),
    )
    estimate = _estimate(preflight, config, data)
    url = store_url(options.get("store"))
    return _Prepared(name, url, config, *budget, workers, estimate, preflight, left_out)


@contextmanager
def _taken_back(cache: Path) -> Iterator[None]:
    """After a user's mistake, remove what loading the data left: nothing is written."""
    missing = [folder for folder in (cache, *cache.parents) if not folder.exists()]
    before = set(cache.glob("*"))
    try:
        yield
    except UserError:
        for path in set(cache.glob("*")) - before:
            path.unlink(missing_ok=True)
        for folder in missing:
            with suppress(OSError):  # another search has begun to use it
                folder.rmdir()
        raise


def _space(name: str) -> "SearchSpace":
    from nas.search_space import load

    return load(name)


def _for_data(
    space: "SearchSpace", data: "DataSet", resolution: int | None
) -> "tuple[SearchSpace, tuple[int, ...]]":
    """Fix the resolution if one was asked for; else leave out those far above the data's own."""
    if resolution is not None:
        return space.at_resolution(resolution), ()
    return space.for_images(data.native_resolution)


def _check_name(name: str) -> None:
    if not name or name.startswith(".") or any(c in name for c in "/\\\0\n"):
        raise UserError(f"A study's name is the name of a folder, not {name!r}.")


def _budget(trials: int | None, time: str | float | None) -> tuple[int | None, float | None]:
    if trials is not None and trials < 1:
        raise UserError(f"--trials is a whole number of at least 1, not {trials}.")
    if trials is None and time is None:
        return DEFAULT_TRIALS, float(quantities.seconds(DEFAULT_TIME, "--time"))
    return trials, None if time is None else float(quantities.seconds(time, "--time"))


def _workers(asked: int | None) -> int:
    import torch

    if asked is not None and asked < 1:
        raise UserError(f"--workers is a whole number of at least 1, not {asked}.")
    return asked or (1 if torch.cuda.is_available() else min(_cores(), MAX_DEFAULT_WORKERS))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(workers: int) -> int:
    return max(1, _cores() // workers)


def _estimate(preflight: "Preflight", config: "Config", data: "DataSet") -> float:
    """Return the seconds of one trial of the pre-flight's example, on one worker's threads."""
    from nas.architecture import Architecture
    from nas.training.estimate import training_seconds

    example = Architecture.from_json(preflight.example)
    return training_seconds(example, config.recipe, len(data.splits["train"]), 1)


def _announce(prepared: _Prepared) -> list[str]:
    """Say what will be searched and how long it will take."""
    flight, config = prepared.preflight, prepared.config
    if flight is None:
        return []
    lines = [
        f"study {prepared.name} in {config.folder}",
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


def _time_line(prepared: _Prepared) -> str:
    each, parts = quantities.duration(prepared.estimate), []
    if prepared.trials is not None:
        whole = prepared.estimate * prepared.trials / prepared.workers
        parts.append(f"{prepared.trials} trials in about {quantities.duration(whole)} or less")
    if prepared.seconds is not None:
        parts.append(f"at most {quantities.duration(prepared.seconds)}")
    workers = f"{prepared.workers} worker{'s' if prepared.workers > 1 else ''}"
    return f"time: about {each} a trial on {workers}; {', '.join(parts)}"


def _open(prepared: _Prepared) -> "Store":
    """Open the store and create the study, or find it with the same meaning."""
    from nas.store.store import Store

    config = prepared.config
    store = Store.open(prepared.store)
    try:
        stored = config.to_json() | {"trials": prepared.trials}
        recipes = {config.recipe.hash: config.recipe.to_json()}
        store.create_study(prepared.name, stored, recipes=recipes)
    except BaseException:
        store.close()
        raise
    return store


def _run(prepared: _Prepared, store: "Store", watch: "Watch") -> Study:
    """Run a study's workers, conclude it, close the store."""
    from nas.driver import Driver
    from nas.study import Job
    from nas.winner import conclude

    deadline = None if prepared.seconds is None else time.time() + prepared.seconds
    job = Job(
        store=prepared.store,
        study=prepared.name,
        worker="",
        trials=prepared.trials,
        deadline=deadline,
        threads=_threads(prepared.workers),
    )
    try:
        driver = Driver(job, prepared.config, prepared.workers, prepared.estimate, watch)
        completed = driver.run()
        winner = conclude(store, prepared.name) if completed else None
        with store.read() as connection:
            info = queries.study(connection, prepared.name)
            counts = queries.counts(connection, info.id)
    finally:
        store.close()
    return Study(prepared.name, prepared.store, counts, winner, completed)
