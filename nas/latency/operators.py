"""The numbers that a block's latency is a sum over: its operators, and the counts of each.

nn-Meter (MobiSys 2021) sums up kernels likewise. Here the kernels are the framework's operators, so
no fusion rule looks for them: the block's own `cost` lists them.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from nas import blocks
from nas.architecture import Row

Feature = tuple[str, str]  # an operator, and what is counted of it
COUNTED = ("calls", "macs", "params", "read", "written")
ANY = "any"  # stands for operators that were never measured
PlacedRow = tuple[Row, int, int]  # a row with its input's channels and size


@lru_cache(maxsize=100_000)
def features(block: PlacedRow) -> Mapping[Feature, float]:
    """Return the sums of a block's operators for one image, by operator and count.

    Every activation of a block counts as its own function's, be it a gate. Raises NasError where
    the block counts something that is no operator.
    """
    row = block[0]
    activation = blocks.get(row.block).complete(dict(row.options)).get("activation", "none")
    sums: dict[Feature, float] = defaultdict(float)
    for step in blocks.transcript(*block).steps:
        operator = f"act.{activation}" if step.kind == "act" else step.kind
        for counted in COUNTED:
            number = getattr(step, counted)
            if number > 0:
                sums[operator, counted] += number
    return MappingProxyType(sums)


def of_any(counts: Mapping[Feature, float]) -> dict[str, float]:
    """Sum up a block's features over its operators, by what is counted."""
    total = dict.fromkeys(COUNTED, 0.0)
    for (_, counted), number in counts.items():
        total[counted] += number
    return total
