"""The verbs about networks given by name or file: what they cost, how long they take.

Importing this module imports no torch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Unpack

from nas import quantities
from nas.commands._options import Help, Images, Names, Store, argument, silent
from nas.commands._values import Several
from nas.errors import SpaceError, UserError
from nas.files import check_file
from nas.files.reading import read_json, read_text
from nas.report import tables

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.latency.table import LatencyTable
    from nas.objective import Objective
    from nas.search_space import SearchSpace
    from nas.search_space.preflight import Subject

MEASURING = 5.0  # seconds for each network whose latency is measured
BatchSize = Annotated[int, Help("Images at once.")]
Threads = Annotated[int, Help("Threads of the processor.")]
Device = Annotated[str, Help("cpu or cuda.")]
Backend = Annotated[
    str | None, Help("onnxruntime, where it is installed, torch, torch-compile or openvino.")
]
Host = Annotated[
    str | None,
    Help("Measure over ssh at user@host[:python], in onnxruntime.", ("--host", "--latency-host")),
]


class Counted(NamedTuple):
    """A network and its cost as plain data: in total, by stage, block by block."""

    architecture: "Architecture"
    numbers: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the cost as plain data."""
        return self.numbers

    def lines(self, *, blocks: bool = False) -> tables.Lines:
        """Show the cost block by block or by stage."""
        network, numbers = self
        size = f"{network.in_channels}x{network.resolution}x{network.resolution}"
        yield f"{numbers['name']} ({network.id}): {size} images, {network.classes} classes"
        yield tables.cost_table(numbers) if blocks else tables.stage_table(numbers)
        yield f"peak activation memory {numbers['peak_activation_bytes']:,} bytes"


def cost(
    names: Names,
    *,
    blocks: Annotated[bool, Help("Block by block.")] = False,
    **images: Unpack[Images],
) -> Several[Counted]:
    """Count a network's macs, parameters, activations and memory, by stage; compare several."""

    def text(costs: Sequence[Counted]) -> tables.Lines:
        if len(costs) > 1:
            yield tables.comparison_table([counted.numbers for counted in costs])
        for counted in costs if blocks or len(costs) == 1 else ():
            yield from counted.lines(blocks=blocks)

    return Several([cost_of(name, **images) for name in names], text, single=len(names) == 1)


def cost_of(given: str | Mapping[str, Any], **images: Unpack[Images]) -> Counted:
    """Count a family member, or an architecture's file or JSON: totals, by stage, by block."""
    quantities.check_positive(**images)
    from nas import network
    from nas.architecture import Architecture
    from nas.report.stages import stages

    if isinstance(given, str):
        name, architecture = given, architecture_of(given)
    else:
        from nas.blocks import canonical

        architecture = canonical(Architecture.from_json(given))
        name = architecture.id
    architecture = architecture.at(**images)
    parts = [part for part, rows in architecture.parts() for _ in rows]
    blocks = zip(parts, network.block_costs(architecture), strict=True)
    numbers = {
        "name": name,
        "architecture_id": architecture.id,
        "resolution": architecture.resolution,
        "in_channels": architecture.in_channels,
        "classes": architecture.classes,
        **network.cost(architecture)._asdict(),
        "blocks": [
            {"part": part, "in_channels": channels, "size": size}
            | {**row.to_json(), **counted._asdict()}
            for part, (row, channels, size, counted) in blocks
        ],
        "stages": [stage.to_json() for stage in stages(architecture)],
    }
    return Counted(architecture, numbers)


def latency_of(
    names: Annotated[
        list[str],
        argument("Family members, architectures' JSON files, or STUDY:TRIAL such as fast:12."),
    ],
    *,
    backend: Backend = None,
    batch_size: BatchSize = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    host: Host = None,
    store: Store = None,
    **images: Unpack[Images],
) -> Several[dict[str, Any]]:
    """Measure how long networks take on this machine, or at a host, in turns."""
    from nas import network
    from nas.latency import measure
    from nas.latency.setting import setting

    quantities.check_positive(**images)
    networks = [_trial_or_network(name, store).at(**images) for name in names]
    how = setting(batch_size, threads, device, backend=backend, host=host)
    cases = [
        measure.Case(partial(network.build, each), each.in_channels, each.resolution)
        for each in networks
    ]
    measured = measure.measure(cases, how, seconds=MEASURING * len(cases), every=True)
    values = [
        {
            "name": name,
            "architecture_id": each.id,
            "resolution": each.resolution,
            "in_channels": each.in_channels,
            "classes": each.classes,
            "macs": network.cost(each).macs,
            **vars(latency),
            "setting": vars(how),
        }
        for name, each, latency in zip(names, networks, measured, strict=True)
    ]
    return Several(
        values, lambda rows: [tables.latency_table(rows), how.describe()], single=len(names) == 1
    )


def _trial_or_network(name: str, store: str | None) -> "Architecture":
    """Return the network of a trial, given as STUDY:TRIAL, or the one network of this name."""
    study, _, number = name.rpartition(":")
    if not study or not number.isdecimal():
        return architecture_of(name)
    from nas.commands.studies import reading, study_of, trial_of
    from nas.store import queries

    with reading(store) as connection:
        trial = trial_of(connection, study_of(connection, study), int(number))
        return queries.evaluation(connection, trial.evaluation_id).architecture


class TableOptions(Images, total=False):
    """What may be said of a latency table besides its space and file.

    The images are those of `data`, or given by themselves, or the space's own. With a target of
    FLOPs or latency the networks that are measured lie near it.
    """

    data: Annotated[str | None, Help("Images and classes as in nas search.")]
    target_flops: Annotated[str | float | None, Help("Measure near it: 300M.")]
    target_latency: Annotated[str | float | None, Help("Measure near it: 5ms.")]
    backend: Backend
    batch_size: BatchSize
    threads: Threads
    device: Device
    host: Host
    seconds: Annotated[float, Help("To measure in: 90.")]
    seed: Annotated[int, Help("Seed of the draws.")]
    say: Callable[[str], None]


class TableFile(NamedTuple):
    """A latency table and the file that it was written to."""

    table: "LatencyTable"
    file: str

    def to_json(self) -> dict[str, Any]:
        """Return where the table is and how far it is off, without what it predicts from."""
        fields = self.table.to_json()
        return {k: v for k, v in fields.items() if k not in ("blocks", "operators")} | {
            "setting": vars(self.table.setting),
            "table": self.file,
        }

    def lines(self) -> tables.Lines:
        """Say how the table was measured and how far it is off."""
        yield f"{self.file}: {self.table.setting.describe()}"
        yield f"{self.table.error.describe()}; {self.table.seconds:.0f} s"


def latency_table(
    space: Annotated[str, Help("Name, or path of a .py or .json file.", default="mixconv")],
    out: Annotated[str, Help("File to write, such as table.json.")],
    **options: Unpack[TableOptions],
) -> TableFile:
    """Make a table that predicts the latency of a space's networks, and say how far it is off.

    Raises UserError, before anything is measured, for what can't be.
    """
    from nas.latency import learn
    from nas.latency.setting import setting

    of: Any = {name: options.get(name) for name in ("data", *Images.__annotations__)}
    subject = subject_of(space, **of)
    goal = _table_goal(options.get("target_flops"), options.get("target_latency"))
    seconds = options.get("seconds", 90.0)
    if not 1 <= seconds < math.inf:
        raise UserError(f"--seconds is a number of seconds of at least 1, not {seconds:g}.")
    check_file(Path(out))
    how = setting(
        options.get("batch_size", 1),
        options.get("threads", 1),
        options.get("device", "cpu"),
        backend=options.get("backend"),
        host=options.get("host"),
    )
    say, seed = options.get("say", silent), options.get("seed", 0)
    table = learn.make(subject, how, goal=goal, seconds=float(seconds), seed=seed, say=say)
    table.write(Path(out))
    return TableFile(table, out)


def _table_goal(
    target_flops: str | float | None, target_latency: str | float | None
) -> "Objective | None":
    """Read near which target a table is made; None without one."""
    from nas.objective import latency_objective, objective

    if target_flops is not None and target_latency is not None:
        raise UserError("--target-flops and --target-latency each say where; give one of them.")
    if target_latency is not None:
        return latency_objective(quantities.milliseconds(target_latency, "--target-latency"), None)
    if target_flops is not None:
        return objective(quantities.count(target_flops, "--target-flops"))
    return None


def subject_of(
    space: "str | SearchSpace",
    data: str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
) -> "Subject":
    """Return a space for a data set's images, or for the given ones, or for its own."""
    quantities.check_positive(resolution=resolution, classes=classes, in_channels=in_channels)
    from nas import search_space
    from nas.search_space.preflight import Subject

    if isinstance(space, str):
        space = search_space.load(space)
    if resolution is not None:
        space = space.at_resolution(resolution)
    if data is None:
        return Subject(space, in_channels or space.in_channels, classes or space.classes)
    if classes is not None or in_channels is not None:
        raise UserError("--data says how many classes and channels there are; give no others.")
    from nas.config import CACHE
    from nas.data import load

    loaded = load(data, cache_dir=Path("studies", CACHE))
    space, _ = space.for_images(loaded.native_resolution)
    return Subject(space.fitting(), loaded.in_channels, len(loaded.classes))


def architecture_of(name: str) -> "Architecture":
    """Return the one network of this name; raises SpaceError for a space of many."""
    from nas.architecture import Architecture

    network = network_or_space(name)
    if isinstance(network, Architecture):
        return network
    if (size := network.architectures()) > 1:
        raise SpaceError(
            f"{name} is a space of {size:,} architectures, not one network. nas space"
            f" list has the family members; nas space sample {name} --json draws one."
        )
    return network.decode(network.complete({}))


def network_or_space(name: str) -> "Architecture | SearchSpace":
    """Read an architecture's JSON file or its emitted code, or load a space or a member.

    A member is a space of one.
    """
    from nas import blocks, search_space
    from nas.architecture import FORMAT, Architecture

    data = _read_json(name)
    if data.get("format") == FORMAT:
        try:
            return blocks.canonical(Architecture.from_json(data))
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from None
    if Path(name).suffix == ".py" and Path(name).is_file():
        from nas.export._parsing import is_emitted, parsed

        if is_emitted(text := read_text(name, SpaceError)):
            return parsed(text, name)
    return search_space.load(name)


def _read_json(name: str) -> Mapping[str, Any]:
    """Return the object in a JSON file; an empty one for a name that is no such file."""
    if Path(name).suffix != ".json":
        return {}
    data = read_json(name, SpaceError)
    return data if isinstance(data, dict) else {}
