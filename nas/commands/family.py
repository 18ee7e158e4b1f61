"""The verb that makes a family of one network: by given coefficients, or by those a search finds.

It trains the members where it is asked to.

Compound scaling as in EfficientNet, arXiv:1905.11946, section 3.3. Importing this module imports no
torch.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from nas import quantities
from nas.commands import family_training
from nas.commands._options import Help, Images, Store, argument, silent
from nas.commands.networks import architecture_of
from nas.commands.search import search
from nas.commands.studies import reading
from nas.errors import NasError, StoreError, UserError
from nas.files import check_folder, write_json
from nas.report import tables

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.commands.train import TrainedNetwork
    from nas.config import Config
    from nas.cost import Cost
    from nas.search_space.coefficients import Rounding
    from nas.search_space.scaling import Coefficients
    from nas.study.preparation import Say
    from nas.study.progress import Watch

MAX_PHI = 16.0
FINEST = 0.01  # between two values of phi, when the member nearest a target is looked for
PHIS = "0,1,2,3"
FACTORS = ("alpha", "beta", "gamma")
PASSED = ("trials", "time", "epochs", "workers", "sampler", "metric", "seed")  # on to nas.search
SEARCHED = ("data", "step", "tolerance", *PASSED, "study", "folder")  # options of a search


class ScaleOptions(Images, total=False):
    """The images at phi = 0, the coefficients, how members are rounded, and the search.

    Coefficients that are not given are searched: the grid goes in `step` from 1; `tolerance` is
    that of alpha beta^2 gamma^2 ~ 2. The options of a search are its own: each candidate is trained
    and stored as any trial is. `seeds`, `recipe` and `set` are those of `nas train`, for members.
    """

    alpha: Annotated[float | None, Help("Depth per phi, such as 1.2.")]
    beta: Annotated[float | None, Help("Width per phi, such as 1.1.")]
    gamma: Annotated[float | None, Help("Resolution per phi, such as 1.15.")]
    divisor: Annotated[int | None, Help("Widths are multiples of it: 8.")]
    resolution_multiple: Annotated[int | None, Help("Resolutions, too: 8.")]
    data: Annotated[str | None, Help("Data to search alpha, beta, gamma on.")]
    step: Annotated[float | None, Help("Of the grid: 0.1.")]
    tolerance: Annotated[float | None, Help("Of the product 2: 0.05.")]
    trials: Annotated[int | None, Help("Number of trials: the whole grid.")]
    time: Annotated[str | float | None, Help("Time limit, such as 30m.")]
    epochs: Annotated[int | None, Help("Epochs of a trial.")]
    workers: Annotated[int | None, Help("Worker processes: one per core.")]
    sampler: Annotated[str | None, Help("As in nas search: grid.")]
    study: Annotated[str | None, Help("Name; else the source's, -scaling.")]
    train: Annotated[bool | None, Help("Train each member in full, as nas train does.")]
    seeds: Annotated[int | None, Help("Trainings of each member with --train: 1.")]
    recipe: Annotated[str | None, Help("Of the members' training: the finalists', else whole.")]
    set: Annotated[list[str] | None, Help("A value of it, such as training.epochs=20; repeatable.")]
    metric: str | None
    seed: int | None
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
    """A source, its coefficients, and its members; `study` is where the coefficients come from.

    `trainings` are those of the members, in their order, where they were trained.
    """

    source: str
    by: "Coefficients"
    members: tuple[Member, ...]
    study: str | None = None
    trainings: "tuple[TrainedNetwork, ...]" = ()

    @property
    def failure(self) -> NasError | None:
        """Why a member has no weights: its training was stopped, or came to no end."""
        return next((each.failure for each in self.trainings if each.failure), None)

    def to_json(self) -> dict[str, Any]:
        """Return the family as plain data; a member's training is as `nas train` has it."""
        family: dict[str, Any] = {
            "source": self.source,
            "coefficients": {name: getattr(self.by, name) for name in FACTORS},
            "product": self.by.product,
            "study": self.study,
            "members": [member.to_json() for member in self.members],
        }
        for member, training in zip(family["members"], self.trainings, strict=False):
            member["training"] = training.to_json()
        return family

    def lines(self) -> tables.Lines:
        """Say what the family was scaled from and by what, and show what each member costs."""
        family = self.to_json()
        by = ", ".join(f"{name} {value:g}" for name, value in family["coefficients"].items())
        study = f" (study {self.study})" if self.study else ""
        yield f"{self.source}: {by}{study}; alpha beta^2 gamma^2 = {self.by.product:.3f}"
        yield tables.family_table(family["members"])
        if self.trainings and self.failure is None:
            yield tables.trained_family_table(family["members"])
            if len(self.trainings) > 1:
                folder = self.trainings[0].folder.parent
                yield f"picture: {quantities.from_here(folder / family_training.PICTURE)}"


def scale(
    source: Annotated[
        str, argument("A study's name, a family member, or an architecture's JSON file.")
    ],
    *,
    coefficients: Sequence[float | None] | None = None,
    phi: Annotated[str | None, Help("The members: 0,1,2,3.")] = None,
    target_flops: Annotated[
        str | float | None, Help("Instead of phi: the member nearest, such as 300M.")
    ] = None,
    out: Annotated[str | None, Help("Folder for the members' code.")] = None,
    store: Store = None,
    say: "Say | None" = None,
    watch: "Watch | None" = None,
    **options: Unpack[ScaleOptions],
) -> Family:
    """Scale a network into a family: by given coefficients, or by those a search finds.

    `coefficients` are alpha, beta and gamma at once. Without them they are searched at phi = 1:
    every candidate of the grid is trained like any trial. Members are those of each phi (0, 1, 2
    and 3), or the one nearest the target; with `out` each is written there as code, and with
    `train` trained in full. The same call goes on where it was stopped. Raises UserError, before
    anything is trained or written, for what can't be scaled.
    """
    given: dict[str, Any] = {k: value for k, value in options.items() if value not in (None, [])}
    images = {name: given[name] for name in Images.__annotations__ if name in given}
    rounded = {name: given[name] for name in ("divisor", "resolution_multiple") if name in given}
    quantities.check_positive(**rounded, **images)
    phis = read_phis(phi)
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    by, study = read_coefficients(coefficients or [given.get(name) for name in FACTORS]), None
    if phi is not None and target is not None:
        raise UserError("--phi and --target-flops each say which members; give one of them.")
    train = bool(given.pop("train", False))
    _check_purpose(given, out, is_searched=by is None, is_trained=train)
    from nas.search_space.coefficients import Rounding

    rounding = Rounding(**rounded)
    network, config = _source(source, store)
    network = network.at(**images)
    how: dict[str, Any] = {"store": store, "say": say or silent, "watch": watch}
    if target is not None:
        check_target(network, target)
    if by is None:
        network, by, study = _search_coefficients(
            Path(source).stem, network, config, given, rounding, phis if target is None else (),
            **how,
        )  # fmt: skip
    elif train:
        network = _for_training(network, config, given, how["say"])
    if target is None:
        members = [member(network, by._replace(phi=each), rounding) for each in phis]
    else:
        members = [nearest(network, by, target, rounding)]
    family = Family(source, by, tuple(members), study)
    if not train or out is None:
        return family if out is None else write(family, Path(out))
    name = given.get("study", f"{Path(source).stem}-scaling")
    training = family_training.options_of(config, given)
    return family_training.train_members(_laid_out(family, Path(out)), name, training, **how)


def _check_purpose(
    given: Mapping[str, Any], out: str | None, *, is_searched: bool, is_trained: bool
) -> None:
    """Refuse an option of a search or of a training where there is none, and a folder in use."""
    if is_trained and out is None:
        raise UserError("--train writes the members' weights into a folder: give --out.")
    if out is not None:
        check_out(Path(out), train=is_trained)
    for name in given:
        if name in family_training.OPTIONS and not is_trained:
            raise UserError(f"--{name} is for the training of the members: give --train.")
        if name in SEARCHED and not (
            is_searched or (is_trained and name in family_training.SHARED)
        ):
            raise UserError(
                f"--{name} is for a search of the coefficients; --alpha, --beta and --gamma are"
                " given."
            )


def _source(source: str, store: str | None) -> "tuple[Architecture, Config | None]":
    """Return the network to scale, and the study's configuration where it is a study's winner."""
    from nas import search_space
    from nas.config import Config
    from nas.store import queries
    from nas.study.finalists import training_of

    if source in search_space.names() or Path(source).suffix in (".json", ".py"):
        return architecture_of(source), None
    try:
        with reading(store) as connection:
            info = queries.study(connection, source)
            winner = training_of(connection, info, None)
            evaluation = queries.evaluation(connection, winner.evaluation_id)
    except StoreError as error:
        raise UserError(
            f"{source!r} is no family member (nas space list), no architecture's JSON file, and no"
            f" study with a complete trial: {error}"
        ) from None
    return evaluation.architecture, Config.from_json(info.config)


def _search_coefficients(
    name: str,
    architecture: "Architecture",
    config: "Config | None",
    given: Mapping[str, Any],
    rounding: "Rounding",
    phis: Sequence[float],
    **how: Any,
) -> "tuple[Architecture, Coefficients, str]":
    """Train the candidates at phi = 1; return the source for this data, the best, the study's name.

    As in the paper the best is the most accurate of those that keep to twice the FLOPs: the hard
    objective, with the tolerance of the product on the target.
    """
    from nas import network
    from nas.search_space import coefficients as family
    from nas.study.preparation import taken_back

    why = "Without --alpha, --beta and --gamma they are searched"
    data = family_training.data_of(config, given, why)
    folder, tolerance = given.get("folder", "studies"), given.get("tolerance", family.TOLERANCE)
    grid = family.candidates(given.get("step"), tolerance)
    with taken_back(folder):
        architecture = family_training.for_data(architecture, config, data, folder, how["say"])
        distinct = family.distinct(grid, architecture, rounding)
        for by in distinct.values():  # an impossible member is refused before hours of training
            for phi in phis:
                rounding.scale(architecture, by._replace(phi=phi))
    title = f"{name}-scaling"
    settings: dict[str, Any] = {"trials": len(distinct), "sampler": "grid", "pruner": "none"}
    settings["no_finalists"] = True  # every candidate is trained alike
    if config:
        settings |= {"seed": config.recipe.seed, "set": _recipe_of(config, given)}
        settings |= family_training.images_of(config, data)
    space = family.coefficient_space(title, architecture, list(distinct.values()), rounding)
    candidates = family.searched(space, architecture, distinct.values())
    costs = [network.cost(each).macs for each in candidates]
    twice = round(family.TOTAL * (1 + tolerance) * network.cost(architecture).macs)
    result = search(
        space,
        data,
        min(twice, max(costs)),
        objective="hard",
        max_flops=max(costs),
        study=given.get("study", title),
        out=folder,
        **settings | {key: given[key] for key in PASSED if key in given},
        **how,
    )
    by_id = {each.id: by for each, by in zip(candidates, distinct.values(), strict=True)}
    return architecture, by_id[result.best.architecture.id], result.name


def _recipe_of(config: "Config", given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a study's recipe with the epochs and the metric that are given."""
    from nas.training.recipe_file import values

    changes = {f"training.{key}": given[key] for key in ("epochs", "metric") if key in given}
    passes = {"training.epoch_updates": 0} if "epochs" in given else {}
    return values(config.recipe) | passes | changes


def read_phis(text: str | None) -> tuple[float, ...]:
    """Read a list of phi such as "0,1,2.5"; raises UserError for anything but numbers to 16."""
    text = PHIS if text is None else text
    try:
        phis = tuple(float(part) for part in text.split(","))
    except ValueError:
        phis = (-1.0,)
    if not all(0 <= phi <= MAX_PHI for phi in phis):
        raise UserError(f"--phi is numbers from 0 to {MAX_PHI:g} such as 0,1,2,3, not {text!r}.")
    return tuple(dict.fromkeys(phis))


def read_coefficients(coefficients: Sequence[float | None]) -> "Coefficients | None":
    """Return coefficients that were given, None where none was; raises UserError for a part."""
    if all(factor is None for factor in coefficients):
        return None
    for name, factor in zip(FACTORS, coefficients, strict=True):
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


def _for_training(
    network: "Architecture", config: "Config | None", given: Mapping[str, Any], say: "Say"
) -> "Architecture":
    """Return the network for the data that its family is trained on."""
    from nas.study.preparation import taken_back

    folder = given.get("folder", "studies")
    data = family_training.data_of(config, given, "--train trains the members")
    with taken_back(folder):
        return family_training.for_data(network, config, data, folder, say)


def _laid_out(family: Family, out: Path) -> Family:
    """Write the family, unless its own weights lie there already: then its training goes on."""
    try:
        there = json.loads((out / "family.json").read_text(encoding="utf-8"))["members"]
        ids = {each["phi"]: each["architecture_id"] for each in there}
    except (OSError, ValueError, LookupError, TypeError):
        ids = {}
    if not _weights(out) or ids != {m.by.phi: m.architecture.id for m in family.members}:
        return write(family, out)
    members = (replace(m, file=out / f"phi_{m.by.phi:g}" / "model.py") for m in family.members)
    return replace(family, members=tuple(members))


def _weights(out: Path) -> list[Path]:
    return sorted(out.glob("phi_*/model.safetensors"))


def check_out(out: Path, *, train: bool = False) -> None:
    """Refuse a folder for a family that holds anything but a family that was written before.

    Files without weights can be written again; trained weights can't, but their own training may
    go on.
    """
    check_folder(out)
    weights = _weights(out)
    if weights and not train:
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
    from nas.export import Facts, python
    from nas.report.study_picture import draw_family

    check_out(out)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory(dir=out, prefix=".family-") as temporary:
        new = Path(temporary)
        for each in family.members:
            folder = f"phi_{each.by.phi:g}"
            python.export(each.architecture, None, new / folder, Facts())
            write_json(new / folder / "architecture.json", each.architecture.to_json())
            written.append(replace(each, file=out / folder / "model.py"))
        family = replace(family, members=tuple(written))
        write_json(new / "family.json", family.to_json())
        if len(written) > 1:
            draw_family(family.to_json(), new / "family.png")
        for old in (*out.glob("phi_*/*.*"), *out.glob("family.*")):
            old.unlink()
        for old in out.glob("phi_*"):
            with suppress(OSError):  # something of the user's lies in it
                old.rmdir()
        for path in new.glob("**/*.*"):
            target = out / path.relative_to(new)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
    return family
