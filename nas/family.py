"""A family from one network: coefficients to search, members for each phi, their code.

Compound scaling as EfficientNet, arXiv:1905.11946, section 3.3, describes it: the coefficients are
searched on the small network at phi = 1; then phi alone scales it.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from nas import export, network
from nas.architecture import Architecture, Row
from nas.cost import Cost
from nas.errors import UserError
from nas.quantities import from_here
from nas.report.picture import draw_family
from nas.scaling import Coefficients, grid, origins, scale
from nas.search_space import SearchSpace, block, choice, stage
from nas.search_space.nodes import Stage

MAX_PHI = 16.0
FINEST = 0.01  # between two values of phi, when the member nearest a target is looked for
PARAMETER = "coefficients"
PHIS = "0,1,2,3"
TOTAL = 2.0  # phi = 1 doubles the FLOPs
STEP = 0.1
TOLERANCE = 0.05


@dataclass(frozen=True)
class Rounding:
    """What widths and resolutions are multiples of."""

    divisor: int = 8
    resolution_multiple: int = 8

    def scale(self, architecture: Architecture, by: Coefficients) -> Architecture:
        """Scale a network with this rounding."""
        return scale(architecture, by, divisor=self.divisor, multiple=self.resolution_multiple)


@dataclass(frozen=True)
class Member:
    """One member: its network, its cost, and its FLOPs over the source's beside the ideal ratio."""

    by: Coefficients
    architecture: Architecture
    cost: Cost
    ratio: float
    ideal_ratio: float
    file: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the member as plain data."""
        return {
            "phi": self.by.phi,
            "architecture_id": self.architecture.id,
            "resolution": self.architecture.resolution,
            "layers": len(self.architecture.body),
            **self.cost._asdict(),
            "ratio": self.ratio,
            "ideal_ratio": self.ideal_ratio,
            "file": None if self.file is None else from_here(self.file),
        }


@dataclass(frozen=True)
class Family:
    """A source, its coefficients, and its members; `study` is where the coefficients come from."""

    source: str
    by: Coefficients
    members: tuple[Member, ...]
    study: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the family as plain data."""
        names = ("alpha", "beta", "gamma")
        return {
            "source": self.source,
            "coefficients": {name: getattr(self.by, name) for name in names},
            "product": self.by.product,
            "study": self.study,
            "members": [member.to_json() for member in self.members],
        }


def read_phis(text: str | None) -> tuple[float, ...]:
    """Read a list of phi such as "0,1,2.5"; raises UserError for anything but numbers to 16."""
    text = PHIS if text is None else text
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= phi <= MAX_PHI for phi in found):
        raise UserError(f"--phi is numbers from 0 to {MAX_PHI:g} such as 0,1,2,3, not {text!r}.")
    return tuple(dict.fromkeys(found))


def given(coefficients: Sequence[float | None]) -> Coefficients | None:
    """Return coefficients that were given, None where none was; raises UserError for a part."""
    if all(factor is None for factor in coefficients):
        return None
    for name, factor in zip(("alpha", "beta", "gamma"), coefficients, strict=True):
        if factor is None or not 1 <= factor <= MAX_PHI:
            raise UserError(
                f"--alpha, --beta and --gamma are given together, each a number from 1 to"
                f" {MAX_PHI:g}; --{name} is {'missing' if factor is None else format(factor, 'g')}."
            )
    return Coefficients(*(float(factor) for factor in coefficients if factor is not None))


def candidates(step: float | None, tolerance: float | None) -> list[Coefficients]:
    """List the grid's candidates; raises UserError where it has none, or far too many."""
    step = STEP if step is None else step
    tolerance = TOLERANCE if tolerance is None else tolerance
    if not 0.01 <= step <= 1:
        raise UserError(f"--step is a number from 0.01 to 1, not {step:g}.")
    if not 0 < tolerance < 1:
        raise UserError(f"--tolerance is a number between 0 and 1, not {tolerance:g}.")
    found = grid(step=step, total=TOTAL, tolerance=tolerance)
    if not found:
        raise UserError(
            f"No alpha beta^2 gamma^2 in steps of {step:g} is within {tolerance:.0%} of {TOTAL:g};"
            " give a smaller --step or a larger --tolerance."
        )
    return found


def distinct(
    tried: Sequence[Coefficients], source: Architecture, rounding: Rounding
) -> dict[str, Coefficients]:
    """Return the scaled networks' ids with their coefficients.

    Of several that round to one network the one is kept whose product is nearest the wanted one.
    """
    nearest_first = sorted(tried, key=lambda by: abs(by.product - TOTAL))
    found: dict[str, Coefficients] = {}
    for by in nearest_first:
        found.setdefault(rounding.scale(source, by).id, by)
    return found


def member(source: Architecture, by: Coefficients, rounding: Rounding) -> Member:
    """Scale the source by these coefficients."""
    architecture = rounding.scale(source, by)
    cost = network.cost(architecture)
    ratio = cost.macs / network.cost(source).macs
    return Member(by, architecture, cost, ratio, by.product**by.phi)


def check_target(source: Architecture, target: int) -> None:
    """Refuse a target that the network itself is over."""
    macs = network.cost(source).macs
    if target < macs:
        raise UserError(
            f"--target-flops {target:,} is below the network's own {macs:,}; scaling only makes a"
            " network larger. Search for a smaller one."
        )


def nearest(source: Architecture, by: Coefficients, target: int, rounding: Rounding) -> Member:
    """Return the member whose macs are nearest the target, of all phi from 0 in steps of 0.01.

    Raises UserError where the target is below the source or beyond phi = 16.
    """
    check_target(source, target)
    best = member(source, by._replace(phi=0.0), rounding)
    for index in range(1, round(MAX_PHI / FINEST) + 1):
        other = member(source, by._replace(phi=round(index * FINEST, 2)), rounding)
        if abs(other.cost.macs - target) < abs(best.cost.macs - target):
            best = other
        if other.cost.macs > 2 * target:
            return best
    if best.cost.macs < target / 2:
        raise UserError(
            f"phi = {MAX_PHI:g} gives {best.cost.macs:,} FLOPs; {target:,} are out of reach."
        )
    return best


def label(by: Coefficients) -> str:
    """Write coefficients as a study stores them."""
    return ", ".join(f"{factor:g}" for factor in by[:3])


def coefficient_space(
    name: str, source: Architecture, tried: Sequence[Coefficients], rounding: Rounding
) -> SearchSpace:
    """Return the space of the source scaled by each candidate: one parameter, the coefficients."""
    labels = [label(by) for by in tried]

    def linked(values: Sequence[int]) -> Any:
        alike = len(set(values)) == 1
        return values[0] if alike else choice(*values, name=PARAMETER, labels=labels)

    def staged(row: Row, depths: Sequence[int]) -> Stage:
        widths = [by.width(row.out_channels, rounding.divisor) for by in tried]
        spec = block(row.block, **dict(row.options))
        return stage(spec, width=linked(widths), depth=linked(depths), stride=row.stride)

    once = [1] * len(tried)
    ending = dict(source.head[-1].options)
    sizes = [by.resolution(source.resolution, rounding.resolution_multiple) for by in tried]
    return SearchSpace(
        name=name,
        resolution=linked(sizes),
        dropout=ending.pop("dropout", 0.0),
        classifier=ending,
        in_channels=source.in_channels,
        classes=source.classes,
        stem=[staged(row, once) for row in source.stem],
        stages=[
            staged(rows[first], depths)
            for rows in source.stages
            for first, depths in _runs(rows, tried)
        ],
        head=[staged(row, once) for row in source.head[:-1]],
    )


def _runs(rows: Sequence[Row], tried: Sequence[Coefficients]) -> Iterator[tuple[int, list[int]]]:
    """Yield each run of alike layers of a stage: its first layer, its length for each candidate."""
    scaled = [Counter(origins(len(rows), by.depth(len(rows)))) for by in tried]
    for _, run in groupby(range(len(rows)), key=lambda index: replace(rows[index], stride=1)):
        indices = list(run)
        yield indices[0], [sum(times[index] for index in indices) for times in scaled]


def check_out(out: Path) -> None:
    """Refuse a folder for a family that holds anything but a family that was written before.

    Files without weights can be written again; trained weights can't.
    """
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a folder to write to, not {str(out)!r}.")
    weights = sorted(out.glob("phi_*/model.safetensors"))
    if weights:
        raise UserError(
            f"{weights[0].parent} holds weights, which would be another network's; choose another"
            " folder for --out."
        )
    if any(out.glob("*")) and not (out / "family.json").is_file():
        raise UserError(f"--out is a new folder, an empty one or a family's; {out} is none.")


def write(family: Family, out: Path) -> Family:
    """Write each member's code and data into a folder of its own, and family.json beside them.

    Of several members there is a picture, family.png. The files hold no weights; each is run and
    held to the built network before all of them take the place of what was there.
    """
    check_out(out)
    out.mkdir(parents=True, exist_ok=True)
    exporter, written = export.get("python"), []
    with tempfile.TemporaryDirectory(dir=out, prefix=".family-") as temporary:
        new = Path(temporary)
        for one in family.members:
            folder = f"phi_{one.by.phi:g}"
            exporter.export(one.architecture, None, new / folder, export.Facts())
            _write_json(new / folder / "architecture.json", one.architecture.to_json())
            written.append(replace(one, file=out / folder / "model.py"))
        found = replace(family, members=tuple(written))
        _write_json(new / "family.json", found.to_json())
        if len(written) > 1:
            draw_family(found.to_json(), new / "family.png")
        for old in (*out.glob("phi_*/*.*"), *out.glob("family.*")):
            old.unlink()
        for old in out.glob("phi_*"):
            with suppress(OSError):  # something of the user's lies in it
                old.rmdir()
        for path in new.glob("**/*.*"):
            target = out / path.relative_to(new)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
    return found


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")
