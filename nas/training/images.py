"""The images of a training: its share of the data, their size, standardisation and batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.data import DataSet, Split
from nas.data.dataset import Labels, share_of, strata
from nas.data.folds import divided, joined, part
from nas.pruners.ladder import Rung
from nas.training.changes import Statistics
from nas.training.recipe import Recipe

Indices = np.ndarray[Any, Any]

_SAMPLE = 20_000  # images that mean and standard deviation are taken from, at most


@dataclass(frozen=True)
class Material:
    """A network's data in a rung: splits, resolution, channels' mean and deviation, classes.

    `members` are the indices of the images of `train` that the rung uses; `labels` are those that
    classes are counted by, without a rung's share. A network that is not scored has no `validation`
    images.
    """

    train: Split
    members: Indices
    labels: Labels
    validation: Split | None
    resolution: int
    mean: Statistics
    std: Statistics
    classes: Sequence[str]


def normalisation(data: DataSet, resolution: int) -> tuple[Statistics, Statistics]:
    """Return mean and standard deviation of each channel of the train split, pixels in 0..1."""
    images = data.splits["train"].images(resolution)
    images = images[:: -(-len(images) // _SAMPLE)]
    levels = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[3]):
        counts = np.zeros(256, np.int64)
        for at in range(0, len(images), 512):
            counts += np.bincount(images[at : at + 512, :, :, channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ levels)
        means.append(mean)
        stds.append(max(1 / 255, float(share @ (levels - mean) ** 2) ** 0.5))
    return tuple(means), tuple(stds)


def gather(
    data: DataSet, recipe: Recipe, rung: Rung, resolution: int, *, refit: bool = True
) -> list[Material]:
    """Return the data for the epochs of a rung, of each network of an evaluation.

    With folds these are a network for each, and, where there is a `refit`, one on all images, which
    is not scored. Mean and deviation are always those of the train split.
    """
    pixels = rung.pixels(resolution)
    statistics = normalisation(data, pixels)

    def material(train: Split, indices: Indices, validation: Split | None) -> Material:
        labels = train.labels[indices]
        members = indices[share_of(labels, rung.data, recipe.seed)]
        return Material(train, members, labels, validation, pixels, *statistics, data.classes)

    if recipe.folds == 1:
        train = data.splits["train"]
        return [material(train, np.arange(len(train)), data.splits["validation"])]
    split = joined(data)
    every = np.arange(len(split))
    materials = [
        material(split, np.setdiff1d(every, fold), part(split, fold))
        for fold in divided(data, recipe.folds)
    ]
    return [*materials, material(split, every, None)] if refit else materials


def shuffled(
    labels: Labels, batch_size: int, *, updates: int = 0, balance: float = 0.0
) -> list[Indices]:
    """Return an epoch's indices into `labels` in batches of nearly equal size, none of one image.

    The epoch is one pass, or as many passes, each in an order of its own, as `updates` batches
    need. Without `balance` each image comes once in a pass. With it as many are drawn with
    replacement, each by its class's `sampling_multipliers`, of several labels by the rarest one's.
    """
    count = len(labels)
    wanted = updates * min(batch_size, count) or count
    passes = -(-wanted // count)
    if balance:
        _, keys, counts = np.unique(strata(labels), return_inverse=True, return_counts=True)
        odds = torch.from_numpy(sampling_multipliers(counts, balance)[keys])
        order = torch.multinomial(odds, passes * count, replacement=True)
    else:
        order = torch.cat([torch.randperm(count) for _ in range(passes)])
    return np.array_split(order[:wanted].numpy(), updates or max(1, count // batch_size))


def every_few(members: Indices, most: int) -> Indices:
    """Return some of the indices, at even distances, `most` of them at most."""
    return members[:: -(-len(members) // most)]


def sampling_multipliers(counts: Indices, balance: float) -> np.ndarray[Any, Any]:
    """Return how many times an image of each class comes in an epoch, on average, (classes,).

    `counts`: (classes,), the images of each class, at least 1. The multiplier is proportional to
    n^-balance in a class of n images; at 1 the classes come equally often.
    """
    powers = counts.astype(float) ** -balance
    return np.asarray(powers * counts.sum() / (powers @ counts))


def standardised(
    images: np.ndarray[Any, Any], mean: Statistics, std: Statistics, device: torch.device
) -> Tensor:
    """Standardise uint8 images (N, R, R, C) into float (N, C, R, R), channels last in memory."""
    pixels = torch.from_numpy(np.array(images))  # a copy: a mapped file can't be written to
    x = pixels.to(device).permute(0, 3, 1, 2).float()
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, -1, 1, 1)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return channels_last(torch.addcmul(offset.view(1, -1, 1, 1), x, scale))


def most_at_once(resolution: int) -> int:
    """Return how many images a network is given at once where no gradients are kept.

    They have about a million pixels together.
    """
    return min(512, max(16, 2**20 // resolution**2))


def channels_last(x: Tensor) -> Tensor:
    """Lay x out channels last; the strides are right even where one channel leaves them open."""
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
