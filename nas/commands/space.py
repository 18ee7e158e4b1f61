"""The verbs about search spaces. Importing this module imports no torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Unpack

from nas import quantities
from nas.commands._options import Help, Images, SpaceName, Target, argument
from nas.commands._values import Several
from nas.commands.networks import network_or_space, subject_of
from nas.errors import UserError
from nas.files import check_picture, writing
from nas.report.tables import Lines, Table

if TYPE_CHECKING:
    from nas.architecture import Architecture, Value
    from nas.latency.devices import DeviceSheet
    from nas.search_space import SearchSpace
    from nas.search_space.preflight import Preflight

LIMITED = {
    "macs": "{} FLOPs",
    "params": "{} parameters",
    "activations": "{} activations",
    "peak_activation_bytes": "{}B of peak activation memory, counted in float32",
}


def spaces() -> Several[dict[str, Any]]:
    """List the search spaces and family members that come with nas."""
    from nas.files import shipped

    if (values := shipped.listed()) is None:  # a file was changed or added
        from nas.search_space import files

        values = files.table()
    rows = [[each["name"], each["kind"], f"{each['size']:.3g}"] for each in values]
    return Several(values, lambda _: [Table(["name", "kind", "#size"], rows)])


class Surveyed(NamedTuple):
    """A search space and its pre-flight; how many `networks` it has, where that was counted."""

    space: "SearchSpace"
    flight: "Preflight"
    networks: int | None = None
    device: "DeviceSheet | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return the pre-flight as plain data, with the device whose limits were asked for."""
        networks = {} if self.networks is None else {"networks": self.networks}
        device = {} if self.device is None else {"device": self.device.to_json()}
        return self.flight.to_json() | networks | device

    def lines(self) -> Lines:
        """Say what the parameters are, how large the space is, and what its networks cost."""
        short, flight = quantities.short, self.flight
        if flight.parameters:
            yield from self.space.describe()
            yield ""
        many = "s" if flight.parameters != 1 else ""
        yield (
            f"{self.space.name}: {flight.size:,} assignments of {flight.parameters} parameter{many}"
        )
        for unit, (low, high) in (("FLOPs", flight.macs), ("parameters", flight.params)):
            yield f"{short(low)} to {short(high)} {unit}"
        if flight.near_target is not None:
            yield f"{flight.near_target:.1%} within 10 % of the target"
        yield f"{flight.within_limits:.1%} within the limits"
        if flight.fitted:
            left = (
                "" if self.networks is None else f"; roughly {self.networks:.1g} networks are left"
            )
            yield flight.fitted_line + left
        if self.device is not None:
            yield f"  of {self.device.name}, {self.device.core} ({self.device.source}), as int8:"
        for name, share in flight.within.items():
            limit = LIMITED[name].format(short(flight.limits[name]))
            yield f"  {share:.1%} within {limit}"
        yield f"example, {short(flight.example_macs)} FLOPs:"
        yield from (f"  {line}" for line in flight.example_notation)


def space_preflight(
    name: SpaceName,
    *,
    target_flops: Target = None,
    max_flops: Target = None,
    max_params: Target = None,
    max_memory: Annotated[
        str | float | None, Help("Of activations in float32, such as 1.5MB.")
    ] = None,
    target_device: Annotated[str | None, Help("Keep a device's limits, such as stm32f746.")] = None,
    data: Annotated[
        str | None, Help("A data set: the space as a search of its images has it.")
    ] = None,
    **images: Unpack[Images],
) -> Surveyed:
    """Show a space: its parameters, size, cost range, what is near a target, fits on a device."""
    from nas.latency import devices
    from nas.objective import objective
    from nas.study import options

    given = {
        "max_flops": max_flops,
        "max_params": max_params,
        "max_memory": max_memory,
        "target_device": target_device,
    }
    limits = options.read(given).limited().limits
    target = None if target_flops is None else quantities.count(target_flops, "--target-flops")
    subject = subject_of(name, data, **images)
    from nas.search_space.preflight import different_networks, survey

    flight = survey(
        subject,
        objective=None if target is None else objective(target),
        limits=limits,
    )
    device = None if target_device is None else devices.get(target_device)
    networks = different_networks(subject) if data is not None and flight.fitted else None
    return Surveyed(subject.space, flight, networks, device)


class Sample(NamedTuple):
    """A random architecture of a space, and the values of the recipe that the space chooses."""

    architecture: "Architecture"
    recipe: "Mapping[str, Value]"

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as plain data, with the recipe's values where there are any."""
        return self.architecture.to_json() | ({"recipe": dict(self.recipe)} if self.recipe else {})


def space_sample(
    name: SpaceName,
    *,
    n: Annotated[int, Help("How many.", ("--n", "-n"))] = 1,
    seed: Annotated[int, Help("Seed of the draws.")] = 0,
) -> "Several[Sample]":
    """Draw random architectures of a space, within its limits, and values of the recipe."""
    if n < 1:
        raise UserError(f"--n is a whole number of at least 1, not {n}.")
    import random

    from nas.search_space import load

    space, rng = load(name), random.Random(seed)
    drawn = (space.sample(rng) for _ in range(n))
    return Several((Sample(space.decode(v), space.recipe_values(v)) for v in drawn), _sample_lines)


def _sample_lines(samples: "Sequence[Sample]") -> Lines:
    from nas.blocks.notation import notation

    for architecture, recipe in samples:
        found = "".join(f" | {key}={json.dumps(value)}" for key, value in recipe.items())
        notes = " | ".join(notation(architecture))
        yield f"{architecture.id} {architecture.resolution} px: {notes}{found}"


class Diagram(NamedTuple):
    """The files of a picture that was drawn, and what it shows."""

    files: list[Path]
    title: str

    def to_json(self) -> dict[str, list[str]]:
        """Return the files' paths as plain data."""
        return {"files": [str(path) for path in self.files]}

    def lines(self) -> Lines:
        """Say where each file is."""
        return [f"{self.title}: {path}" for path in self.files]


def space_diagram(
    name: Annotated[str, argument("Family member, architecture's JSON file, or search space.")],
    *,
    out: Annotated[str | None, Help("File to write, .svg or .png; both, named after NAME.")] = None,
    seed: Annotated[int, Help("Seed of the draw from a space.")] = 0,
    **images: Unpack[Images],
) -> Diagram:
    """Draw one architecture: its layers, kernel groups, widths to scale, and what they cost.

    Writes the .svg or .png file `out`; without it both, named after the network, in this folder.
    """
    import random

    from nas.architecture import Architecture

    quantities.check_positive(**images)
    title = Path(name).stem if Path(name).suffix in (".json", ".py") else name
    paths = [Path(out)] if out is not None else [Path(f"{title}.svg"), Path(f"{title}.png")]
    for path in paths:
        check_picture(path)
    network = network_or_space(name)
    if not isinstance(network, Architecture):
        if network.architectures() > 1:
            title = f"{title}, random sample of seed {seed}"
        network = network.decode(network.sample(random.Random(seed)))
    from nas.report import diagram

    with writing(*paths):
        diagram.draw(network.at(**images), *paths, title=title)
    return Diagram(paths, title)


def space_validate(name: SpaceName) -> "SearchSpace":
    """Check a space; with --json print it as JSON, as it travels over a wire.

    Raises SpaceError with the place of the first mistake.
    """
    from nas.search_space import load

    return load(name)
