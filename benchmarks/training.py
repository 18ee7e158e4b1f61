"""Images per processor second of our training loop, beside a plain PyTorch loop in the same run.

    python -m benchmarks.training [--turns 3] [--networks 1,5,20] [--sizes 28,56,96]

Nine networks, of about 1 M, 5 M and 20 M macs at each of 28, 56 and 96 px, are trained for an
epoch of 512 gray images and validated on 64, on one thread, under the default recipe. The plain
loop has a DataLoader, the same augmentation by kornia, torch's AdamW, clipping, cosine and EMA
(`torch.optim.swa_utils`, running statistics included). It is measured as it is mostly written and
with its tensors laid out channels last, as ours are; "bare" is forward and backward on one batch
that is there already. The loops take turns, each in a process of its own, which first trains on a
few images without a clock; the fastest turn of each counts. Writes
benchmarks/results/training.json, row by row: networks that were not asked for keep theirs; ends
with status 1 where ours is under 1.3 times the plain loop.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import kornia.augmentation as ka
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from benchmarks.overhead import machine
from nas import network
from nas.architecture import Architecture
from nas.data import DataSet
from nas.data.dataset import in_memory
from nas.search_space import SearchSpace, block, stage
from nas.training.images import channels_last, normalisation
from nas.training.recipes import default_recipe
from nas.training.trainer import train

RESULT = Path(__file__).parent / "results" / "training.json"
FACTOR = 1.3  # times the plain loop's images per second, at least
TRAIN, VALIDATION, BATCH = 512, 64, 64


def architecture(size: int, macs: float) -> Architecture:
    """Return the MixConv network whose width brings it closest to `macs` at this size."""
    candidates = [_network(size, width / 16) for width in range(4, 60)]
    return min(candidates, key=lambda each: abs(network.cost(each).macs - macs))


def _network(size: int, factor: float) -> Architecture:
    shared = {"se_ratio": 0.25, "activation": "silu", "expansion": 4}

    def width(channels: int) -> int:
        return max(4, round(channels * factor / 4) * 4)

    mixed = block("mbconv", kernels="3.5.7", **shared)
    space = SearchSpace(
        name="benchmark",
        resolution=size,
        stem=stage(block("conv", activation="silu"), width=width(16), stride=2 if size > 28 else 1),
        stages=[
            stage(
                block("mbconv", **shared | {"expansion": 1}),
                width=width(16),
                stride=2 if size > 56 else 1,
            ),
            stage(block("mbconv", kernels="3.5", **shared), width=width(24), depth=2, stride=2),
            stage(mixed, width=width(40), depth=2, stride=2),
            stage(mixed, width=width(64), depth=2, stride=2 if size > 28 else 1),
        ],
        head=stage(block("conv", kernels="1", activation="silu"), width=width(128)),
        dropout=0.2,
    )
    return space.decode({}, in_channels=1, classes=2)


def noise(size: int, images: int) -> DataSet:
    """Return random images of two classes, so many of them to train on."""
    random = np.random.default_rng(0)
    splits = {
        name: in_memory(
            random.integers(0, 256, (count, size, size, 1), dtype=np.uint8),
            np.arange(count) % 2,
        )
        for name, count in (("train", images), ("validation", VALIDATION))
    }
    return DataSet("noise", "0" * 32, ("a", "b"), 1, size, frozenset(), splits)


class Images(Dataset[tuple[Tensor, int]]):
    """A split as a map-style data set of standardised images."""

    def __init__(self, data: DataSet, split: str) -> None:
        size = data.native_resolution
        self.images = data.splits[split].images(size)
        self.labels = data.splits[split].labels
        (mean,), (std,) = normalisation(data, size)
        self.mean, self.std = mean, std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std, int(self.labels[index])


def plain(
    wanted: Architecture, data: DataSet, layout: torch.memory_format = torch.contiguous_format
) -> None:
    """Train for an epoch as a plain script does."""
    recipe = default_recipe(data, epochs=1)
    model = network.build(wanted).to(memory_format=layout)  # type: ignore[call-overload]
    average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
    ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    change = ka.AugmentationSequential(
        ka.RandomAffine(20.0, (0.1, 0.1), (1 / 1.2, 1.2), padding_mode="border", p=1.0),
        ka.RandomHorizontalFlip(p=0.5),
        ka.RandomContrast((0.5, 1.5), clip_output=False, p=1.0),
        ka.RandomBrightness((0.5, 1.5), clip_output=False, p=1.0),
        ka.RandomErasing(scale=(0.16, 0.16), ratio=(1.0, 1.0), value=0.0, p=0.5),
        data_keys=["input"],
    )
    batches = DataLoader(Images(data, "train"), BATCH, shuffle=True)
    schedule = CosineAnnealingLR(optimiser, len(batches))
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    model.train()
    for x, labels in batches:
        loss = loss_of(model(change(x).to(memory_format=layout)), labels)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        schedule.step()
        ema.update_parameters(model)
    ema.eval()
    with torch.no_grad():
        for x, labels in DataLoader(Images(data, "validation"), BATCH):
            (ema(x.to(memory_format=layout)).argmax(1) == labels).float().mean().item()


def ours(wanted: Architecture, data: DataSet) -> None:
    """Train for an epoch as a trial does."""
    train(wanted, data, default_recipe(data, epochs=1))


def bare(wanted: Architecture, data: DataSet) -> None:
    """Run forward and backward alone, as often as an epoch does."""
    module = network.build(wanted).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = channels_last(torch.randn(BATCH, 1, wanted.resolution, wanted.resolution))
    labels = torch.arange(BATCH) % 2
    for _ in range(len(data.splits["train"].labels) // BATCH):
        module.zero_grad()
        loss = nn.functional.cross_entropy(module.train()(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]


LOOPS: dict[str, Callable[[Architecture, DataSet], None]] = {
    "ours": ours,
    "plain": plain,
    "plain_channels_last": partial(plain, layout=torch.channels_last),
    "bare": bare,
}


def seconds(name: str, wanted: Architecture) -> float:
    """Return the processor seconds of one loop; call it in a process of its own."""
    torch.set_num_threads(1)
    LOOPS[name](wanted, noise(wanted.resolution, BATCH))
    data = noise(wanted.resolution, TRAIN)
    begun = time.process_time()
    LOOPS[name](wanted, data)
    return time.process_time() - begun


def measure(size: int, macs: float, turns: int) -> dict[str, Any]:
    """Return the images per processor second of each loop, and ours as a multiple of the others."""
    wanted = architecture(size, macs)
    times: dict[str, list[float]] = {name: [] for name in LOOPS}
    for _ in range(turns):
        for name, measured in times.items():
            # a process of its own: our loop sets up the allocator of the whole process
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
                measured.append(process.submit(seconds, name, wanted).result())
    rates = {name: round(TRAIN / min(each), 1) for name, each in times.items()}
    return {
        "size": size,
        "macs": network.cost(wanted).macs,
        "turns": turns,
        "images_per_second": rates,
        "times_plain": round(rates["ours"] / rates["plain"], 2),
        "times_plain_channels_last": round(rates["ours"] / rates["plain_channels_last"], 2),
        "share_of_bare": round(rates["ours"] / rates["bare"], 2),
    }


def main() -> None:
    """Measure, print, write the result and hold it to what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--networks", default="1,5,20", help="millions of macs")
    parser.add_argument("--sizes", default="28,56,96", help="pixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [
        (size, millions * 1e6)
        for size in map(int, options.sizes.split(","))
        for millions in map(float, options.networks.split(","))
    ]
    rows = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else []
    for size, macs in wanted:
        row = measure(size, macs, options.turns)
        print(json.dumps(row), flush=True)
        same = (row["size"], row["macs"])
        rows = [each for each in rows if (each["size"], each["macs"]) != same] + [row]
        rows.sort(key=lambda each: (each["size"], each["macs"]))
        least = {key: min(each[key] for each in rows) for key in row if key.startswith("times")}
        result = {"least": least, "networks": rows, "machine": machine()}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print("| px | M macs | ours | plain | channels last | bare | ours / plain | / channels last |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        rates = " | ".join(f"{rate:.0f}" for rate in row["images_per_second"].values())
        factors = f"{row['times_plain']} | {row['times_plain_channels_last']}"
        print(f"| {row['size']} | {row['macs'] / 1e6:.1f} | {rates} | {factors} |")
    if least["times_plain"] < FACTOR:
        raise SystemExit(f"Ours is under {FACTOR} times the plain loop.")


if __name__ == "__main__":
    main()
