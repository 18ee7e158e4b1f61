"""The verb that makes a family of one network: by given coefficients, or by those a search finds.

Compound scaling as in EfficientNet, arXiv:1905.11946, section 3.3. Importing this module imports no
torch.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from nas import quantities
from nas.commands.networks import architecture_of
from nas.commands.search import search
from nas.commands.studies import trial_of
from nas.errors import StoreError, UserError
from nas.files import write_json
from nas.store import queries
from nas.store.engine import resolve

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.config import Config
    from nas.cost import Cost
    from nas.search_space.coefficients import Rounding
    from nas.search_space.scaling import Coefficients
    from nas.study.progress import Watch

MAX_PHI = 16.0
FINEST = 0.01  # between two values of phi, when the member nearest a target is looked for
PHIS = "0,1,2,3"


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


@dataclass(frozen=True)
class Member:
    """One member: its network, its cost, and its FLOPs over the source's beside the ideal ratio."""

    by: "Coefficients"
    architecture: "Architecture"
    cost: "Cost"
    ratio: float
    ideal_ratio: float
    file: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the member as plain data."""
        return {
            "phi": self.by.phi,
            "architecture_id": self.architecture.id,
            "resolution": self.architecture.resolution,
            "layers": len(self.architecture.body),
            **self.cost._asdict(),
            "ratio": self.ratio,
            "ideal_ratio": self.ideal_ratio,
            "file": None if self.file is None else quantities.from_here(self.file),
        }


@dataclass(frozen=True)
class Family:
    """A source, its coefficients, and its members; `study` is where the coefficients come from."""

    source: str
    by: "Coefficients"
    members: tuple[Member, ...]
    study: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the family as plain data."""
        names = ("alpha", "beta", "gamma")
        return {
            "source": self.source,
            "coefficients": {name: getattr(self.by, name) for name in names},
            "product": self.by.product,
            "study": self.study,
            "members": [member.to_json() for member in self.members],
        }


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
) -> Family:
    """Scale a study's winner, a family member or an architecture's JSON file into a family.

    Without alpha, beta and gamma they are searched at phi = 1: every candidate of the grid is
    trained like any trial. Members are those of each phi (0, 1, 2 and 3), or the one nearest the
    target; with `out` each is written there as code. Raises UserError, before anything is trained
    or written, for what can't be scaled.
    """
    from nas.search_space.coefficients import Rounding

    quantities.check_positive(divisor=divisor, resolution_multiple=resolution_multiple)
    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    phis = read_phis(phi)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    by, study = given(coefficients), None
    _check_scale(phi, target, by, options)
    if out is not None:
        check_out(Path(out))
    rounding = Rounding(divisor, resolution_multiple)
    network_of, config = _source(source, store)
    network_of = network_of.at(resolution=resolution, classes=classes, in_channels=in_channels)
    if target is not None:
        check_target(network_of, target)
    if by is None:
        wanted = phis if target is None else ()
        network_of, by, study = _search_coefficients(
            (source, network_of, config), (rounding, wanted), store, say or _silent,
            watch or _silent, options,
        )  # fmt: skip
    if target is None:
        members = [member(network_of, by._replace(phi=one), rounding) for one in phis]
    else:
        members = [nearest(network_of, by, target, rounding)]
    found = Family(source, by, tuple(members), study)
    return found if out is None else write(found, Path(out))


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
    from nas.config import Config

    if source in search_space.names() or Path(source).suffix in (".json", ".py"):
        return architecture_of(source), None
    try:
        with queries.connect(resolve(store)) as connection:
            info = queries.study(connection, source)
            winner = trial_of(connection, info, None)
            evaluation = queries.evaluation(connection, winner.evaluation_id)
    except StoreError as error:
        raise UserError(
            f"{source!r} is no family member (nas space list), no architecture's JSON file, and no"
            f" study with a complete trial: {error}"
        ) from None
    return evaluation.architecture, Config.from_json(info.config)


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
    from nas import network
    from nas.data import load
    from nas.search_space import coefficients as family
    from nas.study.preparation import CACHE, taken_back

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


def read_phis(text: str | None) -> tuple[float, ...]:
    """Read a list of phi such as "0,1,2.5"; raises UserError for anything but numbers to 16."""
    text = PHIS if text is None else text
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= phi <= MAX_PHI for phi in found):
        raise UserError(f"--phi is numbers from 0 to {MAX_PHI:g} such as 0,1,2,3, not {text!r}.")
    return tuple(dict.fromkeys(found))


def given(coefficients: Sequence[float | None]) -> "Coefficients | None":
    """Return coefficients that were given, None where none was; raises UserError for a part."""
    if all(factor is None for factor in coefficients):
        return None
    for name, factor in zip(("alpha", "beta", "gamma"), coefficients, strict=True):
        if factor is None or not 1 <= factor <= MAX_PHI:
            raise UserError(
                f"--alpha, --beta and --gamma are given together, each a number from 1 to"
                f" {MAX_PHI:g}; --{name} is {'missing' if factor is None else format(factor, 'g')}."
            )
    from nas.search_space.scaling import Coefficients

    return Coefficients(*(float(factor) for factor in coefficients if factor is not None))


def member(source: "Architecture", by: "Coefficients", rounding: "Rounding") -> Member:
    """Scale the source by these coefficients."""
    from nas import network

    architecture = rounding.scale(source, by)
    cost = network.cost(architecture)
    ratio = cost.macs / network.cost(source).macs
    return Member(by, architecture, cost, ratio, by.product**by.phi)


def check_target(source: "Architecture", target: int) -> None:
    """Refuse a target that the network itself is over."""
    from nas import network

    macs = network.cost(source).macs
    if target < macs:
        raise UserError(
            f"--target-flops {target:,} is below the network's own {macs:,}; scaling only makes a"
            " network larger. Search for a smaller one."
        )


def nearest(
    source: "Architecture", by: "Coefficients", target: int, rounding: "Rounding"
) -> Member:
    """Return the member whose macs are nearest the target, of all phi from 0 in steps of 0.01.

    Raises UserError where the target is below the source or beyond phi = 16.
    """
    check_target(source, target)
    best = member(source, by._replace(phi=0.0), rounding)
    for index in range(1, round(MAX_PHI / FINEST) + 1):
        other = member(source, by._replace(phi=round(index * FINEST, 2)), rounding)
        if abs(other.cost.macs - target) < abs(best.cost.macs - target):
            best = other
        if other.cost.macs > 2 * target:
            return best
    if best.cost.macs < target / 2:
        raise UserError(
            f"phi = {MAX_PHI:g} gives {best.cost.macs:,} FLOPs; {target:,} are out of reach."
        )
    return best


def check_out(out: Path) -> None:
    """Refuse a folder for a family that holds anything but a family that was written before.

    Files without weights can be written again; trained weights can't.
    """
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a folder to write to, not {str(out)!r}.")
    weights = sorted(out.glob("phi_*/model.safetensors"))
    if weights:
        raise UserError(
            f"{weights[0].parent} holds weights, which would be another network's; choose another"
            " folder for --out."
        )
    if any(out.glob("*")) and not (out / "family.json").is_file():
        raise UserError(f"--out is a new folder, an empty one or a family's; {out} is none.")


def write(family: Family, out: Path) -> Family:
    """Write each member's code and data into a folder of its own, and family.json beside them.

    Of several members there is a picture, family.png. The files hold no weights; each is run and
    held to the built network before all of them take the place of what was there.
    """
    from nas import export
    from nas.report.study_picture import draw_family

    check_out(out)
    out.mkdir(parents=True, exist_ok=True)
    exporter, written = export.get("python"), []
    with tempfile.TemporaryDirectory(dir=out, prefix=".family-") as temporary:
        new = Path(temporary)
        for one in family.members:
            folder = f"phi_{one.by.phi:g}"
            exporter.export(one.architecture, None, new / folder, export.Facts())
            write_json(new / folder / "architecture.json", one.architecture.to_json())
            written.append(replace(one, file=out / folder / "model.py"))
        found = replace(family, members=tuple(written))
        write_json(new / "family.json", found.to_json())
        if len(written) > 1:
            draw_family(found.to_json(), new / "family.png")
        for old in (*out.glob("phi_*/*.*"), *out.glob("family.*")):
            old.unlink()
        for old in out.glob("phi_*"):
            with suppress(OSError):  # something of the user's lies in it
                old.rmdir()
        for path in new.glob("**/*.*"):
            target = out / path.relative_to(new)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
    return found


def _silent(_: object) -> None:
    return
