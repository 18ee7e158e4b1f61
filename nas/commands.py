"""The verbs as plain functions; the command line and the Python API are thin skins over them.

Importing this module imports no torch: `status` and `top` never do.
"""

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from nas import executors, quantities
from nas.errors import NasError, SpaceError, StoreError, UserError
from nas.store import queries
from nas.store.engine import resolve
from nas.store.records import CurvePoint

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.config import Config
    from nas.driver import Watch
    from nas.family import Family, Rounding
    from nas.latency.table import LatencyTable
    from nas.preflight import Preflight
    from nas.preparation import Prepared, SearchOptions
    from nas.proxies._comparison import Measured, ProxyReport
    from nas.ranking import Front, Rescored
    from nas.scaling import Coefficients
    from nas.search_space import SearchSpace
    from nas.store.store import Store
    from nas.winner import Best


MEASURING = 5.0  # seconds for each network whose latency is measured


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


def search(
    space: "str | SearchSpace" = "mixconv",
    data: str = "digits",
    target_flops: str | float | None = None,
    **options: "Unpack[SearchOptions]",
) -> Study:
    """Search a space on a data set for the best network near a FLOPs target.

    The same call goes on with a study that was interrupted. Raises UserError, before anything is
    written, for what can't be searched.
    """
    from nas import preparation

    say = options.get("say", _silent)
    with closing(executors.get(options)) as executor:
        with preparation.taken_back(Path(options.get("out", "studies"), preparation.CACHE)):
            prepared = preparation.prepare(space, data, target_flops, options, executor)
            store = preparation.open_study(prepared)
        for line in preparation.announce(prepared):
            say(line)
        return _run(prepared, store, options.get("watch", _silent))


def resume(
    study: str,
    *,
    store: str | None = None,
    trials: int | None = None,
    time: str | float | None = None,
    watch: "Watch | None" = None,
    **where: "Unpack[executors.Options]",
) -> Study:
    """Go on with a study as it was configured, with its own budget of trials and time or a new one.

    A time limit counts anew each time.
    """
    from nas.config import Config
    from nas.preparation import Prepared, open_study, read_budget

    url = resolve(store)
    with queries.connect(url) as connection:
        info = queries.study(connection, study)
    config = Config.from_json(info.config)
    budget = read_budget(
        info.config.get("trials") if trials is None else trials,
        info.config.get("seconds") if time is None else time,
    )
    with closing(executors.get(where)) as executor:
        prepared = Prepared(study, url, config, *budget, executor, 0.0, None, ())
        return _run(prepared, open_study(prepared), watch or _silent)


def _run(prepared: "Prepared", store: "Store", watch: "Watch") -> Study:
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
    """How far a study is: counts, those running with their epochs, the best so far."""

    study: str
    counts: queries.Counts
    running: tuple[tuple[queries.TrialInfo, int], ...]
    best: queries.TrialInfo | None
    failures: Mapping[str, int]
    config: Mapping[str, Any]
    fidelities: Mapping[int, int]


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
    return Status(
        study=info.name,
        counts=queries.counts(connection, info.id),
        running=running,
        best=best[0] if best else None,
        failures=queries.failures(connection, info.id),
        config=info.config,
        fidelities=queries.fidelities(connection, info.id),
    )


def top(
    study: str | None = None, *, store: str | None = None, n: int = 5
) -> list[queries.TrialInfo]:
    """Return the n best trials of different architectures of a study, by default the newest."""
    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    with queries.connect(resolve(store)) as connection:
        return queries.best(connection, _study(connection, study).id, n)


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
    from nas import ranking

    if out is not None:
        _check_picture(Path(out))
    with queries.connect(resolve(store)) as connection:
        found = ranking.front(connection, _study(connection, study), cost)
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
    from nas import ranking

    target = quantities.count(target_flops, "--target-flops")
    with queries.connect(resolve(store)) as connection:
        return ranking.rescore(connection, _study(connection, study), target, objective, w)


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
        info = _study(connection, study)
        trial = _trial(connection, info, number)
        evaluation = queries.evaluation(connection, trial.evaluation_id)
        curve = queries.curve(connection, trial.evaluation_id)
    return TrialView(trial, evaluation.architecture, curve, info.config["recipe"]["metric"])


def newest(store: str | None = None) -> str:
    """Return the name of the newest study."""
    with queries.connect(resolve(store)) as connection:
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
    from nas.preparation import check_folder

    exporter = exporters.get(format)
    check_folder(Path(out))
    url = resolve(store)
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
    from nas.config import Config, cache_dir
    from nas.data import load
    from nas.store.store import Store
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
    """Count a family member or an architecture's JSON file: totals, by stage, block by block."""
    from nas import network

    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
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
        "stages": _stage_costs(architecture),
    }
    return architecture, numbers


def latency_of(
    names: Sequence[str],
    *,
    batch_size: int = 1,
    threads: int = 1,
    device: str = "cpu",
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
) -> list[dict[str, Any]]:
    """Measure family members or architectures' JSON files in turns: median, quartiles, setting."""
    from nas import network
    from nas.latency import measure

    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    how = measure.setting(batch_size, threads, device)
    found = [
        _architecture(name).at(resolution=resolution, classes=classes, in_channels=in_channels)
        for name in names
    ]
    cases = [
        measure.Case(lambda one=one: network.build(one), one.in_channels, one.resolution)  # type: ignore[misc]
        for one in found
    ]
    seconds = MEASURING * len(cases)
    measured = measure.measure(cases, how, seconds=seconds, every=True)
    return [
        {
            "name": name,
            "architecture_id": one.id,
            "resolution": one.resolution,
            "in_channels": one.in_channels,
            "classes": one.classes,
            "macs": network.cost(one).macs,
            **vars(latency),
            "setting": how.to_json(),
        }
        for name, one, latency in zip(names, found, measured, strict=True)
    ]


class TableOptions(TypedDict, total=False):
    """What may be said of a latency table besides its space and file.

    The images are those of `data`, or given by the next three, or the space's own. With a target
    of FLOPs or latency the networks that are measured lie near it.
    """

    data: str | None
    resolution: int | None
    classes: int | None
    in_channels: int | None
    target_flops: str | float | None
    target_latency: str | float | None
    batch_size: int
    threads: int
    device: str
    seconds: float
    seed: int
    say: Callable[[str], None]


def latency_table(space: str, out: str, **options: "Unpack[TableOptions]") -> "LatencyTable":
    """Measure networks of a space and their blocks, and write the table that predicts the others.

    Raises UserError, before anything is measured, for what can't be.
    """
    from nas.latency import learn, measure
    from nas.preparation import table_subject
    from nas.timing import check_seconds, table_goal

    subject = table_subject(
        space, options.get("data"), options.get("resolution"), options.get("classes"),
        options.get("in_channels"),
    )  # fmt: skip
    goal = table_goal(options.get("target_flops"), options.get("target_latency"))
    how = measure.setting(
        options.get("batch_size", 1), options.get("threads", 1), options.get("device", "cpu")
    )
    seconds = check_seconds("--seconds", options.get("seconds", 90.0))
    _check_file(out)
    table = learn.make(
        subject, how, goal=goal, seconds=seconds, seed=options.get("seed", 0),
        say=options.get("say", _silent),
    )  # fmt: skip
    table.write(Path(out))
    return table


def _check_file(out: str) -> None:
    """Refuse a file that can't be written."""
    nearest = next(folder for folder in Path(out).absolute().parents if folder.exists())
    if Path(out).is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a file to write, in a folder that can be written, not {out!r}.")


def _stage_costs(architecture: "Architecture") -> list[dict[str, Any]]:
    """Sum up the costs of the stem, each stage and the head, which ends in one vector of logits."""
    from nas import blocks, network

    steps = iter(network.block_costs(architecture))
    stages = []
    for part, rows in architecture.parts():
        inside = list(itertools.islice(steps, len(rows)))
        last, _, size, _ = inside[-1]
        stage = {
            "part": part,
            "blocks": dict(Counter(row.block for row in rows)),
            "resolution_in": inside[0][2],
            "resolution_out": 1 if part == "head" else blocks.out_size(last, size),
            "out_channels": last.out_channels,
            "layers": len(rows),
        }
        for name in ("macs", "params", "activations"):
            stage[name] = sum(getattr(counted, name) for *_, counted in inside)
        stages.append(stage)
    return stages


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
        info = _study(connection, study)
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
    found, title = _network_or_space(name), stem
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


class ScaleOptions(TypedDict, total=False):
    """How the coefficients of a family are searched, where they are not given.

    The grid goes in `step` from 1; `tolerance` is that of alpha beta^2 gamma^2 ~ 2. The others are
    a search's own: each candidate is trained and stored as any trial is.
    """

    step: float | None
    tolerance: float | None
    data: str | None
    trials: int | None
    time: str | float | None
    epochs: int | None
    workers: int | None
    sampler: str | None
    metric: str | None
    seed: int | None
    study: str | None
    folder: str | None


def scale(
    source: str,
    *,
    coefficients: "tuple[float | None, float | None, float | None]" = (None, None, None),
    phi: str | None = None,
    target_flops: str | float | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    divisor: int = 8,
    resolution_multiple: int = 8,
    out: str | None = None,
    store: str | None = None,
    say: Callable[[str], None] | None = None,
    watch: "Watch | None" = None,
    **options: "Unpack[ScaleOptions]",
) -> "Family":
    """Scale a study's winner, a family member or an architecture's JSON file into a family.

    Without alpha, beta and gamma they are searched at phi = 1: every candidate of the grid is
    trained like any trial. Members are those of each phi (0, 1, 2 and 3), or the one nearest the
    target; with `out` each is written there as code. Raises UserError, before anything is trained
    or written, for what can't be scaled.
    """
    from nas import family

    quantities.check_positive(divisor=divisor, resolution_multiple=resolution_multiple)
    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    phis = family.read_phis(phi)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    by, study = family.given(coefficients), None
    _check_scale(phi, target, by, options)
    if out is not None:
        family.check_out(Path(out))
    rounding = family.Rounding(divisor, resolution_multiple)
    network_of, config = _source(source, store)
    network_of = network_of.at(resolution=resolution, classes=classes, in_channels=in_channels)
    if target is not None:
        family.check_target(network_of, target)
    if by is None:
        wanted = phis if target is None else ()
        network_of, by, study = _search_coefficients(
            (source, network_of, config), (rounding, wanted), store, say or _silent,
            watch or _silent, options,
        )  # fmt: skip
    if target is None:
        members = [family.member(network_of, by._replace(phi=one), rounding) for one in phis]
    else:
        members = [family.nearest(network_of, by, target, rounding)]
    found = family.Family(source, by, tuple(members), study)
    return found if out is None else family.write(found, Path(out))


def _check_scale(
    phi: str | None, target: int | None, by: "Coefficients | None", options: ScaleOptions
) -> None:
    """Refuse options that could have no effect beside the others."""
    if phi is not None and target is not None:
        raise UserError("--phi and --target-flops each say which members; give one of them.")
    searched = [name for name, value in options.items() if value is not None]
    if by is not None and searched:
        raise UserError(
            f"--{searched[0]} is for a search of the coefficients; --alpha, --beta and --gamma are"
            " given."
        )


def _source(source: str, store: str | None) -> "tuple[Architecture, Config | None]":
    """Return the network to scale, and the study's configuration where it is a study's winner."""
    from nas import search_space
    from nas.architecture import Architecture
    from nas.config import Config

    if source in search_space.names() or Path(source).suffix in (".json", ".py"):
        return _architecture(source), None
    try:
        with queries.connect(resolve(store)) as connection:
            info = queries.study(connection, source)
            winner = _trial(connection, info, None)
            evaluation = queries.evaluation(connection, winner.evaluation_id)
    except StoreError as error:
        raise UserError(
            f"{source!r} is no family member (nas space list), no architecture's JSON file, and no"
            f" study with a complete trial: {error}"
        ) from None
    return Architecture.from_json(evaluation.architecture), Config.from_json(info.config)


def _search_coefficients(
    source: "tuple[str, Architecture, Config | None]",
    scaling: "tuple[Rounding, Sequence[float]]",
    store: str | None,
    say: Callable[[str], None],
    watch: "Watch",
    options: ScaleOptions,
) -> "tuple[Architecture, Coefficients, str]":
    """Train the candidates at phi = 1; return the source for this data, the best, the study's name.

    As in the paper the best is the most accurate of those that keep to twice the FLOPs: the hard
    objective, with the tolerance of the product on the target.
    """
    from nas import family, network
    from nas.data import load
    from nas.preparation import CACHE, taken_back

    (name, architecture, config), (rounding, phis) = source, scaling
    data = options.get("data") or (config.data if config else None)
    if data is None:
        raise UserError(
            "Without --alpha, --beta and --gamma they are searched, which needs --data."
        )
    folder = options.get("folder") or "studies"
    step, tolerance = options.get("step"), options.get("tolerance")
    grid = family.candidates(step, tolerance)
    with taken_back(Path(folder, CACHE)):
        images = load(data, cache_dir=Path(folder, CACHE))
        architecture = architecture.at(classes=len(images.classes), in_channels=images.in_channels)
        found = family.distinct(grid, architecture, rounding)
        for by in found.values():  # a member that is impossible is said before hours of training
            for phi in phis:
                rounding.scale(architecture, by._replace(phi=phi))
    title = f"{Path(name).stem}-scaling"
    space = family.coefficient_space(title, architecture, list(found.values()), rounding)
    settings: dict[str, Any] = {"trials": len(found), "sampler": "grid", "pruner": "none"}
    if config:
        recipe = config.recipe
        settings |= {"epochs": recipe.epochs, "metric": recipe.metric, "seed": recipe.seed}
    names = ("trials", "time", "epochs", "workers", "sampler", "metric", "seed")
    settings |= {key: value for key, value in options.items() if key in names and value is not None}
    room = 1 + (family.TOLERANCE if tolerance is None else tolerance)
    result = search(
        space,
        data,
        round(family.TOTAL * room * network.cost(architecture).macs),
        objective="hard",
        max_flops=max(network.cost(rounding.scale(architecture, by)).macs for by in found.values()),
        study=options.get("study") or title,
        store=store,
        out=folder,
        say=say,
        watch=watch,
        **settings,
    )
    return architecture, found[result.best.architecture.id], result.name


def _read_json(name: str) -> Mapping[str, Any]:
    """Return the object in a JSON file; an empty one for a name that is no such file."""
    if Path(name).suffix != ".json":
        return {}
    try:
        data = json.loads(Path(name).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SpaceError(f"Can't read {name}: {error.strerror}.") from None
    except ValueError as error:
        raise SpaceError(f"{name} is not JSON: {error}.") from None
    return data if isinstance(data, dict) else {}


def _network_or_space(name: str) -> "Architecture | SearchSpace":
    """Read an architecture's JSON file, or load a space or a member, which is a space of one."""
    from nas import blocks, search_space
    from nas.architecture import FORMAT, Architecture

    data = _read_json(name)
    if data.get("format") == FORMAT:
        try:
            return blocks.canonical(Architecture.from_json(data))
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from None
    return search_space.load(name)


def _architecture(name: str) -> "Architecture":
    """Return the one network of this name; raises SpaceError for a space of many."""
    from nas.architecture import Architecture

    found = _network_or_space(name)
    if isinstance(found, Architecture):
        return found
    if found.size() > 1:
        raise SpaceError(
            f"{name} is a space of {found.size():,} architectures, not one network. nas space list"
            f" has the family members; nas space sample {name} --json draws one."
        )
    return found.decode({})


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
    from nas.preflight import Subject, survey
    from nas.preparation import read_limits
    from nas.search_space import load

    quantities.check_positive(resolution=resolution, in_channels=in_channels, classes=classes)
    space = load(name)
    if resolution is not None:
        space = space.at_resolution(resolution)
    subject = Subject(space, in_channels or space.in_channels, classes or space.classes)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    goal = None if target is None else objective(target)
    return space, survey(subject, objective=goal, limits=read_limits(max_flops, max_params))


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
