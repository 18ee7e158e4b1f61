"""Whether scores on folds tell networks apart where the validation split is small.

    python -m benchmarks.folds [--train 60] [--validation 12] [--repeats 8]

Few digits are drawn again and again. Six networks are trained on each draw, scored on its
validation images, and on three folds of all its images. The truth is a network's accuracy on the
digits that were not drawn, of the weights that are handed over. The result is printed as JSON:
root mean squared errors after each draw's mean is taken off, which no ranking depends on; the
rank correlation with the truth over the draw's networks; and the truth of the best by score.
"""

import argparse
import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from nas import network
from nas.architecture import Architecture, Row
from nas.data import DataSet, load
from nas.data.dataset import Split, share_of
from nas.data.folds import Indices, joined, part
from nas.training.images import normalisation
from nas.training.metrics import epoch_metrics
from nas.training.recipes import compose
from nas.training.trainer import predict, train

FOLDS, EPOCHS, UPDATES = 3, 5, 24
NETWORKS = [*itertools.product((4, 8, 16), ("3", "3.5"))]


def small(width: int, kernels: str) -> Architecture:
    """Return a network for the digits."""
    return Architecture(
        in_channels=1,
        resolution=8,
        classes=10,
        stem=(Row("conv", width, 1, (("kernels", "3"),)),),
        body=(Row("mbconv", 2 * width, 2, (("expansion", 2), ("kernels", kernels))),),
        head=(Row("classifier", 10, 1),),
    )


def drawn(whole: Split, images: DataSet, train: int, validation: int, seed: int) -> DataSet:
    """Return a draw of the digits, stratified; its test split has all others."""
    chosen = share_of(whole.labels, (train + validation) / len(whole), seed)
    order = np.random.RandomState(seed).permutation(chosen)
    share = train / (train + validation)
    at = share_of(whole.labels[order], share, seed)
    parts: dict[str, Indices] = {
        "train": order[at],
        "validation": np.delete(order, at),
        "test": np.setdiff1d(np.arange(len(whole)), chosen),
    }
    splits = {name: part(whole, indices) for name, indices in parts.items()}
    return replace(images, splits=splits, fingerprint=f"{seed:032}")


def scores(architecture: Architecture, data: DataSet, folds: int, seed: int) -> dict[str, float]:
    """Return a network's validation metrics and its truth."""
    words = [f"training.epoch_updates={UPDATES}", f"training.folds={folds}"]
    recipe = replace(compose(data, words=words, given={"seed": seed}), epochs=EPOCHS)
    result = train(architecture, data, recipe)
    module = network.build(architecture)
    module.load_state_dict(result.state)
    size = architecture.resolution
    others = predict(module, data.splits["test"], size, *normalisation(data, size))
    truth = epoch_metrics(others)["accuracy"]
    found = {name: result.metrics[name] for name in ("accuracy", "loss")}
    return found | {"truth": truth, "seconds": result.seconds}


def summary(rows: list[list[dict[str, float]]]) -> dict[str, float]:
    """Return how far scores are from the truth; a row has the networks of a draw."""
    values = {k: np.array([[one[k] for one in row] for row in rows]) for k in rows[0][0]}
    score, truth = values["accuracy"], values["truth"]
    away = (score - score.mean(1, keepdims=True)) - (truth - truth.mean(1, keepdims=True))
    ranks = [spearmanr(*pair).statistic for pair in zip(score, truth, strict=True)]
    losses = [spearmanr(-a, b).statistic for a, b in zip(values["loss"], truth, strict=True)]
    best = [float(np.mean(t[s == s.max()])) for s, t in zip(score, truth, strict=True)]
    return {
        "error": float(np.sqrt((away**2).mean())),
        "rank_correlation": float(np.nanmean(ranks)),
        "rank_correlation_of_log_loss": float(np.nanmean(losses)),
        "truth_of_the_best": float(np.mean(best)),
        "truth_of_all": float(truth.mean()),
        "seconds": float(values["seconds"].mean()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--validation", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = load("digits")
    whole = joined(images)
    found: dict[int, list[list[dict[str, float]]]] = {1: [], FOLDS: []}
    for seed in range(options.repeats):
        data = drawn(whole, images, options.train, options.validation, seed)
        for folds, rows in found.items():
            rows.append([scores(small(*each), data, folds, seed) for each in NETWORKS])
    report: dict[str, Any] = vars(options) | {
        "networks": len(NETWORKS),
        "images": {name: len(split) for name, split in data.splits.items()},  # rounded by class
        "validation_split": summary(found[1]),
        f"{FOLDS}_folds": summary(found[FOLDS]),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
