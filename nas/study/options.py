"""The options of a search, each said once.

`SearchOptions` declares them. From it come the options of `nas search` and `nas resume`, the
signature of `nas.search`, the keys of a file for `--config`, what `nas submit` refuses, what may
not change under a study's name, and the documents' table. `read` checks each value for itself,
`check` all of them together; both need neither data nor a store, and this module no torch.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from nas import executors, proxies, pruners, quantities, samplers
from nas.cost import Limits
from nas.credentials import check_no_secret, is_url
from nas.errors import UnknownOption, UserError, either, unknown
from nas.files.reading import read_toml
from nas.latency import backends, devices, remote
from nas.latency.backends import PREFERRED
from nas.objective import DEFAULT, DEFAULT_WEIGHT, Objective, latency_objective, objective
from nas.observers import trackers
from nas.pruners import ladder
from nas.study import priors
from nas.training import augmentations, metrics, recipe_file, recipes

if TYPE_CHECKING:
    from nas.search_space import SearchSpace

F = TypeVar("F", bound=Callable[..., Any])

OVER_TARGET = 1.5  # times the target: the hard limit on its cost where none is given
DEFAULT_BUDGET = 24, 1800.0  # trials and seconds, where neither is given
FINALISTS, FINAL_SEEDS = 4, 3
MOST_LESSONS, NOTHING = 5, "none"  # studies to learn from; the word for no study
SUFFIX = "-finalists"  # of the name of a study of finalists
LONGEST_NAME = 255 - len(SUFFIX)  # bytes: file systems allow 255
# How the table of a search is measured, where none is given.
MEASURED = ("latency_backend", "latency_host", "latency_batch", "latency_seconds")
# The panels of --help.
WHAT, PROPOSE, TRAIN = "What to search", "How to propose", "How to train"
BUDGET, WHERE, WRITTEN = "Budget", "Where it runs", "What is written"


@dataclass(frozen=True)
class Declared:
    """A declared option: how it is explained, which values it takes, what it decides.

    A `page`, as seen from docs/guides, says more. `unset` says what holds where nothing is given.
    `read(value, flag)` turns a value as people write it into the field's type, `names` lists the
    values there are, and `kind` is the word for one of them where that is not the option's name.
    The keys `fixes` of a stored configuration may not change under a study's name; a `recipe`
    option is the recipe's field of that name, and one that `repeats` is given several times. `nas
    resume` takes the options that are `resumes`; Ray Tune decides those that are not `tunes`. A
    `local` option names a place that the searching machine reads, writes or reaches: a client of
    the service can't set it. The last three fields are filled in.
    """

    help: str
    group: str
    unit: str = ""
    page: str = ""
    unset: str = ""
    read: Callable[[Any, str], Any] | None = None
    names: Callable[[], Iterable[str]] | None = None
    kind: str = ""
    at_least: float | None = None
    at_most: float | None = None
    fixes: str = ""
    recipe: bool = False
    repeats: bool = False
    resumes: bool = False
    tunes: bool = True
    local: bool = False
    name: str = ""
    types: tuple[Any, ...] = ()
    default: Any = None

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def flags(self) -> tuple[str, ...]:
        """The words on the command line: a choice of yes or no has one for each."""
        both = self.type is bool and not self.name.startswith("no_")
        return (self.flag, f"--no-{self.flag[2:]}") if both else (self.flag,)

    @property
    def type(self) -> Any:
        """The type of the value on the command line: text where there is something to read."""
        return str if self.read else self.types[0]

    @property
    def default_text(self) -> str:
        """The words for what holds where nothing is given."""
        if self.type is bool:
            return "yes" if self.default else "no"
        return self.unset or ("none" if self.default in (None, ()) else str(self.default))

    def checked(self, value: Any) -> Any:
        """Return a value as the field's type; raises UserError with the rule and the value."""
        value = quantities.plain(value)
        if self.read and self.types[0] is not str:
            return self.read(value, self.flag)
        if Any not in self.types:
            limits = self.at_least, self.at_most
            value = quantities.checked(value, self.types, self.flag, *limits)
        if self.names is not None and value not in (names := list(self.names())):
            raise UserError(unknown(self.kind or self.name, value, names))
        return self.read(value, self.flag) if self.read else value


def _option(default: Any, help_: str, group: str, **facts: Any) -> Any:
    return field(default=default, metadata={"option": Declared(help_, group, **facts)})


def _proxies(value: Any, flag: str) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{flag} are names of proxies such as naswot,synflow, not {value!r}.")
    return proxies.read(value)


def _teachers(value: Any, flag: str) -> tuple[str, ...]:
    """Read names of studies and priors, or the one word that stands for none."""
    names = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(
            f"{flag} is the name of a study or of a prior (nas priors list), or {NOTHING}, not "
            f"{value!r}."
        )
    if len(names) > MOST_LESSONS or (NOTHING in names and len(names) > 1):
        raise UserError(
            f"{flag} names at most {MOST_LESSONS} studies and priors, or {NOTHING} alone, not "
            f"{', '.join(names)}."
        )
    for name in names:
        if name.startswith(priors.PREFIX):
            priors.check(name)
    return tuple(dict.fromkeys(names))


def _recipe(recipe: str, _: str) -> str:
    recipes.check(recipe)
    return recipe


def _settings(value: Any, flag: str) -> tuple[str, ...]:
    """Read values of a recipe: words such as key=value, or tables as a recipe's file has them."""
    if isinstance(value, Mapping):
        return tuple(recipe_file.word(*pair) for pair in recipe_file.read(value, flag).items())
    words = value if isinstance(value, list | tuple) else [value]
    return tuple(recipe_file.word(*recipe_file.read_word(str(word), flag)) for word in words)


def _weights(source: str, flag: str) -> str:
    """Refuse a file of weights that would have to be unpickled, and a URL."""
    if is_url(source) or source.endswith((".pt", ".pth", ".ckpt", ".bin", ".pkl", ".npz")):
        raise UserError(
            f"{flag} is STUDY:TRIAL or STUDY, a folder of nas train, a .safetensors file of one, "
            f"or timm:NAME, not {source!r}."
        )
    return source


def _data(source: str, _: str) -> str:
    """Refuse a URL that is no data file's or has a secret in it."""
    if is_url(source):
        from nas.data import hub, remote

        if not hub.is_dataset(source):
            remote.check(source)
    return source


def _groups(pattern: str, _: str) -> str:
    """Refuse text that is neither a regular expression nor an array's name."""
    from nas.data import groups

    groups.check(pattern)
    return pattern


def _patterns(value: Any, flag: str) -> tuple[str, ...]:
    """Read patterns of files; one that is empty matches nothing."""
    patterns = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str) and each for each in patterns):
        raise UserError(
            f"{flag} is a pattern of files such as 'masks' or '*_thumb.*', not {value!r}."
        )
    return tuple(patterns)


def _unlabelled(folder: str, flag: str) -> str:
    """Return a folder as a path that holds in any other."""
    if not folder or is_url(folder):
        raise UserError(f"{flag} is a folder of image files, not {folder!r}.")
    return os.path.abspath(folder)


def _forbid(value: Any, flag: str) -> tuple[str, ...]:
    """Read names of augmentations, and add those that contain one of them."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{flag} are names of augmentations such as flip,rotation, not {value!r}.")
    return augmentations.forbidden(name.strip() for name in names)


def _checkpoints(url: str, flag: str) -> str:
    """Refuse a URL that nothing here can open, and one with a password: it is stored and shown."""
    from fsspec.core import url_to_fs

    if is_url(url):
        check_no_secret(url, flag)
    try:
        url_to_fs(url)  # type: ignore[no-untyped-call]
    except (ValueError, ImportError) as error:
        raise UserError(
            f"{flag} is a folder or a URL such as s3://bucket/folder; {url!r} can't be opened: "
            f"{error}"
        ) from None
    return url


def _space(space: Any, flag: str) -> Any:
    """Refuse what is neither a text nor a search space."""
    if not isinstance(space, str):
        from nas.search_space import SearchSpace

        if not isinstance(space, SearchSpace):
            raise UserError(f"{flag} is a name, a path or a SearchSpace, not {space!r}.")
    return space


def check_study(name: str, flag: str = "--study") -> str:
    """Return a study's name; raise UserError where it can't name a folder, in a row and on a disk.

    The folder of its finalists has a longer name.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        raise UserError(f"A study's name is the name of a folder, not {name!r} ({flag}).")
    if name.startswith(priors.PREFIX):
        raise UserError(f"A study's name does not begin with {priors.PREFIX}: {name!r} ({flag}).")
    if (size := len(name.encode())) > LONGEST_NAME:
        raise UserError(
            f"A study's name is the name of a folder, of at most {LONGEST_NAME} bytes, not of "
            f"{size}: {name!r}. {flag} gives it another."
        )
    return name


def _store(url: str, _: str) -> str:
    from nas.store.engine import parse

    parse(url)
    return url


def _out(path: str, flag: str) -> str:
    if is_url(path):
        raise UserError(f"{flag} is a folder, not {path!r}; --checkpoints may be a URL.")
    return path


def _host(host: str, _: str) -> str:
    remote.command(host)
    return host


def _seconds(value: str | float, flag: str) -> float:
    return float(quantities.seconds(value, flag))


def _metric(name: str, _: str) -> str:
    return metrics.resolve(name)


# fmt: off
@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of a search as they are read, in the order of `--help`.

    Where nothing was given and the default depends on other options or on the data, it is None.
    """

    space: "str | SearchSpace" = _option(  # noqa: RUF009 - makes a field
        "mixconv", "Name of a shipped space, or path of a .py or .json file.", WHAT,
        page="search-spaces", read=_space, fixes="parameters space")
    data: str = _option(
        "digits", "Name, file (.npz, .csv, ...), folder of images per class, or URL.", WHAT,
        page="data", read=_data, fixes="recipe_hash")
    target_flops: int | None = _option(
        None, "FLOPs target T, such as 300M or 2.5k.", WHAT, unit="FLOPs",
        page="../reference/objective", unset="none: this or the next must be given",
        read=quantities.count, fixes="objective")
    target_latency: float | None = _option(
        None, "Latency target T instead, such as 5ms.", WHAT, unit="time", page="latency",
        read=quantities.milliseconds, fixes="objective")
    objective: str = _option(
        DEFAULT, f"{either(DEFAULT_WEIGHT)}: how cost counts. hard pays for accuracy alone up to "
        "the target, soft also for being cheaper; pareto is after the front.", WHAT,
        page="../reference/objective", names=lambda: DEFAULT_WEIGHT, fixes="objective")
    w: float | None = _option(
        None, "Weight of cost / T in the score.", WHAT, page="../reference/objective",
        unset="hard: -1; soft: -0.07", fixes="objective")
    max_flops: int | None = _option(
        None, "Limit that no trial may break.", WHAT, unit="FLOPs", read=quantities.count,
        unset=f"{OVER_TARGET} times the target", fixes="limits")
    max_params: int | None = _option(
        None, "Limit that no trial may break, such as 5M.", WHAT, unit="params",
        read=quantities.count, fixes="limits")
    max_memory: int | None = _option(
        None, "Limit on peak activation memory, counted in float32, such as 1.5MB.", WHAT,
        unit="memory", read=quantities.memory, fixes="limits")
    target_device: str | None = _option(
        None, "Keep the limits of a device, as int8, where no others are given: "
        f"{either(devices.names())}.", WHAT, page="latency", kind="device", names=devices.names,
        fixes="limits")
    groups: str | None = _option(
        None, "Which images belong together, such as a patient's: a regular expression with the "
        "group in parentheses, found in each file's name, a table's column, or an .npz file's "
        "arrays.", WHAT,
        page="data", read=_groups, fixes="recipe_hash")
    include: tuple[str, ...] = _option(
        (), "Files of a folder to read, by a pattern of their path such as images; may be given "
        "again and again.", WHAT, unit="pattern", page="data", unset="all", read=_patterns,
        repeats=True, fixes="recipe_hash")
    exclude: tuple[str, ...] = _option(
        (), "Files and folders to leave out, such as masks or '*_thumb.*'; may be given again and "
        "again.", WHAT, unit="pattern", page="data", read=_patterns, repeats=True,
        fixes="recipe_hash")
    resolution: int | None = _option(
        None, "Fix the size of the images.", WHAT, unit="px", at_least=1,
        at_most=quantities.MAX_RESOLUTION, unset="the space's choice",
        fixes="parameters space")
    latency_table: str | None = _option(
        None, "File of nas latency table, for --target-latency.", WHAT, page="latency",
        unset="one is made first", fixes="objective", local=True)
    latency_backend: str | None = _option(
        None, f"What runs the networks of a table that is made: {either(backends.names())}.",
        WHAT, page="latency", kind="latency back end", names=backends.names,
        unset="onnxruntime, where it is installed")
    latency_host: str | None = _option(
        None, "Make the table on another machine: user@host for ssh.", WHAT, page="latency",
        read=_host, unset="this machine", local=True)
    latency_batch: int | None = _option(
        None, "Images at once in a table that is made.", WHAT, unit="images", at_least=1, unset="1")
    latency_seconds: float | None = _option(
        None, "Time to make a table in.", WHAT, unit="seconds", at_least=1, unset="60")
    sampler: str = _option(
        samplers.DEFAULT, f"What proposes networks: {either(samplers.names())}.", PROPOSE,
        page="../reference/samplers", names=samplers.names, fixes="sampler")
    warm_start: bool = _option(
        True, "Begin with what other studies of the store trained under the same recipe; never "
        "with random, with grid or on a ladder of rungs.", PROPOSE, page="../how-it-works/engine",
        fixes="warm_start")
    learn_from: tuple[str, ...] = _option(
        (), "Study of the store that --sampler nas learns from, whatever its data and recipe, a "
        f"prior of nas priors list, or {NOTHING}; may be given again and again.", PROPOSE,
        unit="study", page="learning",
        unset=f"the {MOST_LESSONS} closest", read=_teachers, repeats=True, fixes="learn_from")
    prefilter: str | None = _option(
        None, "Zero-cost proxy that ranks the first draws.", PROPOSE, page="proxies",
        kind="proxy", names=proxies.names, fixes="prefilter")
    features: tuple[str, ...] = _option(
        (), "Proxies that --sampler nas sees, such as naswot,synflow.", PROPOSE, page="proxies",
        read=_proxies, fixes="features")
    recipe: str | None = _option(
        None, f"How a trial is trained: {', '.join(recipes.names())}, or a TOML file.", TRAIN,
        page="recipes", read=_recipe, unset=recipes.DEFAULT, fixes="recipe_hash")
    set: tuple[str, ...] = _option(
        (), "A value of the recipe, such as optimiser.learning_rate=3e-3; may be given again and "
        "again, and wins over all else.", TRAIN, unit="key=value", page="recipes", read=_settings,
        repeats=True, fixes="recipe_hash")
    start_from: str | None = _option(
        None, "Trained weights that every training starts from: STUDY:TRIAL, a folder of nas "
        "train, a .safetensors file, timm:NAME.", TRAIN, page="transfer", unit="weights",
        read=_weights, unset="random weights", fixes="recipe_hash", tunes=False, local=True)
    inherit: bool = _option(
        False, "Start each trial from the weights of its nearest trained relative in the study.",
        TRAIN, page="transfer", fixes="inherit", tunes=False)
    forbid: tuple[str, ...] = _option(
        (), "Augmentations that would destroy the labels, such as flip,rotation.", TRAIN,
        page="data", read=_forbid, fixes="recipe_hash")
    teacher: str | None = _option(
        None, "Trained network that the others learn from: STUDY:TRIAL, STUDY, or the folder or "
        ".safetensors file of one.", TRAIN, unit="source", page="methods", read=_weights,
        local=True, fixes="recipe_hash")
    unlabelled: str | None = _option(
        None, "Folder of images without labels, which the teacher labels.", TRAIN, unit="folder",
        page="methods", read=_unlabelled, local=True, fixes="recipe_hash")
    metric: str | None = _option(
        None, f"Metric of the objective: {either(metrics.names())}; CLASS is a class's name.",
        TRAIN, page="data", read=_metric,
        unset="accuracy (auroc of several labels), or the recipe's", fixes="recipe_hash",
        recipe=True)
    folds: int | None = _option(
        None, "Score on so many folds of the train and validation images; 1: on the validation "
        "split.", TRAIN, page="small-data", unit="folds", at_least=1, fixes="recipe_hash",
        recipe=True, unset=f"{recipes.SEARCH_FOLDS} (finalists {recipes.FINAL_FOLDS}) under "
        f"{recipes.ENOUGH} validation images, else 1; or the recipe's")
    epochs: int | None = _option(
        None, "Passes of a trial over the train images.", TRAIN, unit="epochs", at_least=1,
        unset="by the recipe", fixes="recipe_hash", recipe=True)
    pruner: str = _option(
        pruners.DEFAULT, f"What gives trials up early: {either(pruners.names())}.", TRAIN,
        page="fidelity", names=pruners.names, fixes="pruner", tunes=False)
    fidelity: str | None = _option(
        None, "What the rungs of successive halving and Hyperband save: "
        f"{either(ladder.FIDELITIES)}.", TRAIN, page="fidelity",
        names=lambda: ladder.FIDELITIES, unset=ladder.DEFAULT, fixes="recipe_hash", tunes=False)
    reduction: int | None = _option(
        None, "1 in so many goes on from a rung.", TRAIN, page="fidelity", at_least=2, at_most=10,
        unset=str(ladder.REDUCTION), fixes="reduction", tunes=False)
    seed: int = _option(
        0, "Seed of proposals and trainings.", TRAIN, at_least=0, at_most=2**32 - 1, fixes="seed",
        recipe=True)
    trials: int | None = _option(
        None, "Number of networks to train.", BUDGET, unit="trials", at_least=1,
        unset=f"{DEFAULT_BUDGET[0]}, unless --time is given", resumes=True, tunes=False)
    time: float | None = _option(
        None, "Time limit, such as 30m, 2h or 90s.", BUDGET, unit="time", read=_seconds,
        unset="30m, unless --trials is given", resumes=True, tunes=False)
    finalists: int | None = _option(
        None, "Networks that are trained in full at the end; the winner is the best of them.",
        BUDGET, page="finalists", unit="networks", at_least=0, unset=str(FINALISTS), resumes=True,
        tunes=False)
    final_seeds: int | None = _option(
        None, "Trainings of each finalist, each with another seed.", BUDGET, page="finalists",
        unit="seeds", at_least=1, at_most=100, unset=str(FINAL_SEEDS), resumes=True, tunes=False)
    no_finalists: bool = _option(
        False, "Hand over the best trial as it was trained in the search.", BUDGET,
        page="finalists", resumes=True, tunes=False)
    workers: int | None = _option(
        None, "Worker processes; 0: one worker inside the command's own process.", WHERE,
        at_least=0, unset="one per core, at most 8; 1 with a GPU", resumes=True, tunes=False)
    executor: str | None = _option(
        None, f"Where workers run: {either(executors.names())}.", WHERE,
        page="../how-it-works/executors", names=executors.names, unset=executors.DEFAULT,
        resumes=True)
    address: str | None = _option(
        None, "Address of a Ray cluster.", WHERE, page="../how-it-works/executors",
        unset="RAY_ADDRESS, else one started here", resumes=True)
    cpus_per_trial: float | None = _option(
        None, "CPUs of a worker on Ray.", WHERE, unit="CPUs", at_least=0.01, unset="1",
        resumes=True)
    gpus_per_trial: float | None = _option(
        None, "GPUs of a worker on Ray.", WHERE, unit="GPUs", at_least=0,
        unset="0.25, or 0 where there is none", resumes=True)
    max_concurrent: int | None = _option(
        None, "Workers on Ray at once.", WHERE, at_least=1, unset="as many as its nodes hold",
        resumes=True)
    study: str | None = _option(
        None, "Name of the study.", WRITTEN, read=check_study, unset="space, data and target")
    store: str | None = _option(
        None, "Database URL.", WRITTEN, page="../reference/store", read=_store,
        unset="NAS_STORE, else sqlite:///studies/nas.db", resumes=True, local=True)
    out: str = _option(
        "studies", "Folder of the study folders.", WRITTEN, read=_out, local=True)
    checkpoints: str | None = _option(
        None, "Folder or URL that all machines see, for checkpoints.", WRITTEN,
        page="../how-it-works/executors", read=_checkpoints, unset="in the study's folder",
        local=True)
    showcase: bool = _option(
        True, "Notes, code and diagrams for the dashboard.", WRITTEN, page="dashboard")
    track: tuple[str, ...] = _option(
        (), f"Programs that are told of each trial: {','.join(trackers.names())}.", WRITTEN,
        page="trackers", read=trackers.read, resumes=True, local=True)
    # fmt: on

    @property
    def goal(self) -> Objective:
        """The objective; one on latency lacks its table. Raises UserError without a target."""
        if self.target_latency is not None:
            return latency_objective(self.target_latency, None, self.objective, self.w)
        if self.target_flops is None:
            raise UserError(
                "A search needs a FLOPs target, such as --target-flops 300M, or a latency target, "
                "such as --target-latency 5ms."
            )
        return objective(self.target_flops, self.objective, self.w)

    def new_executor(self) -> executors.Executor:
        """Make the executor; nothing is connected. Raises UserError for what it can't do."""
        request = executors.Request(
            self.workers, self.address, self.cpus_per_trial, self.gpus_per_trial,
            self.max_concurrent,
        )  # fmt: skip
        return executors.get(self.executor, request)

    def complete(self) -> "SearchOptions":
        """Return the options with the defaults that depend on other options."""
        learns = samplers.learns(self.sampler) and not pruners.get(self.pruner).LADDER
        changes: dict[str, Any] = {"warm_start": self.warm_start and learns}
        changes["fidelity"] = self.fidelity or ladder.DEFAULT
        changes["reduction"] = self.reduction or ladder.REDUCTION
        changes["trials"], changes["time"] = budget(self.trials, self.time)
        return replace(self.limited(), **changes)

    def limited(self) -> "SearchOptions":
        """Return the options with the limits that hold where none is given.

        These are the device's, and for FLOPs the one over the target.
        """
        limits = Limits() if self.target_device is None else devices.get(self.target_device).limits
        if self.target_flops is not None:
            limits = limits.tightest(Limits(macs=round(OVER_TARGET * self.target_flops)))
        return replace(
            self,
            max_flops=self.max_flops or limits.macs,
            max_params=self.max_params or limits.params,
            max_memory=self.max_memory or limits.peak_activation_bytes,
        )

    @property
    def limits(self) -> Limits:
        """The hard limits."""
        return Limits(
            macs=self.max_flops,
            params=self.max_params,
            peak_activation_bytes=self.max_memory,
        )


@cache
def declared() -> Mapping[str, Declared]:
    """Return all options by their names in Python."""
    hints, found = get_type_hints(SearchOptions, localns={"SearchSpace": Any}), {}
    for each in fields(SearchOptions):
        hint = hints[each.name]
        types = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        types = tuple(one for one in types if one is not NoneType)
        option: Declared = each.metadata["option"]
        found[each.name] = replace(option, name=each.name, types=types, default=each.default)
    return found


@cache
def servers() -> frozenset[str]:
    """Return the options that are a server's: where a search runs, what it writes and reaches."""
    return frozenset(
        one.name
        for one in declared().values()
        if one.local or one.group == WHERE or one.name == "showcase"
    )


def resumable() -> Mapping[str, Declared]:
    """Return the options that `nas resume` takes."""
    return {name: option for name, option in declared().items() if option.resumes}


TRAINED = (  # the options of a search that `nas train` takes
    *("data", "groups", "include", "exclude", "resolution", "recipe", "set", "start_from"),
    *("teacher", "unlabelled", "forbid", "metric"),
    *("folds", "epochs", "seed"),
    *("workers", "executor", "address", "cpus_per_trial", "gpus_per_trial", "max_concurrent"),
    *("study", "store", "checkpoints", "showcase", "track"),
)


def trainable() -> Mapping[str, Declared]:
    """Return the options that `nas train` takes, with its own defaults."""
    options = {name: declared()[name] for name in TRAINED}
    own = {
        "resolution": "the network's own",
        "recipe": "whole",
        "folds": "1, or the recipe's",
        "study": "network and data",
    }
    return options | {name: replace(options[name], unset=text) for name, text in own.items()}


def training_count(name: str, value: Any) -> int:
    """Read the number of seeds or rounds of `nas train`; raises UserError where it can't be."""
    return int(replace(declared()["final_seeds"], name=name).checked(value))


def check_rounds(rounds: int, asked: SearchOptions) -> None:
    """Refuse several rounds where no teacher begins them."""
    if rounds > 1 and asked.teacher is None:
        raise UserError(f"--rounds {rounds} is for a training with --teacher, the first one's.")


def budget(trials: int | None, seconds: float | None) -> tuple[int | None, float | None]:
    """Return the trials and the seconds that end a search: the default where neither is given."""
    return DEFAULT_BUDGET if trials is None and seconds is None else (trials, seconds)


def read(given: Mapping[str, Any], options: Mapping[str, Declared] | None = None) -> SearchOptions:
    """Read options, all or some, by their names in Python; None stands for the default.

    Raises UnknownOption, which is a TypeError too, for a name that is no option's, and UserError
    for a value that an option can't have.
    """
    options = options or declared()
    for name in given:
        if name not in options:
            raise UnknownOption(unknown("option", name, options, listing="nas search --help"))
    values = {name: value for name, value in given.items() if value is not None}
    return SearchOptions(**{name: options[name].checked(value) for name, value in values.items()})


def check(options: SearchOptions) -> None:
    """Refuse what can't be searched, so far as that shows without data, a store and torch."""
    if options.target_latency is None:
        rule = "is for a search with --target-latency."
        _refuse(options, rule, "latency_table", *MEASURED)
    _ = options.goal
    if options.latency_table is not None:
        rule = "is for a table that is made; --latency-table says how it was measured."
        _refuse(options, rule, *MEASURED)
    if options.latency_host is not None and options.latency_backend not in (None, PREFERRED):
        raise UserError(
            f"--latency-host measures with {PREFERRED}, not with {options.latency_backend}."
        )
    if options.features and options.sampler != "nas":
        raise UserError(
            "--features are for --sampler nas, which is told of them; "
            f"{options.sampler} looks at none."
        )
    if options.learn_from not in ((), (NOTHING,)) and options.sampler != "nas":
        raise UserError(
            f"--learn-from is for --sampler nas; {options.sampler} learns from no other study."
        )
    if options.pruner not in pruners.ladders():
        rule = f"is for --pruner {' or '.join(pruners.ladders())}, not for {options.pruner!r}."
        _refuse(options, rule, "fidelity", "reduction")
    check_aids(options)
    check_finalists(options)
    from nas.data import check_choice
    from nas.data.layout import Patterns

    check_choice(options.data, options.groups, Patterns(options.include, options.exclude))
    options.new_executor()


def check_finalists(options: SearchOptions) -> None:
    """Refuse words on finalists where there are none."""
    if options.no_finalists:
        _refuse(options, "is for a search without --no-finalists.", "finalists", "final_seeds")


def check_aids(options: SearchOptions) -> None:
    """Refuse images without labels where no teacher labels them."""
    if options.teacher is None:
        _refuse(options, "is for a training with --teacher, which labels the images.", "unlabelled")


def check_sources(options: SearchOptions) -> None:
    """Refuse a search space and data that are not here, so far as that shows without torch."""
    from nas import data
    from nas.files import shipped

    if isinstance(options.space, str):
        shipped.check(options.space)
    data.check_here(options.data)


def _refuse(options: SearchOptions, rule: str, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise UserError(f"{declared()[name].flag} {rule}")


def given(path: str | None, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a TOML file and the command line give; the latter wins.

    A key of the file is an option's name, with - or with _. Raises UserError, with the file's name,
    for what is no TOML, no option, or no such value.
    """
    here = {name: value for name, value in words.items() if value not in (None, ())}
    if path is None:
        return here
    try:
        keys = read_toml(quantities.plain(path))
    except UserError as error:
        raise UserError(f"--config is a TOML file; {path} can't be read: {error}") from None
    there = {key.replace("-", "_"): value for key, value in keys.items()}
    try:
        read(there)
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from None
    return there | here


def fixed() -> tuple[str, ...]:
    """Return the keys of a stored configuration that may not change under a study's name."""
    return tuple(dict.fromkeys(key for one in declared().values() for key in one.fixes.split()))


def give_signature(function: Callable[..., Any], parameters: list[Parameter]) -> None:
    """Let a function that takes **given show these parameters, then its own others."""
    names = {each.name for each in parameters}
    own = [p for p in signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
    shown = [*parameters, *(each for each in own if each.name not in names)]
    function.__signature__ = Signature(  # type: ignore[attr-defined]
        sorted(shown, key=lambda each: each.kind)
    )


def documented(options: Mapping[str, Declared], by_position: int = 0) -> Callable[[F], F]:
    """Give a function that takes **given the signature and the docstring of these options."""

    def decorate(function: F) -> F:
        parameters: list[Parameter] = []
        lines = [function.__doc__ or ""]
        for name, option in options.items():
            first = len(parameters) < by_position
            kind = Parameter.POSITIONAL_OR_KEYWORD if first else Parameter.KEYWORD_ONLY
            hint = SearchOptions.__annotations__[name]
            parameters.append(Parameter(name, kind, default=option.default, annotation=hint))
            lines.append(f"    {name}: {option.help} Default: {option.default_text}.")
        give_signature(function, parameters)
        function.__doc__ = "\n".join(lines)
        return function

    return decorate


def table() -> str:
    """Return the table of the options of `nas search` for the documents."""
    rows = ["| option | means | default | part of the study |", "| --- | --- | --- | --- |"]
    for option in declared().values():
        flag = ", ".join(f"`{flag}`" for flag in option.flags)
        page = option.page.rpartition("/")[2].replace("-", " ")
        more = f" See [{page}]({option.page}.md)." if page else ""
        fixed = "yes" if option.fixes else ""
        rows.append(f"| {flag} | {option.help}{more} | {option.default_text} | {fixed} |")
    return "\n".join(rows)
