"""A lookup table of blocks' latencies, from which any network's is summed up.

A table per block is ProxylessNAS's way, arXiv:1812.00332, and MnasNet's objective is what it is
for, arXiv:1807.11626. A block that was not measured is summed up from its operators, so that every
network has a finite, positive latency. nn-Meter (MobiSys 2021) sums up kernels likewise; here they
are the framework's operators, which the block's own `cost` lists, so no fusion rule looks for them.

Runtimes keep channels in fours and eights. A convolution that writes another number of channels is
an operator of its own: in onnxruntime a depthwise one can take twenty times as long.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nas import blocks as registry
from nas import network
from nas.architecture import Architecture, Row
from nas.errors import SpaceError, UserError
from nas.files.reading import read_json
from nas.latency.setting import Setting

FORMAT = "nas.latency/1"
LEAST_MS = 1e-4  # of a block
Feature = tuple[str, str]  # an operator, and what is counted of it
COUNTED = ("macs", "params", "read", "written")  # besides calls
ANY = "any"  # stands for operators that were never measured
EVEN = 4  # channels: a convolution that writes no multiple of them is an uneven one
UNEVEN = "/uneven"
CONVOLUTIONS = ("conv", "depthwise", "grouped", "pointwise", "cond_conv")
PlacedRow = tuple[Row, int, int]  # a row with its input's channels and size


@dataclass(frozen=True)
class Error:
    """How far predictions were off on whole networks that nothing was learnt from.

    `percent` is the median absolute percentage error and `rank_correlation` Spearman's; None where
    there were too few networks, or all alike. `fitted` networks and `blocks` were learnt from.
    """

    networks: int
    percent: float | None
    rank_correlation: float | None
    fitted: int
    blocks: int

    def describe(self) -> str:
        """Say it in one line."""
        if self.percent is None:
            return "error unknown: no network was left to hold out"
        text = f"median absolute error {self.percent:.1f} % on {self.networks} held-out networks"
        if self.rank_correlation is not None:
            text += f", Spearman's rank correlation {self.rank_correlation:.3f}"
        return f"{text}; learnt from {self.fitted} others and {self.blocks} blocks"


@dataclass(frozen=True)
class LatencyTable:
    """The milliseconds of blocks inside a network, and of their operators.

    `blocks` were measured. `operators` is milliseconds per unit of what is counted of an operator;
    `seconds` is what the measuring took.
    """

    space: str
    in_channels: int
    classes: int
    setting: Setting
    blocks: Mapping[PlacedRow, float]
    operators: Mapping[Feature, float]
    error: Error
    seconds: float
    _known: dict[PlacedRow, float] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def milliseconds(self, architecture: Architecture) -> float:
        """Predict a network's latency; finite and positive, whatever the network."""
        return self.of(network.walk(architecture))

    def of(self, blocks: Iterable[PlacedRow]) -> float:
        """Sum up blocks."""
        return sum(map(self._block_ms, blocks))

    def _block_ms(self, block: PlacedRow) -> float:
        ms = self._known.get(block)
        if ms is None:
            measured = self.blocks.get(block)
            ms = max(LEAST_MS, summed(block, self.operators) if measured is None else measured)
            self._known[block] = ms
        return ms

    @cached_property
    def hash(self) -> str:
        """Content hash: 16 hex digits; equal tables predict the same."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def describe(self) -> str:
        """Say how it was measured and how far it is off."""
        return f"{self.setting.describe()}; {self.error.describe()}"

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain data."""
        return {
            "format": FORMAT,
            "space": self.space,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "setting": self.setting.to_json(),
            "error": vars(self.error),
            "seconds": self.seconds,
            "operators": [[*feature, ms] for feature, ms in self.operators.items()],
            "blocks": [
                {"row": row.to_json(), "in_channels": channels, "size": size, "ms": ms}
                for (row, channels, size), ms in self.blocks.items()
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> "LatencyTable":
        """Read a table back; raises UserError for anything else."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise UserError(f'A latency table is an object with "format": "{FORMAT}".')
        try:
            return cls(
                space=str(data["space"]),
                in_channels=int(data["in_channels"]),
                classes=int(data["classes"]),
                setting=Setting.from_json(data["setting"]),
                blocks={_block(entry): _number(entry["ms"]) for entry in data["blocks"]},
                operators={(str(op), str(of)): _number(ms) for op, of, ms in data["operators"]},
                error=_error(data["error"]),
                seconds=_number(data["seconds"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, SpaceError) as error:
            raise UserError(f"This latency table is damaged: {error!r}.") from None

    def write(self, path: Path) -> None:
        """Write the table as a JSON file; raises UserError where that can't be done."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.to_json(), allow_nan=False) + "\n")
        except OSError as error:
            raise UserError(f"Can't write the latency table {path}: {error.strerror}.") from None


def read(path: str | Path) -> LatencyTable:
    """Read a table's file; raises UserError, naming the file, where there is none."""
    try:
        data = read_json(path)
    except UserError as error:
        raise UserError(
            f"Can't read the latency table {error} nas latency table makes one."
        ) from None
    try:
        return LatencyTable.from_json(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


@lru_cache(maxsize=100_000)
def features(block: PlacedRow) -> Mapping[Feature, float]:
    """Return the sums of a block's operators for one image, by operator and count.

    Every activation of a block counts as its own function's, be it a gate. Raises NasError where
    the block counts something that is no operator.
    """
    row = block[0]
    activation = registry.get(row.block).complete(dict(row.options)).get("activation", "none")
    sums: dict[Feature, float] = defaultdict(float)
    for step in registry.transcript(*block).steps:
        operator = f"act.{activation}" if step.kind == "act" else step.kind
        if step.kind in CONVOLUTIONS and step.channels % EVEN:
            operator += UNEVEN
        sums[operator, "calls"] += 1
        for counted in COUNTED:
            number = getattr(step, counted)
            if number > 0:
                sums[operator, counted] += number
    return MappingProxyType(sums)


def summed(block: PlacedRow, operators: Mapping[Feature, float]) -> float:
    """Sum up a block's operators.

    One that was never measured counts as its even kind, or else as any operator would.
    """
    total = 0.0
    for (operator, counted), number in features(block).items():
        kinds = (operator, operator.removesuffix(UNEVEN))
        measured = next((kind for kind in kinds if (kind, "calls") in operators), ANY)
        total += number * operators.get((measured, counted), 0.0)
    return total


def _block(data: Mapping[str, Any]) -> PlacedRow:
    return Row.from_json(data["row"]), int(data["in_channels"]), int(data["size"])


def _error(data: Mapping[str, Any]) -> Error:
    percent, ranks = (
        None if data[name] is None else float(data[name])
        for name in ("percent", "rank_correlation")
    )
    networks, fitted, blocks = (int(data[name]) for name in ("networks", "fitted", "blocks"))
    return Error(networks, percent, ranks, fitted, blocks)


def _number(value: Any) -> float:
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{value!r} is no number of milliseconds")
    return number
