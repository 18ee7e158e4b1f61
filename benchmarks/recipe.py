"""What a change of the recipe is worth, on train and validation images only.

    python -m benchmarks.recipe DATA [--recipe short] [--seed 0] [key=value ...]

A hand-made MixConv network of about 5 M macs at 28 px is trained on 64 % of the train split and
scored on the rest together with the validation split: four times as many images as the validation
split alone, as they are and distorted (darker, brighter, less contrast, zoomed in), since images
from elsewhere look like none of the training ones. The test split is never read. A key is one of
`nas search --set`; the result is printed as JSON.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nas import network
from nas.architecture import Architecture
from nas.data import DataSet, Split, load
from nas.data.dataset import Images, in_memory
from nas.search_space import SearchSpace, block, stage
from nas.training.images import normalisation
from nas.training.metrics import epoch_metrics
from nas.training.recipes import DEFAULT, compose
from nas.training.trainer import predict, train

SHARE = 0.64  # of the train split that is trained on
SHOWN = ("accuracy", "balanced_accuracy", "auroc", "loss")
DISTORTIONS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "brighter": lambda x: x**0.7,
    "darker": lambda x: x**1.5,
    "less contrast": lambda x: 0.5 + (x - 0.5) * 0.7,
    "zoomed in": lambda x: x[:, (k := x.shape[1] // 14) : -k, k:-k],
}


def hand_made(data: DataSet) -> Architecture:
    """Return the network at the images' own size."""
    shared = {"se_ratio": 0.5, "activation": "silu", "expansion": 4}
    space = SearchSpace(
        name="hand-made",
        resolution=data.native_resolution,
        stem=stage(block("conv", activation="silu"), width=12),
        stages=[
            stage(block("mbconv", **shared | {"expansion": 1, "se_ratio": 0.25}), width=12),
            stage(block("mbconv", kernels="3.5", **shared), width=20, depth=2, stride=2),
            stage(block("mbconv", kernels="3.5.7", **shared), width=32, depth=3, stride=2),
            stage(block("mbconv", kernels="3.5.7", **shared), width=40, depth=2),
        ],
        head=stage(block("conv", kernels="1", activation="silu"), width=96),
        dropout=0.2,
    )
    return space.decode({}, in_channels=data.in_channels, classes=len(data.classes))


def divided(data: DataSet) -> DataSet:
    """Return the data with a larger validation split and without a test split."""
    size = data.native_resolution
    train_split, validation = data.splits["train"], data.splits["validation"]
    images, labels = train_split.images(size), train_split.labels
    cut = int(len(labels) * SHARE)
    held_out = in_memory(
        np.concatenate([images[cut:], validation.images(size)]),
        np.concatenate([labels[cut:], validation.labels]),
    )
    kept = in_memory(images[:cut], labels[:cut])
    return replace(data, splits={"train": kept, "validation": held_out})


def distorted(split: Split, size: int, change: Callable[[Any], Any]) -> Split:
    """Return the split with changed images."""
    images: Images = np.rint(change(split.images(size) / 255.0) * 255).astype(np.uint8)
    return in_memory(images, split.labels)


def main() -> None:
    """Train once and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--recipe", default=DEFAULT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("values", nargs="*")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    data = divided(load(options.data))
    recipe = compose(data, options.recipe, given={"seed": options.seed}, words=options.values)
    architecture = hand_made(data)
    result = train(architecture, data, recipe)
    module = network.build(architecture)
    module.load_state_dict(result.state)
    size = architecture.resolution
    split, statistics = data.splits["validation"], normalisation(data, size)
    found = {
        name: epoch_metrics(predict(module, distorted(split, size, change), size, *statistics))
        for name, change in DISTORTIONS.items()
    }
    report = {
        "recipe": options.recipe,
        "values": options.values,
        "updates": recipe.epochs * recipe.updates(len(data.splits["train"])),
        "seed": options.seed,
        "macs": network.cost(architecture).macs,
        "seconds": round(result.seconds),
        "validation": {name: round(result.metrics[name], 4) for name in SHOWN},
        "distorted": {
            name: round(float(np.mean([metrics[name] for metrics in found.values()])), 4)
            for name in SHOWN
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
