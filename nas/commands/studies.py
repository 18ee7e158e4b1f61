"""The verbs as plain functions; the command line and the Python API are thin skins over them.

Here are those about studies and spaces; networks and families have modules of their own beside it.

Importing this module imports no torch: `status` and `top` never do.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas import quantities
from nas.commands.networks import network_or_space
from nas.errors import NasError, StoreError, UserError
from nas.store import queries
from nas.store.activity import Activity, activity
from nas.store.engine import resolve
from nas.store.records import CurvePoint
from nas.study import options
from nas.study.disk import little_space

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.proxies._comparison import Measured, ProxyReport
    from nas.report.ranking import Front, Rescored
    from nas.search_space import SearchSpace
    from nas.search_space.preflight import Preflight
    from nas.store.store import Store
    from nas.study.driver import Watch
    from nas.study.preparation import Prepared
    from nas.study.winner import Best

Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """A study that was searched: its counts of trials, and the best if one was completed."""

    name: str
    store: str = field(repr=False)  # it may have a password
    counts: queries.Counts
    winner: "Best | None"
    completed: bool

    @property
    def best(self) -> "Best":
        """The winner; raises NasError where the search was stopped, or no trial was completed."""
        if self.winner is None:
            why = "has no complete trial" if self.completed else "was stopped before its end"
            raise NasError(f"Study {self.name!r} {why}.")
        return self.winner

    def top(self, n: int = 5) -> list[queries.TrialInfo]:
        """Return the n best trials of different architectures."""
        return top(self.name, store=self.store, n=n)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        best = self.winner.to_json() if self.winner else None
        found: dict[str, Any] = {"study": self.name, "best": best, "trials": vars(self.counts)}
        if self.winner and self.winner.front:
            found["front"] = [trial.summary() for trial in self.winner.front.trials]
        return found


@options.documented(options.declared(), by_position=3)
def search(
    space: "str | SearchSpace | None" = None,
    data: str | None = None,
    target_flops: str | float | None = None,
    *,
    say: Say | None = None,
    watch: "Watch | None" = None,
    **given: Any,
) -> Study:
    """Search a space on a data set for the best network near a FLOPs or latency target.

    The same call goes on with a study that was interrupted. Raises UserError, before anything is
    written, for what can't be searched. `say` receives the pre-flight's lines, `watch` a snapshot
    every second. The options are those of the command line:
    """
    from nas.study.announcement import announce
    from nas.study.preparation import CACHE, open_study, prepare, taken_back

    asked = options.read({"space": space, "data": data, "target_flops": target_flops, **given})
    options.check(asked)
    with closing(asked.new_executor()) as executor:
        with taken_back(Path(asked.out, CACHE)):
            prepared = prepare(asked, executor=executor, say=say or _silent)
            store = open_study(prepared)
        for line in announce(prepared):
            (say or _silent)(line)
        return _run(prepared, store, watch or _silent)


@options.documented(options.resumable())
def resume(study: str, *, watch: "Watch | None" = None, **given: Any) -> Study:
    """Go on with a study as it was configured, with its own budget of trials and time or a new one.

    A time limit counts anew each time. `watch` receives a snapshot every second.
    """
    from nas.config import Config
    from nas.study.preparation import Prepared, open_study

    asked = options.read(given, options.resumable())
    url = resolve(asked.store)
    with queries.connect(url) as connection:
        info = queries.study(connection, study)
    config = Config.from_json(info.config)
    trials = asked.trials or info.config.get("trials")
    seconds = asked.time or info.config.get("seconds")
    budget = options.budget(trials, seconds)
    with closing(asked.new_executor()) as executor:
        prepared = Prepared(study, url, config, *budget, executor, 0.0, None, ())
        return _run(prepared, open_study(prepared), watch or _silent)


def _run(prepared: "Prepared", store: "Store", watch: "Watch") -> Study:
    """Run a study's workers, conclude it, close the store."""
    from nas.study.driver import Driver
    from nas.study.winner import conclude
    from nas.study.worker import Job

    deadline = None if prepared.seconds is None else time.time() + prepared.seconds
    job = Job(
        store=prepared.store,
        study=prepared.name,
        worker="",
        trials=prepared.trials,
        deadline=deadline,
        threads=prepared.executor.threads,
    )
    try:
        driver = Driver(job, prepared.config, prepared.executor, prepared.estimate, watch)
        completed = driver.run()
        winner = conclude(store, prepared.name) if completed else None
        with store.read() as connection:
            info = queries.study(connection, prepared.name)
            counts = queries.counts(connection, info.id)
    finally:
        store.close()
    return Study(prepared.name, prepared.store, counts, winner, completed)


def _silent(_: object) -> None:
    return


@dataclass(frozen=True)
class Status:
    """How far a study is: counts, those running with their epochs, the best, what goes on now.

    `disk` says how little is left for the checkpoints of those at work, on a full disk of this
    machine.
    """

    study: str
    counts: queries.Counts
    running: tuple[tuple[queries.TrialInfo, int], ...]
    best: queries.TrialInfo | None
    failures: Mapping[str, int]
    config: Mapping[str, Any]
    fidelities: Mapping[int, int]
    activity: Activity
    disk: str | None = None


def status(study: str | None = None, *, store: str | None = None) -> list[Status]:
    """Return how far one study is, or all of them."""
    with queries.connect(resolve(store)) as connection:
        infos = [queries.study(connection, study)] if study else queries.studies(connection)
        return [_status(connection, info) for info in infos]


def _status(connection: Any, info: queries.StudyInfo) -> Status:
    best = queries.best(connection, info.id, 1)
    running = tuple(
        (trial, len(queries.curve(connection, trial.evaluation_id)))
        for trial in queries.running(connection, info.id)
    )
    now = activity(connection, info)
    folder = info.config.get("checkpoints") or info.config.get("folder")
    return Status(
        study=info.name,
        counts=queries.counts(connection, info.id),
        running=running,
        best=best[0] if best else None,
        failures=queries.failures(connection, info.id),
        config=info.config,
        fidelities=queries.fidelities(connection, info.id),
        activity=now,
        disk=little_space(folder) if folder and now.working else None,
    )


def top(
    study: str | None = None, *, store: str | None = None, n: int = 5
) -> list[queries.TrialInfo]:
    """Return the n best trials of different architectures of a study, by default the newest."""
    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    with queries.connect(resolve(store)) as connection:
        return queries.best(connection, study_of(connection, study).id, n)


def front(
    study: str | None = None,
    *,
    cost: str = "macs",
    out: str | None = None,
    store: str | None = None,
) -> "Front":
    """Rebuild a study's front of metric and cost, macs or params, from all its trials.

    With `out`, an .svg or .png file, it is drawn there.
    """
    from nas.report import ranking

    if out is not None:
        _check_picture(Path(out))
    with queries.connect(resolve(store)) as connection:
        found = ranking.front(connection, study_of(connection, study), cost)
    if out is not None:
        from nas.report.front import draw_front

        with _written(Path(out)):
            draw_front(found, Path(out))
    return found


def rescore(
    study: str | None = None,
    *,
    target_flops: str | float,
    w: float | None = None,
    objective: str | None = None,
    store: str | None = None,
) -> "Rescored":
    """Rank a study's complete trials by another objective, soft or hard; nothing is trained.

    What is left out is the study's own.
    """
    from nas.report import ranking

    target = quantities.count(target_flops, "--target-flops")
    with queries.connect(resolve(store)) as connection:
        return ranking.rescore(connection, study_of(connection, study), target, objective, w)


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
    with queries.connect(resolve(store)) as connection:
        info = study_of(connection, study)
        trial = trial_of(connection, info, number)
        evaluation = queries.evaluation(connection, trial.evaluation_id)
        curve = queries.curve(connection, trial.evaluation_id)
    return TrialView(trial, evaluation.architecture, curve, info.config["recipe"]["metric"])


def newest(store: str | None = None) -> str:
    """Return the name of the newest study."""
    with queries.connect(resolve(store)) as connection:
        return study_of(connection, None).name


def study_of(connection: Any, name: str | None) -> queries.StudyInfo:
    """Return the study of this name, or the newest; raise StoreError where there is none."""
    if name is not None:
        return queries.study(connection, name)
    studies = queries.studies(connection)
    if not studies:
        raise StoreError("The store has no study yet; nas search makes one.")
    return studies[-1]


def trial_of(connection: Any, info: queries.StudyInfo, number: int | None) -> queries.TrialInfo:
    """Return the trial of this number, or the best; raise StoreError where there is none."""
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
    from nas.study.preparation import check_folder

    exporter = exporters.get(format)
    check_folder(Path(out))
    url = resolve(store)
    with queries.connect(url) as connection:
        info = study_of(connection, study)
        chosen = trial_of(connection, info, trial)
        if chosen.state != "complete":
            raise UserError(
                f"Trial {chosen.number} is {chosen.state}; only complete ones have weights."
            )
        evaluation = queries.evaluation(connection, chosen.evaluation_id)
        looks = dict(queries.test_looks(connection, info.id))
    from nas.architecture import Architecture
    from nas.config import Config, cache_dir
    from nas.data import load
    from nas.store.store import Store
    from nas.study.winner import facts_of, trained_weights

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


def compare_proxies(
    study: str | None = None,
    *,
    proxies: str | Sequence[str] | None = None,
    out: str | None = None,
    store: str | None = None,
    say: Callable[[str], None] | None = None,
) -> "ProxyReport":
    """Compare zero-cost proxies with the metric of a study's complete trials, each network once.

    All proxies unless some are named; macs and params are always among them. With `out`, a .svg or
    .png file, a picture is drawn. Raises UserError where there is no complete trial.
    """
    from nas import proxies as registry

    wanted = registry.read(proxies) if proxies is not None else tuple(registry.names())
    if out is not None:
        _check_picture(Path(out))
    with queries.connect(resolve(store)) as connection:
        info = study_of(connection, study)
        metric = info.config["recipe"]["metric"]
        complete = [t for t in queries.trials(connection, info.id) if t.state == "complete"]
        trials = {t.architecture_id: t for t in complete if t.metrics.get(metric) is not None}
        found = [queries.evaluation(connection, t.evaluation_id) for t in trials.values()]
    if not trials:
        raise UserError(f"Study {info.name!r} has no complete trial yet: nothing to compare with.")
    from nas.architecture import Architecture
    from nas.proxies._comparison import ProxyReport, compare
    from nas.report.proxies import draw_proxies

    networks = [Architecture.from_json(each.architecture) for each in found]
    macs = [trial.cost.macs for trial in trials.values()]
    truth = [float(trial.metrics[metric] or 0.0) for trial in trials.values()]
    names = dict.fromkeys((*wanted, *registry.BASELINES))
    compared = compare(_measured(names, networks, info.config, say or _silent), truth)
    report = ProxyReport(info.name, metric, macs, truth, compared, Path(out) if out else None)
    if report.picture is not None:
        with _written(report.picture):
            draw_proxies(report, report.picture)
    return report


def _measured(
    names: Iterable[str],
    networks: "Sequence[Architecture]",
    stored: Mapping[str, Any],
    say: Callable[[str], None],
) -> "dict[str, Measured]":
    """Measure networks with each proxy, on the study's own data and by its seed."""
    from nas.config import Config, cache_dir
    from nas.data import load
    from nas.proxies._candidate import Batches
    from nas.proxies._comparison import timed
    from nas.training.recipe import check_fits

    config = Config.from_json(stored)
    data = load(config.data, cache_dir=cache_dir(config.folder))
    check_fits(config.recipe, data)
    batches = Batches(lambda: data, config.seed)
    for size in {network.resolution for network in networks}:
        batches.at(size)  # read once for all networks: no proxy's time
    found = {}
    for name in names:
        found[name] = timed(partial(batches.measure, name), networks)
        say(f"{name}: {len(networks)} networks, {found[name].seconds:.2g} s each")
    return found


class Diagram(NamedTuple):
    """The files of a picture that was drawn, and what it shows."""

    files: list[Path]
    title: str


def space_diagram(
    name: str,
    *,
    out: str | None = None,
    seed: int = 0,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
) -> Diagram:
    """Draw a family member, an architecture's JSON file, or a random sample of a space.

    Writes the .svg or .png file `out`; without it both, named after the network, in this folder.
    """
    import random

    from nas.architecture import Architecture

    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    stem = Path(name).stem if Path(name).suffix in (".json", ".py") else name
    paths = [Path(out)] if out is not None else [Path(f"{stem}.svg"), Path(f"{stem}.png")]
    for path in paths:
        _check_picture(path)
    found, title = network_or_space(name), stem
    if not isinstance(found, Architecture):
        if found.size() > 1:
            title = f"{stem}, random sample of seed {seed}"
        found = found.decode(found.sample(random.Random(seed)))
    found = found.at(resolution=resolution, classes=classes, in_channels=in_channels)
    from nas.report import diagram

    with _written(*paths):
        diagram.draw(found, *paths, title=title)
    return Diagram(paths, title)


@contextmanager
def _written(*paths: Path) -> Iterator[None]:
    """Make the folders of files that are written in the block; say which can't be."""
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"Can't write {error.filename or paths[0]}: {error.strerror}.") from None


def _check_picture(path: Path) -> None:
    """Refuse a picture that has another suffix than .svg or .png, or can't be written."""
    rule = "--out is a file that ends in .svg or .png"
    if path.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"{rule}, not {str(path)!r}.")
    if path.is_dir():
        raise UserError(f"{rule}, not {str(path)!r}, which is a folder.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"{rule}, in a folder, not {str(path)!r}: {nearest.name!r} is a file.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{rule}, in a folder that can be written, not {str(path)!r}.")


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
    from nas.objective import objective
    from nas.search_space import load
    from nas.search_space.preflight import Subject, survey

    quantities.check_positive(resolution=resolution, in_channels=in_channels, classes=classes)
    space = load(name)
    if resolution is not None:
        space = space.at_resolution(resolution)
    subject = Subject(space, in_channels or space.in_channels, classes or space.classes)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    goal = None if target is None else objective(target)
    limits = options.read({"max_flops": max_flops, "max_params": max_params}).limits
    return space, survey(subject, objective=goal, limits=limits)


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
