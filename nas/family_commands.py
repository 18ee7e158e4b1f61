"""The verb that makes a family of one network: by given coefficients, or by those a search finds.

Importing this module imports no torch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from nas import commands, quantities
from nas.errors import StoreError, UserError
from nas.network_commands import architecture_of
from nas.store import queries
from nas.store.engine import resolve

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.config import Config
    from nas.driver import Watch
    from nas.family import Family, Rounding
    from nas.scaling import Coefficients


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
        return architecture_of(source), None
    try:
        with queries.connect(resolve(store)) as connection:
            info = queries.study(connection, source)
            winner = commands.trial_of(connection, info, None)
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
        images = load(data, cache_dir=Path(folder, CACHE), say=say)
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
    result = commands.search(
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


def _silent(_: object) -> None:
    return
