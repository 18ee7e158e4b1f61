"""How long the cost of one MixNet-S and one EfficientNet-B7 takes, beside fvcore in the same run.

    python -m benchmarks.cost

Writes benchmarks/results/cost.json; ends with status 1 where a budget is not kept.
"""

import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from fvcore.nn.flop_count import FlopCountAnalysis

from nas import network
from nas.architecture import Architecture
from nas.blocks import mixconv, options
from nas.search_space import load
from tests.referee import macs_and_activations

RESULT = Path(__file__).parent / "results" / "cost.json"
COLD_BUDGET, WARM_BUDGET, LARGE_BUDGET = 250, 10, 1000  # microseconds


def main() -> None:
    """Measure, print, write the result and hold it to the budget."""
    torch.set_num_threads(1)
    architecture = load("mixnet_s").decode({})
    size = (architecture.in_channels, architecture.resolution)
    module = network.build(architecture).eval()
    cost = network.cost(architecture)
    if (cost.macs, cost.activations) != macs_and_activations(module, *size):
        raise SystemExit("fvcore counts something else: there is nothing to compare.")
    image = torch.zeros(1, size[0], size[1], size[1])
    fvcore = _microseconds(lambda: _fvcore(module, image), repeats=5)
    cold = _microseconds(lambda: network.cost(architecture), 500, _forget(architecture))
    warm = _warm(architecture)
    large = load("efficientnet_b7").decode({})
    large_cold = _microseconds(lambda: network.cost(large), 500, _forget(large))
    result = {
        "architecture": "mixnet_s",
        "cost": cost._asdict(),
        "cold_us": cold,
        "warm_us": warm,
        "efficientnet_b7_cold_us": large_cold,
        "fvcore_us": fvcore,
        "fvcore_over_cold": round(fvcore / cold),
        "fvcore_over_warm": round(fvcore / warm),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"cost of one MixNet-S, median: cold {cold} us, warm {warm} us")
    print(f"fvcore, macs alone: {fvcore / 1000:.0f} ms, {fvcore / cold:,.0f} x cold,", end=" ")
    print(f"{fvcore / warm:,.0f} x warm")
    print(f"cost of one EfficientNet-B7, nothing counted before: {large_cold} us")
    if cold > COLD_BUDGET or warm > WARM_BUDGET or large_cold > LARGE_BUDGET:
        raise SystemExit(
            f"Over the budget of {COLD_BUDGET} us cold, {WARM_BUDGET} us warm, {LARGE_BUDGET} us"
            " cold for EfficientNet-B7."
        )


def _fvcore(module: torch.nn.Module, image: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(module, image).unsupported_ops_warnings(False)
        analysis.uncalled_modules_warnings(False).tracer_warnings("none").total()


def _warm(architecture: Architecture) -> float:
    """Time an architecture whose rows were counted through another, equal one."""
    network.cost(architecture)
    equal = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    return _microseconds(lambda: network.cost(equal), 2000)


def _forget(architecture: Architecture) -> Callable[[], None]:
    """Return what makes the next count the first: no row, partition or kernel list remembered."""

    def forget() -> None:
        mixconv.partition_channels.cache_clear()
        options.kernel_sizes.cache_clear()
        for row in architecture.rows:
            row.counted.clear()

    return forget


def _microseconds(
    run: Callable[[], object], repeats: int, before: Callable[[], None] = lambda: None
) -> float:
    times = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1e6, 1)


if __name__ == "__main__":
    main()
