"""The training of a scaled family: each member as `nas train` does it, then one picture of all.

Importing this module imports no torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands.train import train
from nas.errors import UserError
from nas.files import write_json

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.commands.family import Family
    from nas.config import Config
    from nas.study.preparation import Say
    from nas.study.progress import Watch

OPTIONS = ("seeds", "recipe", "set")  # of the members' training alone
SHARED = ("data", "workers", "metric", "seed", "study")  # with a search of the coefficients
PICTURE = "trained.png"


def data_of(config: "Config | None", given: Mapping[str, Any], why: str) -> str:
    """Return the data that are given, else those of the source's study."""
    data = given.get("data", config and config.data)
    if data is None:
        raise UserError(f"{why}, which needs --data.")
    return str(data)


def for_data(
    architecture: "Architecture", config: "Config | None", data: str, folder: str, say: "Say"
) -> "Architecture":
    """Return the network for the channels and the classes of the data."""
    from nas.config import CACHE
    from nas.data import load

    if config is not None and data == config.data:
        images = config.load_data()
    else:
        images = load(data, cache_dir=Path(folder, CACHE), say=say)
    return architecture.at(classes=len(images.classes), in_channels=images.in_channels)


def images_of(config: "Config", data: str) -> dict[str, Any]:
    """Return a study's groups, patterns and forbidden augmentations, if these are its data."""
    from nas.config import IMAGES

    return {name: getattr(config, name) for name in IMAGES} if data == config.data else {}


def options_of(config: "Config | None", given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `nas train` for every member.

    They are a study's own, the recipe that of its finalists, where its winner is scaled and neither
    other data nor another recipe are given.
    """
    names = {*SHARED, *OPTIONS} - {"study"}
    how: dict[str, Any] = {name: given[name] for name in names & given.keys()}
    if config is None:
        return how
    how = {"data": config.data, "seed": config.recipe.seed} | how
    if how["data"] != config.data:
        return how
    from nas.training import recipe_file
    from nas.training.recipes import lengthened

    how |= images_of(config, how["data"])
    if "recipe" not in how:
        values = recipe_file.values(
            config.finals.recipe if config.finals else lengthened(config.recipe)
        )
        if "metric" in how:
            values |= {"training.metric": how["metric"]}
        words = [recipe_file.word(*pair) for pair in values.items()]
        how["set"] = [*words, *given.get("set", ())]
    return how


def train_members(
    family: "Family",
    study: str,
    how: Mapping[str, Any],
    *,
    store: str | None,
    say: "Say",
    watch: "Watch | None",
) -> "Family":
    """Train each member in the folder of its code, in a study of its own, and draw all of them.

    The study's name ends with the member's phi. It ends with the first member that is stopped.
    """
    from nas.report.study_picture import draw_trained_family

    for member in family.members:
        if member.file is None:
            raise ValueError("A member is trained in the folder of its code.")
        folder = member.file.parent
        training = train(
            str(folder / "architecture.json"), out=str(folder),
            study=f"{study}-{folder.name.replace('_', '-')}", store=store, say=say, watch=watch,
            **how,
        )  # fmt: skip
        family = replace(family, trainings=(*family.trainings, training))
        if training.failure is not None:
            return family
    facts = family.to_json()
    write_json(folder.parent / "family.json", facts)
    draw_trained_family(facts, folder.parent / PICTURE)
    return family
