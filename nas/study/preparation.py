"""A search is checked and prepared before its study is made."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.architecture import Architecture
from nas.config import CACHE, Config
from nas.credentials import is_url
from nas.data import DataSet, is_name
from nas.data import load as load_data
from nas.data.layout import Patterns
from nas.errors import StoreAway, StoreError, UserError
from nas.executors import Executor
from nas.files import check_folder
from nas.proxies._features import Features
from nas.pruners import ladder
from nas.search_space import SearchSpace
from nas.search_space import load as load_space
from nas.search_space.preflight import Preflight, Subject, survey
from nas.store import dashboard, queries
from nas.store.engine import masked, patient, resolve
from nas.store.queries import find_study
from nas.store.store import Store
from nas.study import lengths
from nas.study.aids import GivenAids, given_aids
from nas.study.finalists import finals_of, reserved
from nas.study.latency_table import TABLE, table_for
from nas.study.lessons import with_lessons
from nas.study.options import OVER_TARGET, SearchOptions, check, check_study, declared, fixed
from nas.training import recipe_choices, recipe_file
from nas.training.estimate import training_seconds
from nas.training.methods import Aids
from nas.training.recipe import Recipe
from nas.training.recipes import DEFAULT, FINAL_FOLDS, SEARCH_FOLDS, compose, lengthened

if TYPE_CHECKING:
    from nas.training.sources import Source

Say = Callable[[str], None]


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
    final_times: float = 0.0  # how many times as long as a trial a training in full takes
    data: DataSet | None = field(default=None, repr=False)  # of a study that begins
    sources: tuple["Source", ...] = field(default=(), repr=False)  # its recipes' weights

    @property
    def start(self) -> "Source | None":
        """The weights that every training starts from, if any."""
        wanted = self.config.recipe.start
        return next((each for each in self.sources if each.digest == wanted), None)

    @property
    def expected(self) -> float | None:
        """The seconds of all trials, about, if none is pruned; None without a number of them."""
        if self.trials is None:
            return None
        turns = math.ceil(self.trials / self.executor.workers)
        return self.executor.starting + self.estimate * turns

    @property
    def final_estimate(self) -> float:
        """The seconds of one training in full; 0 where they are not known."""
        return self.estimate * self.final_times

    @property
    def reserved(self) -> float:
        """The seconds of the time limit that are kept for the finalists."""
        finals, workers = self.config.finals, self.executor.workers
        return reserved(finals, self.final_estimate or math.inf, workers, self.seconds)


def prepare(
    asked: SearchOptions, *, executor: Executor | None = None, say: Say = lambda _: None
) -> Prepared:
    """Check everything that can be checked before a study exists.

    `executor` is the one asked for, where it is made already; `say` hears what takes long.
    """
    check(asked)
    options, executor = asked.complete(), executor or asked.new_executor()
    space = _space(options)
    check_folder(Path(options.out))
    data = data_of(options, say)
    goal, limits = options.goal, options.limits
    space, left_out = space.for_images(data.native_resolution)
    name = check_study(options.study or f"{space.name}-{data.name}-{goal.short()}")
    url, table = resolve(options.store), None
    study = find_study(url, name)
    if study is None or study.config["space"].get("fit_kernels"):  # not in a study of before
        space = space.fitting()
    subject = Subject(space, data.in_channels, len(data.classes))
    folder = study_folder(options.out, name, url)
    if goal.target_latency_ms is not None:
        table = table_for(subject, options, url=url, name=name, say=say)
        goal, subject = replace(goal, table=table.hash), replace(subject, latency=table)
        limits = limits._replace(latency_ms=OVER_TARGET * goal.target)
    aids = given_aids(options, data, say)
    recipe, whole, sources = _recipes(data, options, aids)
    _check_choices(space, (recipe, whole), data, options)
    preflight = survey(subject, objective=goal, limits=limits, seed=options.seed)
    config = Config.of(
        options,
        space=space,
        data=source_from_anywhere(options.data),
        classes=len(data.classes),
        in_channels=data.in_channels,
        recipe=recipe,
        objective=goal,
        limits=limits,
        folder=folder,
        latency=table,
        checkpoints=None if options.checkpoints is None else from_anywhere(options.checkpoints),
        finals=finals_of(options, whole),
        finalists=(),  # they are chosen at the search's end
    )
    if study is not None:
        config = lengths.as_stored(config, study.config)
    images = {name: len(split) for name, split in data.splits.items()}
    estimate = _estimate(preflight, config, images, executor, aids.of(data))
    times = final_times(config, images)
    own = _proxy_seconds(preflight, config, data)
    workers = executor.workers  # a cluster that is not there is found out now
    if options.time is not None and study is None and not lengths.is_given(options):
        parts = lengths.parts(options.time, options.trials, workers, estimate, estimate * times)
        if (shorter := lengths.shortened(config, *parts)) != config:
            say(lengths.sentence(config, shorter, options.time))
            config, estimate, times = shorter, estimate * parts[0], times * parts[1] / parts[0]
    config = with_lessons(config, url, name, study)
    return Prepared(
        name, url, config, options.trials, options.time, executor, estimate, preflight, left_out,
        own, times, data, sources)  # fmt: skip


def _space(options: SearchOptions) -> SearchSpace:
    """Return the space that the options name, at their resolution."""
    space = load_space(options.space) if isinstance(options.space, str) else options.space
    return space if options.resolution is None else space.at_resolution(options.resolution)


def study_folder(out: str, name: str, url: str) -> str:
    """Return the folder of a study; raise UserError where it is something else's.

    That is a folder that has files in it though the store knows no such study: somebody's own, or
    that of a study in another store.
    """
    folder = Path(os.path.abspath(Path(out, name)))
    is_taken = name == dashboard.FOLDER or (folder.is_dir() and any(folder.iterdir()))
    if is_taken and not _is_known(url, name):
        raise UserError(
            f"The folder of study {name!r} would be {folder}, which has other files in it: the "
            f"store {masked(url)} has no such study. Give another --study, --out or --store."
        )
    return str(folder)


def _is_known(url: str, name: str) -> bool:
    """Tell whether a store has a study, or may have it: it does not answer now."""
    try:
        with queries.connect(url) as connection:
            return name in {study.name for study in queries.studies(connection)}
    except StoreAway:
        return True
    except StoreError:
        return False


def data_of(options: SearchOptions, say: Say) -> DataSet:
    """Load the data that the options name; resized images are kept beside the studies."""
    cache = Path(options.out, CACHE)
    return load_data(
        options.data,
        cache_dir=cache,
        groups=options.groups,
        patterns=Patterns(options.include, options.exclude),
        forbid=options.forbid,
        say=say,
    )


def sources_of(options: SearchOptions) -> tuple["Source", ...]:
    """Return the weights that every training starts from, if any were asked for."""
    if options.start_from is None:
        return ()
    from nas.study.sources import resolve as resolve_source

    return (resolve_source(options.start_from, options.store),)


def begun_with(recipe: Recipe, sources: Sequence["Source"]) -> Recipe:
    """Return a recipe whose trainings start from these weights, if any.

    Raises UserError where they were trained on images that the recipe would score, and where it
    freezes random weights.
    """
    for source in sources:
        trained = source.trained_by
        own = trained is not None and trained.fingerprint == recipe.fingerprint
        if trained is not None and own and max(trained.folds, recipe.folds) > 1:
            raise UserError(
                f"{source.name} was trained on images of {recipe.data!r} that would be scored: "
                f"of {trained.folds} and {recipe.folds} folds both are to be 1 (--folds 1)."
            )
        recipe = replace(recipe, start=source.digest)
    if recipe.frozen_epochs and not recipe.start:
        raise UserError(
            f"training.frozen_epochs = {recipe.frozen_epochs} freezes given weights: it is for "
            "--start-from."
        )
    return recipe


def _recipes(
    data: DataSet, options: SearchOptions, aids: GivenAids
) -> tuple[Recipe, Recipe, tuple["Source", ...]]:
    """Return the recipes of trials and of finalists, and the weights that both need."""
    recipe = _recipe(data, options, aids)
    if options.inherit and recipe.folds > 1:
        raise UserError(
            f"--inherit is for scores on the validation split: {recipe.folds} folds would score "
            "images that a relative was trained on. Give --folds 1."
        )
    whole, starts = _whole(data, options, recipe, aids), sources_of(options)
    return begun_with(recipe, starts), begun_with(whole, starts), (*starts, *aids.sources)


def _recipe(data: DataSet, options: SearchOptions, aids: GivenAids) -> Recipe:
    """Return the recipe that the options want, with the rungs that see less than all."""
    given = {one.name: getattr(options, one.name) for one in declared().values() if one.recipe}
    recipe = compose(
        data, options.recipe or DEFAULT, given=given, words=options.set, folds=SEARCH_FOLDS,
        digests=aids.digests,
    )  # fmt: skip
    aids.check(recipe)
    rungs = ladder.ladder(
        recipe.epochs, options.fidelity or ladder.DEFAULT, options.reduction or ladder.REDUCTION
    )
    return replace(recipe, ladder=tuple(rung for rung in rungs if not rung.is_whole))


def _whole(data: DataSet, options: SearchOptions, recipe: Recipe, aids: GivenAids) -> Recipe:
    """Return the finalists' recipe: the default one, or the search's own made longer."""
    if options.recipe or options.epochs:
        return lengthened(recipe)
    given = {"metric": options.metric, "seed": options.seed, "folds": options.folds}
    return compose(
        data, "whole", given=given, words=options.set, folds=FINAL_FOLDS, digests=aids.digests
    )


def _check_choices(
    space: SearchSpace, recipes: Sequence[Recipe], data: DataSet, options: SearchOptions
) -> None:
    """Check the values of the recipe that the space chooses; a --set can't set one of them."""
    for word in options.set:
        key, _ = recipe_file.read_word(word, "--set")
        if key in space.recipe:
            raise UserError(f"--set {word}: the space chooses {key} itself; leave one of them out.")
    recipe_choices.check(space.recipe_options(), recipes, data)


def _proxy_seconds(preflight: Preflight, config: Config, data: DataSet) -> dict[str, float]:
    """Return the seconds that each proxy takes to measure the pre-flight's example."""
    wanted = [name for name in (config.prefilter, *config.features) if name]
    features = Features(wanted, lambda: data, config.seed)
    return features.seconds(Architecture.from_json(preflight.example)) if wanted else {}


@contextmanager
def taken_back(out: str) -> Iterator[None]:
    """After a user's mistake, remove the files that loading the data left: nothing is written.

    These are a folder's manifest and its lock; images that another search is resizing stay.
    """
    cache = Path(out, CACHE)
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


def from_anywhere(place: str) -> str:
    """Return a URL as it is, a path as one that holds in any folder."""
    return place if is_url(place) else os.path.abspath(place)


def source_from_anywhere(source: str) -> str:
    """Return a data set's name or URL as it is, a path as one that holds in any folder."""
    return source if is_name(source) else from_anywhere(source)


def _estimate(
    preflight: Preflight, config: Config, images: Mapping[str, int], executor: Executor, aids: Aids
) -> float:
    """Return the seconds of one trial of the pre-flight's example on one of the workers."""
    example, updates = Architecture.from_json(preflight.example), _updates(config, images)
    train, threads = images["train"], executor.threads
    try:
        alone = training_seconds(example, config.recipe, train, updates, threads, aids)
    except (MemoryError, RuntimeError):  # it does not fit; trials will say so themselves
        return 0.0
    return alone * executor.crowding


def _updates(config: Config, images: Mapping[str, int]) -> int:
    """Return a trial's updates; with finalists it trains no network whose weights are handed over.

    `images` are counted by split.
    """
    counts = images["train"], images["validation"]
    return config.recipe.all_updates(*counts, refit=config.finals is None)


def final_times(config: Config, images: Mapping[str, int]) -> float:
    """Return how many times as long as a trial a training in full takes; 0 without finalists.

    `images` are counted by split.
    """
    if config.finals is None:
        return 0.0
    counts = images["train"], images["validation"]
    return config.finals.recipe.all_updates(*counts) / _updates(config, images)


def open_study(prepared: Prepared) -> Store:
    """Open the store and create the study, or find it with the same meaning.

    Raise UserError, and write nothing, where its folder or its checkpoints can't be written.
    """
    config = prepared.config
    with _made_folder(config):
        store = patient(Store.open)(prepared.store)
        try:
            stored = config.to_json() | {"trials": prepared.trials, "seconds": prepared.seconds}
            recipes = {config.recipe.hash: config.recipe.to_json()}  # others come with their trials
            patient(store.create_study)(prepared.name, stored, fixed=fixed(), recipes=recipes)
            _keep(prepared.sources, config)
            if config.latency is not None:
                config.latency.write(Path(config.folder, TABLE))
        except BaseException:
            store.close()
            raise
    return store


def _keep(sources: Sequence["Source"], config: Config) -> None:
    """Keep the weights that the study's trainings need, where each worker finds them."""
    if sources:
        from nas.training.sources import keep

        for source in sources:
            keep(config.checkpoint_root, source)


@contextmanager
def _made_folder(config: Config) -> Iterator[None]:
    """Make a study's folder, and try to write a checkpoint; after a failure no folder is left."""
    from nas.training.checkpoint import Checkpoints

    folder, missing = Path(config.folder), []
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        Checkpoints(config.checkpoint_root).try_out()
        yield
    except BaseException as error:
        for path in missing:
            with suppress(OSError):  # another search has begun to use it
                path.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"The folder {folder} can't be made: {error.strerror}.") from None
        raise
