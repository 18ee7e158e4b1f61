"""Random architectures of every space, and every member, through every export format.

    python -m benchmarks.exports [--count N] [--n 200] [--seed 0] [--formats NAME ...]

Each network is written in each format, and run by the format's runtime beside the built network, by
the proof that `nas export` has. The emitted Python is read back to its architecture, and goes
through PyTorch's script, symbolic trace, compile (without a backend's code) and export. Random
architectures are at their space's smallest resolution, members at 64 px, with 10 classes; batch
norm is calibrated on noise. Formats that need a data set are not part of it.

Writes benchmarks/results/exports.json after each network: by family and format how many ran, how
many were refused and why, and the largest difference of an output relative to the largest output.
The same command goes on where it was stopped; --count: so many networks more. Status 1 where a
network is refused, timm aside, which can't say every one.
"""

import argparse
import importlib.util
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.conformance import smallest
from nas.architecture import Architecture
from nas.errors import NasError
from nas.export import Exportable, Facts, get, names, proof, python
from nas.export.graph import largest_difference, noise
from nas.files import write_json
from nas.search_space import load, members, spaces
from tests import referee, timm_referee

RESULT = Path(__file__).parent / "results" / "exports.json"
RESOLUTION, CLASSES = 64, 10  # of members
PARTIAL = ("timm",)  # can't say every network, and refuses it rightly
Found = float | str  # the largest difference, or why the network is refused


def _script(module: nn.Module, _: Tensor) -> Any:
    return torch.jit.script(module)


def _fx(module: nn.Module, _: Tensor) -> Any:
    return torch.fx.symbolic_trace(module)


def _compile(module: nn.Module, _: Tensor) -> Any:
    torch.compiler.reset()
    return torch.compile(module, backend="eager", fullgraph=True)


def _export(module: nn.Module, images: Tensor) -> Any:
    return torch.export.export(module, (images,)).module()


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "script": _script, "fx": _fx, "compile": _compile, "export": _export,
}  # fmt: skip


def main() -> None:
    """Check the networks that are not in the result yet; status 1 where one is refused."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, help="networks that are checked now")
    parser.add_argument("--n", type=int, default=200, help="random architectures, of all spaces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", default=default_formats())
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's own deprecations
    timm_referee.timm()  # can be imported then
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows = stored.get("networks", {}) if stored.get("seed") == asked.seed else {}
    missing = (
        (key, family, make)
        for key, family, make in networks(asked.n, asked.seed)
        if not set(asked.formats) <= rows.get(key, {}).get("found", {}).keys()
    )
    for key, family, make in islice(missing, asked.count):
        start, architecture = time.perf_counter(), make()
        before = rows.get(key, {}).get("found", {})
        found = before | check(architecture, [n for n in asked.formats if n not in before])
        rows[key] = {"family": family, "architecture_id": architecture.id, "found": found}
        print(key, f"{time.perf_counter() - start:.0f} s", json.dumps(found), flush=True)
        write_json(RESULT, result(rows, asked.seed))
    refused = {
        name for row in rows.values() for name, f in row["found"].items() if isinstance(f, str)
    }
    if refused - set(PARTIAL):
        raise SystemExit("A network is refused: see `refused` of its family.")


def default_formats() -> list[str]:
    """Return the formats whose packages are here and that need no data set."""
    here = [name for name in names() if all(map(importlib.util.find_spec, get(name).PACKAGES))]
    return [name for name in here if not get(name).NEEDS_DATA]


def networks(n: int, seed: int) -> Iterator[tuple[str, str, Callable[[], Architecture]]]:
    """Yield a key, the family and the architecture's maker: a random one and a member in turns."""
    families = sorted(spaces())

    def drawn(index: int) -> Callable[[], Architecture]:
        space = smallest(load(families[index % len(families)]))
        return lambda: space.decode(space.sample(random.Random(f"{seed} {index}")))

    randoms = [
        (f"{families[i % len(families)]} {i // len(families)}", families[i % len(families)], i)
        for i in range(n)
    ]
    for one, member in zip_longest(randoms, sorted(members())):
        if one is not None:
            yield one[0], one[1], drawn(one[2])
        if member is not None:
            yield member, member.partition("_")[0], lambda name=member: at_size(name)  # type: ignore[misc]


def at_size(name: str) -> Architecture:
    """Return a member for small images and few classes, as they are exported quickly."""
    return load(name).decode({}).at(resolution=RESOLUTION, classes=CLASSES)


def check(architecture: Architecture, formats: Sequence[str]) -> dict[str, Found]:
    """Return by format the largest difference, or the reason of a refusal."""
    state = referee.calibrated(architecture).state_dict()
    channels = architecture.in_channels
    facts = Facts(mean=(0.45,) * channels, std=(0.25,) * channels)
    exportable = Exportable(architecture, state, facts)
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in formats:
            proven = proof.prove(name, exportable, Path(folder))
            found[name] = str(proven.failure) if proven.verified is None else proven.verified
            if name == "python" and proven.path is not None:
                found |= check_code(exportable, proven.path)
    return found


def check_code(exportable: Exportable, path: Path) -> dict[str, Found]:
    """Return how PyTorch's tools take the emitted file, and whether its id is read back."""
    found: dict[str, Found] = {"python: parse": 0.0}
    try:
        if python.parse(path).id != exportable.architecture.id:
            found["python: parse"] = "another id is read back"
    except NasError as error:
        found["python: parse"] = str(error)
    module, images = imported(path), noise(exportable, 2)
    with torch.no_grad():
        expected = module(images)
        for name, transform in TRANSFORMS.items():
            try:
                difference = largest_difference(expected, transform(module, images)(images))
                found[f"python: {name}"] = difference
            except Exception as error:  # a tool's refusal is a finding
                found[f"python: {name}"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return found


def imported(path: Path) -> nn.Module:
    """Import an emitted file, as torch.jit.script needs it to read the source; load its weights."""
    spec = importlib.util.spec_from_file_location("emitted", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["emitted"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def result(rows: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the result: the summary by family and format, and the row of each network."""
    families: dict[str, dict[str, Any]] = {}
    for row in rows.values():
        for name, found in row["found"].items():
            entry = families.setdefault(row["family"], {}).setdefault(
                name, {"ran": 0, "largest_difference": 0.0, "refused": Counter()}
            )
            if isinstance(found, str):
                entry["refused"][found] += 1
            else:
                entry["ran"] += 1
                entry["largest_difference"] = max(entry["largest_difference"], found)
    done = Counter("random" if " " in key else "member" for key in rows)
    return {
        "torch": torch.__version__,
        "seed": seed,
        **done,
        "families": families,
        "networks": rows,
    }


if __name__ == "__main__":
    main()
