"""Random architectures of every space against referees that share no formula with us.

    python -m benchmarks.conformance [--n 500] [--seed 0] [--space NAME ...]

For each of n architectures of each space, at its smallest resolution: parameters against a build on
the meta device, macs and activations against fvcore, peak activation memory against a trace of the
operators, and the emitted file against the built network (keys, shapes, outputs). The members are
the business of benchmarks/families.py. Writes benchmarks/results/conformance.json; status 1 where
anything differs.
"""

import argparse
import json
import random
import runpy
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas import network
from nas.architecture import Architecture
from nas.errors import NasError
from nas.export import Facts
from nas.export.python import TOLERANCE, export
from nas.search_space import Choice, SearchSpace, load, spaces
from tests import referee

RESULT = Path(__file__).parent / "results" / "conformance.json"
BATCH = 2


def main() -> None:
    """Check every space, write the result, end with status 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=500, help="architectures of each space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", nargs="*", help="only these; the result is not written")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in asked.space or sorted(spaces()):
        found[name] = check_space(load(name), asked.n, asked.seed)
        print(name, json.dumps(found[name]), flush=True)
    if not asked.space:
        result = {"seed": asked.seed, "torch": torch.__version__, "spaces": found}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if any(one["differences"] for one in found.values()):
        raise SystemExit("Something differs: see `differences` above.")


def smallest(space: SearchSpace) -> SearchSpace:
    """Return the space at its smallest resolution, one of a single large one at 64 px."""
    chosen = space.resolution
    return space.at_resolution(min(chosen.options if isinstance(chosen, Choice) else (chosen, 64)))


def samples(space: SearchSpace, n: int, seed: int) -> Iterator[Architecture]:
    """Yield n random architectures, or every one of a space that has no more."""
    rng = random.Random(seed)
    if space.size() <= n:
        found = [space.complete({})]
        for values in found:  # which grows on the way
            found += [other for other in space.neighbours(values) if other not in found]
        yield from map(space.decode, found)
        return
    for _ in range(n):
        yield space.decode(space.sample(rng))


def check_space(space: SearchSpace, n: int, seed: int) -> dict[str, Any]:
    """Return how many architectures were checked, what differed, and the largest difference."""
    start, differences, largest = time.perf_counter(), [], 0.0
    resolutions, distinct, checked = set(), set(), 0
    for architecture in samples(smallest(space), n, seed):
        built = referee.calibrated(architecture, checked)
        differences += compare_counts(architecture, built)
        difference = compare_emitted(architecture, built)
        if not difference <= TOLERANCE:
            differences.append(f"{architecture.id}: emitted file differs by {difference}")
        largest = max(largest, difference)
        resolutions.add(architecture.resolution)
        distinct.add(architecture.id)
        checked += 1
    return {
        "checked": checked,
        "distinct": len(distinct),
        "resolution": max(resolutions),
        "differences": differences,
        "largest_output_difference": largest,
        "seconds": round(time.perf_counter() - start, 1),
    }


def compare_counts(architecture: Architecture, built: nn.Module) -> list[str]:
    """Return the numbers in which our cost and the referees differ."""
    size = (architecture.in_channels, architecture.resolution)
    macs, activations = referee.macs_and_activations(built, *size)
    expected = {
        "macs": macs,
        "params": referee.meta_params(architecture),
        "activations": activations,
        "peak_activation_bytes": referee.peak_activation_bytes(built, *size),
    }
    ours = network.cost(architecture)._asdict()
    return [
        f"{architecture.id}: {name} {ours[name]}, referee {value}"
        for name, value in expected.items()
        if ours[name] != value
    ]


def compare_emitted(architecture: Architecture, built: nn.Module) -> float:
    """Return the largest relative difference of outputs; infinity where keys or shapes differ."""
    state = built.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = export(architecture, state, folder, Facts())
        except NasError:
            return float("inf")
        loaded = runpy.run_path(str(path))["load"]()
    shapes = [(name, tensor.shape) for name, tensor in loaded.state_dict().items()]
    if shapes != [(name, tensor.shape) for name, tensor in state.items()]:
        return float("inf")
    size = architecture.resolution
    images = torch.randn(BATCH, architecture.in_channels, size, size)
    with torch.no_grad():
        expected, actual = built(images), loaded(images)
    return float((expected - actual).abs().max() / expected.abs().max())


if __name__ == "__main__":
    main()
