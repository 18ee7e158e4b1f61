"""The proof of an export: its own runtime runs the file, and the built network's outputs decide.

A file whose outputs differ, or that can't be run, is not left on disk.
"""

import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import NasError, UserError
from nas.export import Exportable, ExportOptions, get, graph
from nas.export.verdict import Proof

BATCHES = (1, 3)  # images at once, of noise
REAL = 8  # images of the data's train split
ROUNDINGS, MOST = 4, 0.01  # times a network's own rounding are allowed, up to so much
RUNS, SECONDS = 21, 0.5  # of a latency, at most


def check_formats(names: Sequence[str], options: ExportOptions) -> None:
    """Refuse formats that can't be written here or do not heed an option that is given.

    Raises UserError for packages that are missing, with the extra that brings them.
    """
    heeded = {option for name in names for option in get(name).OPTIONS}
    for option in fields(options):
        if getattr(options, option.name) != option.default and option.name not in heeded:
            raise UserError(
                f"--{option.name.replace('_', '-')} is no option of {', '.join(names)}."
            )
    for name in names:
        exporter = get(name)
        missing = [package for package in exporter.PACKAGES if find_spec(package) is None]
        if missing:
            extra = exporter.EXTRA
            way = f"pip install 'nas[{extra}]'" if extra else "no extra of nas brings that"
            raise UserError(f"The format {name} needs {', '.join(missing)}: {way}.")


def prove(name: str, exportable: Exportable, out_dir: Path) -> Proof:
    """Write a network in a format, run the file, and move it into the folder if it is equal.

    Raises UserError for a mistake; another failure is in the proof, and nothing is written.
    """
    exporter, made_here = get(name), not out_dir.exists()
    exportable = _heeding(exportable, exporter.OPTIONS)
    proof = Proof(name, f"{exporter.RUNTIME} {version(exporter.RUNTIME)}", exporter.TOLERANCE)
    out_dir.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".export-") as temporary:
            with _quiet():
                path, stated = exporter.write(exportable, Path(temporary))
                run = exporter.load(path)
                difference, real = _difference(exportable, run)
                if proof.tolerance is not None and difference > proof.tolerance:
                    rounding = min(MOST, ROUNDINGS * _rounding(exportable))
                    proof = replace(proof, tolerance=max(proof.tolerance, rounding))
                latency = milliseconds(run, graph.example(exportable, 1, 0))
            if proof.tolerance is not None and difference > proof.tolerance:
                raise NasError(
                    f"the outputs differ by {difference:.1e} of the largest from the trained"
                    f" network's; {proof.tolerance:.0e} is allowed."
                )
            _move(Path(temporary), out_dir)
            moved = out_dir / path.relative_to(temporary)
            return replace(
                proof, path=moved, verified=difference, real_images=real, latency_ms=latency,
                stated=stated,
            )  # fmt: skip
    except UserError:
        raise
    except Exception as error:  # converters and runtimes raise what they like
        reason = str(error) if isinstance(error, NasError) else _foreign(error)
        return replace(proof, failure=NasError(reason).args[0])
    finally:
        if made_here and not any(out_dir.iterdir()):
            out_dir.rmdir()


def _heeding(exportable: Exportable, options: Collection[str]) -> Exportable:
    """Return a network whose other options are the default; the same one where they are already."""
    default: dict[str, Any] = {
        each.name: each.default for each in fields(ExportOptions) if each.name not in options
    }
    heeded = replace(exportable.options, **default)
    return exportable if heeded == exportable.options else replace(exportable, options=heeded)


def _difference(exportable: Exportable, run: Callable[[Tensor], Tensor]) -> tuple[float, int]:
    """Return the largest relative difference over noise and real images, and how many are real."""
    built, largest = graph.rebuilt(exportable), 0.0
    batches = [graph.example(exportable, count, seed) for seed, count in enumerate(BATCHES)]
    real = real_images(exportable)
    for images in (*batches, *real):
        with torch.no_grad():
            expected = built(graph.standard(exportable, images))
            actual = run(images)
        difference = graph.largest_difference(expected, actual)
        if not math.isfinite(difference):
            raise NasError("the outputs are not finite, or have another shape.")
        largest = max(largest, difference)
    return largest, sum(map(len, real))


def _rounding(exportable: Exportable) -> float:
    """Return how far the network's own outputs are from those in 64 bits.

    In a very deep one the roundings of float32 add up to more than the tolerance, whoever sums.
    """
    double = graph.rebuilt(exportable).double()

    def exact(images: Tensor) -> Tensor:
        logits: Tensor = double(graph.standard(exportable, images).double())
        return logits

    return _difference(exportable, exact)[0]


def milliseconds(run: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return the median milliseconds of some runs; the outputs' proof has warmed the runtime up."""
    times: list[float] = []
    with torch.no_grad():
        while len(times) < RUNS and sum(times) < 1000 * SECONDS:
            began = time.perf_counter()
            run(images)
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def real_images(exportable: Exportable) -> list[Tensor]:
    """Return some images of the train split as the exported network takes them, or none."""
    if exportable.data is None or not exportable.facts.mean:
        return []
    images = exportable.data.splits["train"].images(exportable.architecture.resolution)
    return [graph.inputs(exportable, images[:: -(-len(images) // REAL)])]


def _move(source: Path, target: Path) -> None:
    """Move the files of a folder into another, in place of files of these names."""
    for path in sorted(source.rglob("*")):
        moved = target / path.relative_to(source)
        if path.is_dir():
            moved.mkdir(exist_ok=True)
        else:
            os.replace(path, moved)


def _foreign(error: Exception) -> str:
    """Return the kind and the first line of another package's error."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence converters: their warnings are for their authors, the proof is ours."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
