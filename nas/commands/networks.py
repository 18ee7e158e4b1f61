"""The verbs about networks given by name or file: what they cost, how long they take.

Importing this module imports no torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from nas import quantities
from nas.errors import SpaceError
from nas.files import check_file

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.latency.table import LatencyTable
    from nas.search_space import SearchSpace

MEASURING = 5.0  # seconds for each network whose latency is measured


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
    architecture = architecture_of(name).at(
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


def _stage_costs(architecture: "Architecture") -> list[dict[str, Any]]:
    """Return the costs of the stem, each stage and the head as plain data."""
    from nas.report.stages import stages

    return [
        {
            "part": one.name,
            "blocks": one.blocks,
            "resolution_in": one.size_in,
            "resolution_out": one.size_out,
            "out_channels": one.out_channels,
            "layers": sum(one.blocks.values()),
            "macs": one.macs,
            "params": one.params,
            "activations": one.activations,
        }
        for one in stages(architecture)
    ]


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
        architecture_of(name).at(resolution=resolution, classes=classes, in_channels=in_channels)
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
    from nas.study.latency_table import check_seconds, table_goal
    from nas.study.preparation import table_subject

    subject = table_subject(
        space, options.get("data"), options.get("resolution"), options.get("classes"),
        options.get("in_channels"),
    )  # fmt: skip
    goal = table_goal(options.get("target_flops"), options.get("target_latency"))
    how = measure.setting(
        options.get("batch_size", 1), options.get("threads", 1), options.get("device", "cpu")
    )
    seconds = check_seconds("--seconds", options.get("seconds", 90.0))
    check_file(Path(out))
    table = learn.make(
        subject, how, goal=goal, seconds=seconds, seed=options.get("seed", 0),
        say=options.get("say", _silent),
    )  # fmt: skip
    table.write(Path(out))
    return table


def architecture_of(name: str) -> "Architecture":
    """Return the one network of this name; raises SpaceError for a space of many."""
    from nas.architecture import Architecture

    found = network_or_space(name)
    if isinstance(found, Architecture):
        return found
    if found.size() > 1:
        raise SpaceError(
            f"{name} is a space of {found.size():,} architectures, not one network. nas space list"
            f" has the family members; nas space sample {name} --json draws one."
        )
    return found.decode({})


def network_or_space(name: str) -> "Architecture | SearchSpace":
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


def _silent(_: object) -> None:
    return
