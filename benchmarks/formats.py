"""A trained winner in every format: what it scores on the test split, its size, its latency.

    python -m benchmarks.formats STUDY --store URL --out FOLDER

`nas export` writes and proves the files. Then each format answers the study's test images through
its own runtime, and is timed at 1 and 32 images at once: in a process that may use one processor,
and in one that may use two. Milliseconds are the least of three medians of wall time. It is no look
at the test split to choose by: the network is chosen.

Writes benchmarks/results/formats.json and prints its table; status 1 where a format does not answer
as the network does, onnx-int8 aside.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.commands.export import Found, of_study
from nas.config import Config
from nas.data.dataset import Split
from nas.errors import UserError
from nas.export import ExportOptions, get, names, proof
from nas.study.data_facts import DataFacts
from nas.training.images import standardised
from nas.training.metrics import measure
from nas.training.metrics.predictions import Predictions
from tests import timm_referee

RESULT = Path(__file__).parent / "results" / "formats.json"
AT_ONCE, THREADS, TURNS = (1, 32), (1, 2), 3
METRICS = ("accuracy", "auroc")
IMAGES, LOGITS = "images.npy", "logits.npy"
INEXACT = "onnx-int8"


def main() -> None:
    """Export, run and time; with --run, be one of the processes that run a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--store")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", nargs=3, metavar=("FORMAT", "FILE", "THREADS"))
    asked = parser.parse_args()
    if asked.run:
        name, file, threads = asked.run
        print(json.dumps(timed(name, Path(file), int(threads), asked.out)))
        return
    found = compared(Found.of(asked.study, None, None, asked.store), asked.out)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(table(found)))
    exact = {name: row["test"] for name, row in found["formats"].items() if name != INEXACT}
    if any(answers != exact["python"] for answers in exact.values()):
        raise SystemExit("A format does not answer as the network does.")


def compared(found: Found, out: Path) -> dict[str, Any]:
    """Return a row for each format, and why the others are refused."""
    timm_referee.timm()  # can be imported then
    refused, files = {}, {}
    rows: dict[str, dict[str, Any]] = {}
    for name in names():
        try:
            proof.check_formats([name], ExportOptions())
        except UserError as error:
            refused[name] = str(error)
            continue
        proven = of_study(found, [name], ExportOptions(), out / name).proofs[name]
        if proven.path is None:
            refused[name] = str(proven.failure)
            continue
        size = sum(file.stat().st_size for file in (out / name).rglob("*") if file.is_file())
        rows[name] = {"runtime": proven.runtime, "verified": proven.verified, "bytes": size}
        files[name] = proven.path
    architecture = found.evaluation.architecture
    data = Config.from_json(found.info.config).load_data()
    test = data.splits["test"]
    mean, std = DataFacts.of(data, [architecture.resolution]).statistics[architecture.resolution]
    pixels = test.images(architecture.resolution)
    images = standardised(pixels, mean, std, torch.device("cpu"))
    np.save(out / IMAGES, images.contiguous().numpy())
    for name, path in files.items():
        times = [json.loads(_process(name, path, threads, out)) for threads in THREADS]
        rows[name]["milliseconds"] = {
            _key(count, threads): each[str(count)]
            for threads, each in zip(THREADS, times, strict=True)
            for count in AT_ONCE
        }
        rows[name]["test"] = scores(out / f"{name}-{LOGITS}", test, data.classes)
    return {
        "study": found.info.name, "architecture_id": architecture.id,
        "macs": found.training.cost.macs, "params": found.training.cost.params,
        "test_images": len(test), "load_average": os.getloadavg()[0],
        "formats": rows, "refused": refused,
    }  # fmt: skip


def _key(count: int, threads: int) -> str:
    return f"{count} images, {threads} threads"


def _process(name: str, path: Path, threads: int, out: Path) -> str:
    words = ["-m", __spec__.name, "-", "--out", str(out), "--run", name, str(path), str(threads)]
    processors = sorted(os.sched_getaffinity(0))[:threads]
    ended = subprocess.run(
        [sys.executable, *words], env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=True,
        stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )  # fmt: skip
    return ended.stdout.splitlines()[-1]


def timed(name: str, path: Path, threads: int, out: Path) -> dict[int, float]:
    """Run a file on all images, keep its logits, and time it: milliseconds by images at once."""
    torch.set_num_threads(threads)
    timm_referee.timm()  # can be imported then
    load, images = get(name).load, torch.from_numpy(np.load(out / IMAGES))
    asks = "threads" in inspect.signature(load).parameters  # the others take the process's
    run = load(path, threads) if asks else load(path)  # type: ignore[call-arg]
    with torch.no_grad():
        logits = torch.cat([run(part) for part in torch.split(images, max(AT_ONCE))])
    np.save(out / f"{name}-{LOGITS}", logits.numpy())
    return {
        count: min(proof.milliseconds(run, images[:count]) for _ in range(TURNS))
        for count in AT_ONCE
    }


def scores(logits: Path, test: Split, classes: tuple[str, ...]) -> dict[str, float]:
    """Return the metrics of stored logits on the test split, in four digits."""
    answers = Predictions(np.load(logits).astype(float), test.labels, classes)
    return {name: round(value, 4) for name, value in measure(answers, METRICS).items()}


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    keys = [_key(count, threads) for count in AT_ONCE for threads in THREADS]
    columns = ["format", "runtime", "difference", *METRICS, "KB", *(f"ms: {key}" for key in keys)]
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for name, row in found["formats"].items():
        exact = "" if row["verified"] is None or name == INEXACT else f"{row['verified']:.0e}"
        cells = [f"`{name}`", row["runtime"], exact]
        cells += [f"{row['test'][metric]:.4f}" for metric in METRICS]
        cells += [f"{row['bytes'] / 1000:,.0f}"]
        cells += [f"{row['milliseconds'][key]:.3g}" for key in keys]
        yield f"| {' | '.join(cells)} |"
    for name, why in found["refused"].items():
        yield f"\n`{name}` is refused: {why}"


if __name__ == "__main__":
    main()
