"""Every member against referees that share no formula with us, and against timm where it has one.

    python -m benchmarks.families [--only NAME ...]

For each member, at its own resolution: parameters against a build on the meta device, macs and
activations against fvcore on the built network, peak activation memory against a trace of its
operators. For each that timm has by this name: parameters, and macs by fvcore on timm's network, at
96 and 160 px and at the member's own resolution. Writes benchmarks/results/families.json with a row
per member (not with --only); status 1 where anything differs. Without timm its half is left out,
which is said and recorded. Needs 2 GB of memory and about half an hour on one core.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nas import network
from nas.architecture import Architecture
from nas.cost import Cost
from nas.search_space import load, members
from tests import referee, timm_referee

RESULT = Path(__file__).parent / "results" / "families.json"
RESOLUTIONS = (96, 160)  # at which timm's networks are counted besides the member's own


def main() -> None:
    """Check every member, write the result, end with status 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the result is not written")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    in_timm = set(timm_referee.shared_names())
    if not in_timm:
        print("timm can't be imported: nothing is compared with it.")
    found = {}
    for name in asked.only or sorted(members()):
        found[name] = check_member(name, compare_timm=name in in_timm)
        print(name, json.dumps(found[name]), flush=True)
    if not asked.only:
        versions = {"torch": torch.__version__, "timm": timm_referee.version()}
        RESULT.write_text(json.dumps({**versions, "members": found}, indent=1) + "\n")
    different = [name for name, row in found.items() if row["differences"]]
    if different:
        raise SystemExit(f"Something differs, see `differences` above: {', '.join(different)}.")


def check_member(name: str, *, compare_timm: bool) -> dict[str, Any]:
    """Return a member's numbers, at which resolutions they were compared, and what differed."""
    start, architecture = time.perf_counter(), load(name).decode({})
    cost = network.cost(architecture)
    differences = [
        f"{field}: {ours}, referee {theirs}"
        for field, ours, theirs in zip(Cost._fields, cost, _refereed(architecture), strict=True)
        if ours != theirs
    ]
    sizes = sorted({*RESOLUTIONS, architecture.resolution}) if compare_timm else []
    if compare_timm:
        differences += _compare_timm(name, architecture, sizes)
    return {
        "resolution": architecture.resolution,
        "classes": architecture.classes,
        **cost._asdict(),
        "timm_at": sizes,
        "differences": differences,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _refereed(architecture: Architecture) -> Cost:
    """Count the built network; memory needs shapes only, so what is traced holds no numbers."""
    size = (architecture.in_channels, architecture.resolution)
    with torch.no_grad():
        macs, activations = referee.macs_and_activations(network.build(architecture), *size)
    with FakeTensorMode():
        peak = referee.peak_activation_bytes(network.build(architecture), *size)
    return Cost(macs, referee.meta_params(architecture), activations, peak)


def _compare_timm(name: str, architecture: Architecture, sizes: list[int]) -> list[str]:
    """Return in what timm's network of this name differs from ours."""
    options = {"num_classes": architecture.classes, "in_chans": architecture.in_channels}
    expected = {"params": timm_referee.params(name, **options)}
    actual = {"params": network.cost(architecture).params}
    built = timm_referee.build(name, **options)
    for size in sizes:
        with torch.no_grad():
            macs, _ = referee.macs_and_activations(built, architecture.in_channels, size)
        expected[f"macs at {size} px"] = macs
        actual[f"macs at {size} px"] = network.cost(architecture.at(resolution=size)).macs
    return [
        f"{what}: {actual[what]}, timm {number}"
        for what, number in expected.items()
        if actual[what] != number
    ]


if __name__ == "__main__":
    main()
