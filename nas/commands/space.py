"""The verbs about search spaces. Importing this module imports no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas import quantities
from nas.commands.networks import network_or_space
from nas.errors import UserError
from nas.files import check_picture, writing

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.search_space import SearchSpace
    from nas.search_space.preflight import Preflight


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
        check_picture(path)
    found, title = network_or_space(name), stem
    if not isinstance(found, Architecture):
        if found.size() > 1:
            title = f"{stem}, random sample of seed {seed}"
        found = found.decode(found.sample(random.Random(seed)))
    found = found.at(resolution=resolution, classes=classes, in_channels=in_channels)
    from nas.report import diagram

    with writing(*paths):
        diagram.draw(found, *paths, title=title)
    return Diagram(paths, title)


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
    from nas.study import options

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
